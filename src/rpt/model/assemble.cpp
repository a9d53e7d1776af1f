// SPDX-License-Identifier: MIT
#include "rpt/model/assemble.h"

#include <algorithm>
#include <cmath>

#include "rpt/io/llama2c.h"
#include "rpt/model/token_rows.h"
#include "rpt/tensor/ops.h"
#include "rpt/text/utf8.h"

namespace rpt::model {

void load_weights(TensorLoader& loader, const Config& config, Weights& weights) {
  weights.blocks.resize(static_cast<std::size_t>(config.layers));
  weights.sub_norms = config.sub_norms;
  if (!config.tied_head) weights.head.emplace();
  visit_weights(weights, [&](const std::string& name, auto& weight) {
    const auto [rows, columns] = expected_shape(name, config);
    loader.load(name, rows, columns, weight);
  });
}

NormWeight make_norm(Origin origin, const tensor::StoredView& values) {
  if (!tensor::is_float(values.type)) {
    throw FormatError(origin.file, origin.offset, "tensor " + origin.tensor, "type f32, f16 or bf16",
                      std::string(tensor::name(values.type)));
  }
  NormWeight norm{std::move(origin), tensor::widen(values), values.type};
  const auto bad = std::find_if(norm.gain.begin(), norm.gain.end(), [](float g) { return !std::isfinite(g); });
  if (bad != norm.gain.end()) {
    throw FormatError(norm.origin.file, norm.origin.offset, "tensor " + norm.origin.tensor, "finite gains",
                      fmt::format("{} at index {}", *bad, bad - norm.gain.begin()));
  }
  return norm;
}

void settle_special_ids(Model& model) {
  const auto add = [&](std::int32_t id) {
    if (std::find(model.end_ids.begin(), model.end_ids.end(), id) == model.end_ids.end()) model.end_ids.push_back(id);
  };
  for (const std::int32_t id : model.config.eos_ids) add(id);
  model.bos_id = model.config.bos_id;
  if (!model.tokenizer) return;
  const text::Tokenizer& t = *model.tokenizer;
  if (t.vocab_size() > model.config.vocabulary) {
    model.warnings.push_back(
        fmt::format("{}: the vocabulary holds {} tokens, the embedding has {} rows: a text with one "
                    "of the others cannot be read",
                    model.path.string(), t.vocab_size(), model.config.vocabulary));
  }
  if (t.bos_id()) model.bos_id = t.bos_id();
  model.adds_bos = t.adds_bos() && model.bos_id.has_value();
  for (const std::int32_t id : t.end_ids()) add(id);
  const auto text_of = [&](std::optional<std::int32_t> id) {
    return id && *id < t.vocab_size() ? std::optional(std::string(t.token_text(*id))) : std::nullopt;
  };
  model.chat_bos_token = text_of(model.bos_id);
  model.chat_eos_token = text_of(t.eos_id());
}

void require_rows(const Model& model, std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) {
    if (id < model.config.vocabulary) continue;
    throw ConfigError(fmt::format("{}: the token {} (\"{}\") has no row in the embedding, which has {}",
                                  model.path.string(), id, text::for_message(model.vocabulary().token_text(id)),
                                  model.config.vocabulary));
  }
}

const text::Tokenizer& Model::vocabulary() const {
  if (!tokenizer) {
    throw ConfigError(
        fmt::format("{}: {}", path.string(), tokenizer_fault.empty() ? "holds no vocabulary" : tokenizer_fault));
  }
  return *tokenizer;
}

std::unique_ptr<Model> open_model(const std::filesystem::path& path, const OpenOptions& options) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return open_huggingface(path, options);
  if (!std::filesystem::exists(path, error)) throw IoError(fmt::format("{}: no such file or directory", path.string()));
  if (io::is_llama2c(path)) return open_llama2c(path);
  return open_gguf(path, options);
}

void require_bitnet_blocks(const Model& model, std::string_view what) {
  visit_weights(model.weights, [&](const std::string& name, const auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, LinearWeight>) {
      if (weight.ternary()) return;
      throw ConfigError(fmt::format("{}: {} needs ternary linear layers, and {} is dense ({})", model.path.string(),
                                    what, name, tensor::name(weight.stored_type())));
    }
  });
  if (!model.config.sub_norms) {
    throw ConfigError(fmt::format("{}: {} needs BitNet blocks, and those of architecture {} have no attn_sub_norm",
                                  model.path.string(), what, model.config.architecture));
  }
}

}  // namespace rpt::model
