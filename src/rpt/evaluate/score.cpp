// SPDX-License-Identifier: MIT
#include "rpt/evaluate/score.h"

#include <fmt/format.h>

#include <algorithm>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/tensor/ops.h"

namespace rpt::evaluate {

std::size_t batch_size(std::span<const Window> windows) {
  std::size_t count = 0;
  std::int64_t tokens = 0;
  for (const Window& window : windows) {
    tokens += std::ssize(window.tokens);
    if (count > 0 && tokens > kBatchTokens) break;
    ++count;
  }
  return count;
}

ScoredRows scored_rows(std::span<const Window> batch) {
  ScoredRows rows;
  std::int64_t row = 0;
  for (const Window& window : batch) {
    for (const std::int32_t target : window.targets) {
      if (target >= 0) {
        rows.row.push_back(row);
        rows.target.push_back(target);
      }
      ++row;
    }
  }
  return rows;
}

void gather_logits(const model::Decoder& decoder, tensor::MatrixView hidden, const ScoredRows& rows, std::size_t begin,
                   std::size_t n, tensor::Tensor& packed, tensor::Tensor& logits) {
  packed.reshape(static_cast<std::int64_t>(n), hidden.columns);
  logits.reshape(static_cast<std::int64_t>(n), decoder.config().vocabulary);
  for (std::size_t i = 0; i < n; ++i) {
    std::copy_n(hidden.row(rows.row[begin + i]), hidden.columns, packed.view().row(static_cast<std::int64_t>(i)));
  }
  decoder.logits(packed.view(), logits.view());
}

void DecoderScorer::forward(std::span<const Window> batch, tensor::Tensor& hidden) {
  std::vector<model::KvCache> caches;
  caches.reserve(batch.size());
  std::vector<model::Segment> segments;
  for (const Window& window : batch) {
    RPT_CHECK(window.tokens.size() == window.targets.size(), "{} tokens, {} targets", window.tokens.size(),
              window.targets.size());
    caches.emplace_back(decoder_.config(), std::ssize(window.tokens));
    segments.push_back({window.tokens, &caches.back()});
  }
  decoder_.forward(segments, hidden);
}

void DecoderScorer::score(std::span<const Window> windows, std::span<double> nll, core::ProgressSink& progress) {
  std::uint64_t tokens = 0;
  for (const Window& window : windows) tokens += window.tokens.size();
  progress.begin(tokens, "tokens", "scoring");
  tensor::Tensor hidden;
  tensor::Tensor packed;
  tensor::Tensor logits;
  while (!windows.empty()) {
    const auto batch = windows.first(batch_size(windows));
    forward(batch, hidden);
    const ScoredRows rows = scored_rows(batch);
    if (rows.row.size() > nll.size()) throw ShapeError("score: more targets than results");
    for (std::size_t begin = 0; begin < rows.row.size(); begin += kLogitRows) {
      const std::size_t n = std::min(kLogitRows, rows.row.size() - begin);
      gather_logits(decoder_, hidden.view(), rows, begin, n, packed, logits);
      core::parallel_for(static_cast<std::int64_t>(n), 1, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) {
          const auto at = begin + static_cast<std::size_t>(i);
          nll[at] = tensor::token_nll(logits_row(logits, i), rows.target[at]);
        }
      });
      for (std::size_t i = 0; visitor_ && i < n; ++i) {
        visitor_(rows.target[begin + i], logits_row(logits, static_cast<std::int64_t>(i)));
      }
    }
    nll = nll.subspan(rows.row.size());
    progress.advance(static_cast<std::uint64_t>(hidden.rows()));
    windows = windows.subspan(batch.size());
  }
  if (!nll.empty()) throw ShapeError(fmt::format("score: {} results too many", nll.size()));
  progress.finish();
}

}  // namespace rpt::evaluate
