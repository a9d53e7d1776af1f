// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

/// Which tokens of a stream are read together, and which of them are scored, protocol by protocol: arithmetic on token
/// numbers only. docs/cli.md defines the protocols.
namespace rpt::evaluate {

/// One window over a stream of tokens. Read are the tokens [begin, score_end − 1), from position 0 of an empty cache;
/// scored are the tokens [score_begin, score_end), each by the logits of the token before it. So begin < score_begin <
/// score_end.
struct WindowRange {
  std::int64_t begin = 0;
  std::int64_t score_begin = 0;
  std::int64_t score_end = 0;
  bool operator==(const WindowRange&) const = default;
};

/// Protocol `full` for one document of `tokens` tokens (BOS included): window k covers [k·stride, k·stride + context),
/// and every token but the first is scored once, in the first window that holds it. 1 ≤ stride < context.
std::vector<WindowRange> full_windows(std::int64_t tokens, std::int64_t context, std::int64_t stride);

/// Protocol `llama.cpp`: contexts of `context` ≥ 3 tokens, the rest dropped; scored are the tokens n/2 + 1 … n − 1 of
/// each. Source: llama-perplexity of llama.cpp.
std::vector<WindowRange> llama_cpp_windows(std::int64_t tokens, std::int64_t context);

/// Protocol `legacy`: chunks of 128 at 0, 128, … while start < tokens − 128, the first 50 of them, 127 targets each.
std::vector<WindowRange> legacy_windows(std::int64_t tokens);
inline constexpr std::int64_t kLegacyChunk = 128;
inline constexpr std::int64_t kLegacyChunks = 50;

/// Protocol `lm-eval` for one page; token 0 is the prefix token, which is never scored. The first window predicts
/// `context` tokens from the prefix on, each further one the next `context`; the last is filled up with earlier tokens.
/// Source: lm-evaluation-harness, utils.get_rolling_token_windows with context_len 1, then make_disjoint_window.
std::vector<WindowRange> lm_eval_windows(std::int64_t tokens, std::int64_t context);

}  // namespace rpt::evaluate
