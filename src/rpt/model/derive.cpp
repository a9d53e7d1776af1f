// SPDX-License-Identifier: MIT
#include "rpt/model/derive.h"

namespace rpt::model {
namespace {

EmbeddingWeight shared(const EmbeddingWeight& embedding) {
  return {embedding.origin(), embedding.unchecked()};
}

}  // namespace

std::unique_ptr<Model> without_blocks(const Model& model) {
  auto out = std::make_unique<Model>();
  out->path = model.path;
  out->format = model.format;
  out->config = model.config;
  out->tokenizer = model.tokenizer;
  out->tokenizer_fault = model.tokenizer_fault;
  out->tokenizer_config_json = model.tokenizer_config_json;
  out->chat_template = model.chat_template;
  out->warnings = model.warnings;
  out->storage = model.storage;
  out->adds_bos = model.adds_bos;
  out->bos_id = model.bos_id;
  out->end_ids = model.end_ids;
  out->weights.token_embd = shared(model.weights.token_embd);
  out->weights.sub_norms = model.weights.sub_norms;
  out->weights.output_norm = model.weights.output_norm;
  if (model.weights.head) out->weights.head = shared(*model.weights.head);
  return out;
}

}  // namespace rpt::model
