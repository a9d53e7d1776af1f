// SPDX-License-Identifier: MIT
#include "rpt/evaluate/saved_nlls.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"

namespace rpt::evaluate {
namespace {

TEST(SavedNlls, ComeBackAsTheyWereWritten) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "rpt-saved-nlls.tsv";
  const std::vector<ScoredToken> scored = {{.id = 7, .document = 0, .bytes = 3}, {.id = 4095, .document = 20}};
  const std::vector<double> nlls = {1.0 / 3, 1e-300};
  save_nlls(path, scored, nlls);
  std::istringstream file(core::read_file(path));
  std::filesystem::remove(path);

  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "document\tid\tbytes\tnll");
  for (std::size_t i = 0; i < scored.size(); ++i) {
    ScoredToken token;
    std::string nll;
    file >> token.document >> token.id >> token.bytes >> nll;
    EXPECT_EQ(token, scored[i]);
    EXPECT_EQ(std::stod(nll), nlls[i]);
  }
  EXPECT_FALSE(file >> line);
}

TEST(SavedNlls, RefuseWhatDoesNotFit) {
  EXPECT_THROW(save_nlls("none", std::vector<ScoredToken>(2), std::vector<double>(1)), LogicError);
  EXPECT_THROW(save_nlls("no/such/folder/f", {}, {}), IoError);
}

}  // namespace
}  // namespace rpt::evaluate
