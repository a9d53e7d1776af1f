// SPDX-License-Identifier: MIT
#include "rpt/evaluate/windows.h"

#include <algorithm>

#include "rpt/core/error.h"

namespace rpt::evaluate {

std::vector<WindowRange> full_windows(std::int64_t tokens, std::int64_t context, std::int64_t stride) {
  RPT_CHECK(stride >= 1 && stride < context, "context {}, stride {}", context, stride);
  std::vector<WindowRange> windows;
  std::int64_t next = 1;  // nothing stands before token 0
  for (std::int64_t begin = 0; next < tokens; begin += stride) {
    const std::int64_t end = std::min(begin + context, tokens);
    windows.push_back({begin, next, end});
    next = end;
  }
  return windows;
}

std::vector<WindowRange> llama_cpp_windows(std::int64_t tokens, std::int64_t context) {
  RPT_CHECK(context >= 3, "context {}", context);
  std::vector<WindowRange> windows;
  for (std::int64_t begin = 0; tokens - begin >= context; begin += context) {
    windows.push_back({begin, begin + context / 2 + 1, begin + context});
  }
  return windows;
}

std::vector<WindowRange> legacy_windows(std::int64_t tokens) {
  std::vector<WindowRange> windows;
  for (std::int64_t begin = 0; begin < tokens - kLegacyChunk && std::ssize(windows) < kLegacyChunks;
       begin += kLegacyChunk) {
    windows.push_back({begin, begin + 1, begin + kLegacyChunk});
  }
  return windows;
}

std::vector<WindowRange> lm_eval_windows(std::int64_t tokens, std::int64_t context) {
  RPT_CHECK(context >= 1, "context {}", context);
  std::vector<WindowRange> windows;
  for (std::int64_t next = 1; next < tokens;) {
    const std::int64_t end = std::min(next + context, tokens);
    windows.push_back({std::max<std::int64_t>(end - 1 - context, 0), next, end});
    next = end;
  }
  return windows;
}

}  // namespace rpt::evaluate
