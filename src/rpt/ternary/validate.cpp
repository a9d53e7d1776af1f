// SPDX-License-Identifier: MIT
#include "rpt/ternary/validate.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <limits>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/ternary/layouts.h"
#include "rpt/ternary/row_layouts.h"

namespace rpt::ternary {
namespace {

using tensor::DType;
using tensor::PackedTernaryView;

constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();

/// Calls find(begin, end) on ranges that cover [0, count), in parallel; it returns the first hit in its range, or
/// kNone. Returns the first hit of all. Ranges behind a hit are skipped.
template <typename Find>
std::int64_t find_first(std::int64_t count, std::int64_t grain, Find find) {
  std::atomic<std::int64_t> first{kNone};
  core::parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
    if (begin > first.load(std::memory_order_relaxed)) return;
    const std::int64_t hit = find(begin, end);
    std::int64_t seen = first.load(std::memory_order_relaxed);
    while (hit < seen && !first.compare_exchange_weak(seen, hit, std::memory_order_relaxed)) {
    }
  });
  return first;
}

/// Both bits of a pair are set.
bool has_three(std::uint64_t codes) {
  return (codes & (codes >> 1) & 0x5555'5555'5555'5555U) != 0;
}

/// Index of the first of `count` bytes that holds an invalid code, or kNone.
std::int64_t first_bad_byte(const std::uint8_t* bytes, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + i, sizeof word);
    if (has_three(word)) break;
  }
  for (; i < count; ++i) {
    if (has_three(bytes[i])) return i;
  }
  return kNone;
}

/// Number of the lowest pair of bits (0 … 3) that is 3.
int lowest_three(std::uint8_t byte) {
  int slot = 0;
  while (((byte >> (2 * slot)) & 3) != 3) ++slot;
  return slot;
}

/// Row and column of an invalid code in the byte at `offset`.
BadCode locate(const PackedTernaryView& w, std::int64_t offset) {
  const int slot = lowest_three(w.data[offset]);
  BadCode bad{static_cast<std::uint64_t>(offset), 0, 0};
  switch (w.type) {
    case DType::i2_s: {
      const std::int64_t row_bytes = i2s_row_bytes(w.columns);
      const std::int64_t in_row = offset % row_bytes;
      bad.row = offset / row_bytes;
      bad.column = in_row / 32 * kI2sBlock + 32 * (3 - slot) + in_row % 32;
      break;
    }
    case DType::tq2_0: {
      const std::int64_t row_bytes = tq2_row_bytes(w.columns);
      const std::int64_t in_row = offset % row_bytes;
      const std::int64_t in_block = in_row % kTq2BlockBytes;
      bad.row = offset / row_bytes;
      bad.column = in_row / kTq2BlockBytes * kTqBlock + in_block / 32 * 128 + 32 * slot + in_block % 32;
      break;
    }
    default:
      bad.row = offset / w.columns + slot * (w.rows / 4);
      bad.column = offset % w.columns;
      break;
  }
  return bad;
}

/// True where every code of a block is zero, so that its d has no meaning.
bool all_zero(const PackedTernaryView& w, std::int64_t block) {
  std::array<std::int8_t, kTqBlock> codes;
  if (w.type == DType::tq1_0) {
    unpack_tq1_row(w.data + block * kTq1BlockBytes, kTqBlock, codes.data());
  } else {
    unpack_tq2_row(w.data + block * kTq2BlockBytes, kTqBlock, codes.data());
  }
  return std::all_of(codes.begin(), codes.end(), [](std::int8_t code) { return code == 0; });
}

}  // namespace

std::optional<BadCode> check_codes(const PackedTernaryView& weights) {
  check_bytes(weights);
  if (weights.type == DType::tq1_0) return std::nullopt;
  // Runs of bytes that hold codes only: the blocks of tq2_0 without their d, or else any cut of the whole.
  const bool tq2 = weights.type == DType::tq2_0;
  const std::int64_t total = static_cast<std::int64_t>(packed_bytes(weights.type, weights.rows, weights.columns));
  const std::int64_t run = tq2 ? kTq2BlockBytes : 4096;
  const std::int64_t used = tq2 ? 64 : run;
  const std::int64_t hit = find_first((total + run - 1) / run, 65536 / run, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t bad = first_bad_byte(weights.data + i * run, std::min(used, total - i * run));
      if (bad != kNone) return i * run + bad;
    }
    return kNone;
  });
  if (hit == kNone) return std::nullopt;
  return locate(weights, hit);
}

TqScale tq_common_scale(const PackedTernaryView& weights) {
  if (weights.type != DType::tq1_0 && weights.type != DType::tq2_0) {
    throw ShapeError(fmt::format("{} has no scales in blocks", tensor::name(weights.type)));
  }
  check_bytes(weights);
  const std::int64_t block_bytes = weights.type == DType::tq1_0 ? kTq1BlockBytes : kTq2BlockBytes;
  const std::int64_t blocks = weights.rows * (weights.columns / kTqBlock);
  const auto d = [&](std::int64_t block) {
    const std::uint8_t* const bytes = weights.data + (block + 1) * block_bytes - 2;
    return static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8);
  };
  std::int64_t first = 0;
  while (first < blocks && all_zero(weights, first)) ++first;
  if (first == blocks) return {};

  TqScale common;
  common.scale = core::f16_to_float(d(first));
  const std::int64_t other = find_first(blocks, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      if (d(block) != d(first) && !all_zero(weights, block)) return block;
    }
    return kNone;
  });
  if (other != kNone) {
    common.fault =
        TqScale::Fault{static_cast<std::uint64_t>((other + 1) * block_bytes - 2), core::f16_to_float(d(other))};
  }
  return common;
}

}  // namespace rpt::ternary
