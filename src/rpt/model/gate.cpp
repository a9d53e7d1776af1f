// SPDX-License-Identifier: MIT
#include "rpt/model/gate.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "rpt/core/random.h"
#include "rpt/core/sha256.h"
#include "rpt/model/decoder.h"

namespace rpt::model {

std::vector<std::int32_t> gate_ids(const Config& config, std::int64_t tokens) {
  core::Random random(0);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < std::min(tokens, config.context); ++i) {
    ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocabulary))));
  }
  return ids;
}

std::vector<double> gate_nlls(const Model& model, std::int64_t tokens) {
  const std::vector<std::int32_t> ids = gate_ids(model.config, tokens);
  return sequence_nlls(model, {&ids, 1});
}

std::vector<double> sequence_nlls(const Model& model, std::span<const std::vector<std::int32_t>> sequences,
                                  LayerObserver* observer) {
  Decoder decoder(model.config, model.weights);
  decoder.set_observer(observer);
  std::vector<double> nlls;
  for (const std::vector<std::int32_t>& ids : sequences) {
    KvCache cache(model.config, static_cast<std::int64_t>(ids.size()));
    tensor::Tensor hidden;
    decoder.forward(ids, cache, hidden);
    std::vector<std::int32_t> targets(ids.begin() + 1, ids.end());
    targets.push_back(ids.front());
    const std::size_t begin = nlls.size();
    nlls.resize(begin + ids.size());
    decoder.score(hidden.view(), targets, std::span(nlls).subspan(begin));
  }
  return nlls;
}

std::string nll_sha256(const std::vector<double>& nlls) {
  static_assert(std::endian::native == std::endian::little);
  return core::sha256_hex(std::as_bytes(std::span(nlls)));
}

std::string expect_identical(const Model& source, const Model& written) {
  const std::vector<std::int32_t> ids = gate_ids(written.config);
  return expect_identical(gate_nlls(source), written, {&ids, 1});
}

std::string expect_identical(std::span<const double> expected, const Model& written,
                             std::span<const std::vector<std::int32_t>> sequences) {
  const std::vector<double> found = sequence_nlls(written, sequences);
  for (std::size_t i = 0; i < std::min(expected.size(), found.size()); ++i) {
    if (std::bit_cast<std::uint64_t>(expected[i]) != std::bit_cast<std::uint64_t>(found[i])) {
      throw CheckError(fmt::format("{}: the gate failed: token {} has NLL {} instead of {}", written.path.string(), i,
                                   found[i], expected[i]));
    }
  }
  if (expected.size() != found.size()) {
    throw CheckError(fmt::format("{}: the gate failed: {} tokens instead of {}", written.path.string(), found.size(),
                                 expected.size()));
  }
  return nll_sha256(found);
}

void expect_same_vocabulary(const Model& source, const Model& written) {
  if (!source.tokenizer) return;
  const auto refuse = [&](const std::string& what) {
    throw ConfigError(
        fmt::format("{}: this form cannot say {} of {}", written.path.string(), what, source.path.string()));
  };
  if (!written.tokenizer) refuse("the vocabulary");
  const std::string probe = " The old house, 1234 years;\n\tna\u00efve \u4e16\u754c doesn't  end.";
  if (written.tokenizer->encode(probe) != source.tokenizer->encode(probe)) refuse("the pre-tokenizer");
  if (written.adds_bos != source.adds_bos || (source.adds_bos && written.bos_id != source.bos_id))
    refuse("the BOS rule");
  for (const auto& [ids, others, what] : {std::tuple(&source.end_ids, &written.end_ids, "the end-of-text id {}"),
                                          std::tuple(&written.end_ids, &source.end_ids, "that {} ends no text")}) {
    for (const std::int32_t id : *ids) {
      if (std::find(others->begin(), others->end(), id) == others->end()) refuse(fmt::format(fmt::runtime(what), id));
    }
  }
  if (written.chat_template != source.chat_template) refuse("the chat template");
  // A template that does not read them sees no difference.
  const auto reads = [&](const char* name) { return source.chat_template.find(name) != std::string::npos; };
  if (reads("bos_token") && written.chat_bos_token != source.chat_bos_token) refuse("the chat template's bos_token");
  if (reads("eos_token") && written.chat_eos_token != source.chat_eos_token) refuse("the chat template's eos_token");
}

}  // namespace rpt::model
