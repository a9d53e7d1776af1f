// SPDX-License-Identifier: MIT
#include "rpt/model/head.h"

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/parallel.h"
#include "rpt/tensor/blocks.h"
#include "rpt/tensor/ops.h"

namespace rpt::model {

void round_head(Model& model, tensor::DType type, core::ProgressSink& progress) {
  EmbeddingWeight& head = model.weights.head ? *model.weights.head : model.weights.token_embd;
  const tensor::StoredView& from = head.values();
  const Origin origin = head.origin();
  const std::int64_t block = tensor::block_values(type);
  if (from.columns % block != 0) {
    throw ConfigError(fmt::format("{}: {}: rows of {} values do not fit {}, which takes multiples of {}", origin.file,
                                  origin.tensor, from.columns, tensor::name(type), block));
  }
  const auto row_bytes = static_cast<std::size_t>(tensor::quantised_row_bytes(type, from.columns));
  const auto rows = static_cast<std::size_t>(from.rows);
  auto rounded = std::make_shared<core::AlignedBuffer<std::byte>>(rows * row_bytes);
  constexpr std::int64_t kRowsAtOnce = 4096;
  progress.begin(rows, "rows", "rounding the head");
  for (std::int64_t first = 0; first < from.rows; first += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, from.rows - first);
    core::parallel_for(count, 64, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(from.columns));
      for (std::int64_t r = first + begin; r < first + end; ++r) {
        tensor::read_row(from, r, row, head.bf16());
        tensor::quantise_row(type, row, rounded->data() + static_cast<std::size_t>(r) * row_bytes);
      }
    });
    progress.advance(static_cast<std::uint64_t>(count));
  }
  progress.finish();
  head = EmbeddingWeight(origin, {rounded->data(), rows * row_bytes, type, from.rows, from.columns});
  model.storage.push_back(std::move(rounded));
  head.values();  // checks them
}

}  // namespace rpt::model
