// SPDX-License-Identifier: MIT
#include "rpt/evaluate/saved_logits.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"

namespace rpt::evaluate {
namespace {

class SavedLogits : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(testing::TempDir()) /
            (std::string("rpt-") + testing::UnitTest::GetInstance()->current_test_info()->name() + ".logits");
    std::filesystem::remove(path_);
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::filesystem::path path_;
};

template <typename T>
T take(std::string_view& bytes) {
  T value{};
  EXPECT_GE(bytes.size(), sizeof value);
  if (bytes.size() < sizeof value) return value;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return value;
}

TEST_F(SavedLogits, ComeBackAsTheyWereWritten) {
  const std::vector<std::vector<float>> rows = {{1.5F, -2.25F, 0.0F}, {3e38F, -1e-45F, 7.0F}};
  LogitsWriter writer(path_, 3, rows.size());
  writer.add(2, rows[0]);
  writer.add(0, rows[1]);
  EXPECT_FALSE(std::filesystem::exists(path_));
  writer.commit();

  const std::string file = core::read_file(path_);
  EXPECT_EQ(file.size(), saved_logits_bytes(3, rows.size()));
  std::string_view bytes = file;
  EXPECT_EQ(bytes.substr(0, 8), "RPTLOGIT");
  bytes.remove_prefix(8);
  EXPECT_EQ(take<std::uint32_t>(bytes), 1U);
  const auto vocabulary = take<std::uint32_t>(bytes);
  EXPECT_EQ(vocabulary, 3U);
  const auto count = take<std::uint64_t>(bytes);
  ASSERT_EQ(count, 2U);
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(take<std::int32_t>(bytes), i == 0 ? 2 : 0);
    std::vector<float> row;
    for (std::uint32_t v = 0; v < vocabulary; ++v) row.push_back(take<float>(bytes));
    EXPECT_EQ(row, rows[i]);
  }
  EXPECT_TRUE(bytes.empty());
}

TEST_F(SavedLogits, LeaveNoFileWithoutCommit) {
  { LogitsWriter(path_, 3, 1).add(0, std::vector<float>(3)); }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SavedLogits, RefuseWhatDoesNotFit) {
  LogitsWriter writer(path_, 3, 1);
  EXPECT_THROW(writer.add(0, std::vector<float>(2)), ShapeError);
  EXPECT_THROW(writer.commit(), LogicError);
  writer.add(0, std::vector<float>(3));
  EXPECT_THROW(writer.add(0, std::vector<float>(3)), LogicError);
  EXPECT_THROW(LogitsWriter(path_, 0, 1), ConfigError);
  EXPECT_EQ(saved_logits_bytes(128'256, ~std::uint64_t{0} / 2), std::nullopt);
  EXPECT_EQ(saved_logits_bytes(1, 1), 32U);
}

}  // namespace
}  // namespace rpt::evaluate
