// SPDX-License-Identifier: MIT
#include "rpt/text/normalizer.h"

#include <numeric>

#include "rpt/core/error.h"

namespace rpt::text {

namespace {

void check_size(const NormalizedText& text, std::size_t limit) {
  if (text.text.size() > limit) throw ConfigError(fmt::format("the normalizer makes a text over {} bytes", limit));
}

/// What is put in front covers nothing.
void prepend(const std::string& what, NormalizedText& text) {
  text.text.insert(0, what);
  text.ends.insert(text.ends.begin(), what.size(), 0);
}

/// All bytes of a replacement end where the replaced text ended.
NormalizedText replace(const NormalizerStep& step, const NormalizedText& in, std::size_t limit) {
  NormalizedText out;
  std::size_t at = 0;
  const auto copy_to = [&](std::size_t end) {
    out.text.append(in.text, at, end - at);
    out.ends.insert(out.ends.end(), in.ends.begin() + static_cast<std::ptrdiff_t>(at),
                    in.ends.begin() + static_cast<std::ptrdiff_t>(end));
    at = end;
  };
  for (std::size_t found; (found = in.text.find(step.from, at)) != std::string::npos;) {
    copy_to(found);
    at += step.from.size();
    out.text += step.to;
    out.ends.insert(out.ends.end(), step.to.size(), in.ends[at - 1]);
    check_size(out, limit);
  }
  copy_to(in.text.size());
  return out;
}

}  // namespace

NormalizedText normalize(const std::vector<NormalizerStep>& steps, std::string_view text) {
  NormalizedText out;
  out.text = text;
  out.ends.resize(text.size());
  std::iota(out.ends.begin(), out.ends.end(), std::uint64_t{1});
  const std::size_t limit = 64 * text.size() + (std::size_t{64} << 10);
  for (const NormalizerStep& step : steps) {
    if (step.kind == NormalizerStep::Kind::prepend) {
      if (!out.text.empty()) prepend(step.to, out);
      check_size(out, limit);
    } else {
      out = replace(step, out, limit);
    }
  }
  return out;
}

}  // namespace rpt::text
