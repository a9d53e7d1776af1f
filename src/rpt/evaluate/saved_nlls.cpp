// SPDX-License-Identifier: MIT
#include "rpt/evaluate/saved_nlls.h"

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"

namespace rpt::evaluate {

void save_nlls(const std::filesystem::path& path, std::span<const ScoredToken> scored, std::span<const double> nlls) {
  RPT_CHECK(scored.size() == nlls.size(), "{} tokens, {} values", scored.size(), nlls.size());
  core::AtomicFile file(path);
  file.write("document\tid\tbytes\tnll\n");
  for (std::size_t i = 0; i < scored.size(); ++i) {
    file.write(fmt::format("{}\t{}\t{}\t{}\n", scored[i].document, scored[i].id, scored[i].bytes, nlls[i]));
  }
  file.commit();
}

}  // namespace rpt::evaluate
