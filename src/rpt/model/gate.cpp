// SPDX-License-Identifier: MIT
#include "rpt/model/gate.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "rpt/core/random.h"
#include "rpt/core/sha256.h"
#include "rpt/model/decoder.h"

namespace rpt::model {

std::vector<double> gate_nlls(const Model& model, std::int64_t tokens) {
  const std::int64_t count = std::min(tokens, model.config.context);
  core::Random random(0);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(model.config.vocabulary))));
  }
  Decoder decoder(model.config, model.weights);
  KvCache cache(model.config, count);
  tensor::Tensor hidden;
  decoder.forward(ids, cache, hidden);
  std::vector<std::int32_t> targets(ids.begin() + 1, ids.end());
  targets.push_back(ids.front());
  std::vector<double> nlls(ids.size());
  decoder.score(hidden.view(), targets, nlls);
  return nlls;
}

std::string nll_sha256(const std::vector<double>& nlls) {
  static_assert(std::endian::native == std::endian::little);
  return core::sha256_hex(std::as_bytes(std::span(nlls)));
}

void expect_identical(const Model& source, const Model& written) {
  const std::vector<double> a = gate_nlls(source);
  const std::vector<double> b = gate_nlls(written);
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (std::bit_cast<std::uint64_t>(a[i]) != std::bit_cast<std::uint64_t>(b[i])) {
      throw CheckError(
          fmt::format("{}: the gate failed: token {} has NLL {} instead of {}", written.path.string(), i, b[i], a[i]));
    }
  }
  if (a.size() != b.size()) {
    throw CheckError(
        fmt::format("{}: the gate failed: {} tokens instead of {}", written.path.string(), b.size(), a.size()));
  }
}

}  // namespace rpt::model
