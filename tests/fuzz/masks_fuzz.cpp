// SPDX-License-Identifier: MIT
// A mask file: any bytes give one mask of the right shape for every linear layer, or one rpt::Error.
#include <algorithm>
#include <cstdint>
#include <span>

#include "rpt/core/error.h"
#include "rpt/model/masks.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // As MASKED_SHAPES in make_corpus.py.
  rpt::model::Config config;
  config.hidden = 4;
  config.feed_forward = 8;
  config.layers = 1;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_size = 2;
  try {
    const auto masks = rpt::model::parse_masks(std::as_bytes(std::span(data, size)), "fuzz", config);
    rpt::model::require_masks_of(masks, config);
    for (const auto& mask : masks.linears) {
      RPT_CHECK(std::all_of(mask.keep.begin(), mask.keep.end(), [](std::uint8_t k) { return k <= 1; }), "{}",
                mask.name);
    }
  } catch (const rpt::Error&) {
  }
  return 0;
}
