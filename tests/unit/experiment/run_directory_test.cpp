// SPDX-License-Identifier: MIT
#include "rpt/experiment/run_directory.h"

#include <gtest/gtest.h>

#include <limits>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "tests/tiny_model.h"

namespace rpt::experiment {
namespace {

class RunFolder : public ::testing::Test {
 protected:
  std::filesystem::path out() const { return folder_ / "run"; }
  test::ScratchFolder folder_;
};

TEST_F(RunFolder, FinishedStagesAreNotDoneAgain) {
  StageFigures figures;
  figures.numbers["pi"] = 3.141592653589793;
  figures.numbers["tiny"] = std::numeric_limits<double>::denorm_min();
  figures.numbers["wreck"] = std::numeric_limits<double>::infinity();
  figures.texts["text"] = "a \"quoted\"\nline";
  figures.series["list"] = {0.1, 0.2, 1e300};
  int times = 0;
  for (int i = 0; i < 2; ++i) {
    RunDirectory run(out(), R"({"a": 1})");
    const auto found = run.stage("first-1", [&]() -> std::optional<StageFigures> {
      ++times;
      return figures;
    });
    EXPECT_EQ(found, figures);  // to the last bit, also from the file
    EXPECT_FALSE(run.stage("second", []() -> std::optional<StageFigures> { return std::nullopt; }));
    EXPECT_FALSE(run.finished("second"));
  }
  EXPECT_EQ(times, 1);
  EXPECT_EQ(figures.number("pi"), 3.141592653589793);
  EXPECT_EQ(figures.list("list").size(), 3U);
  EXPECT_THROW(static_cast<void>(figures.text("none")), ConfigError);
}

TEST_F(RunFolder, OtherRunsAndOtherFoldersAreRefused) {
  {
    const RunDirectory run(out(), R"({"a": 1, "b": 2})");
    EXPECT_THROW(RunDirectory(out(), R"({"a": 1, "b": 2})"), ConfigError);  // this one is at work
  }
  EXPECT_NO_THROW(RunDirectory(out(), R"({"b": 2, "a": 1})"));
  try {
    const RunDirectory run(out(), R"({"a": 1, "b": 3})");
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("\"b\" differs"), std::string::npos) << e.what();
  }
  core::write_file_atomic(folder_ / "file", "here");
  EXPECT_THROW(RunDirectory(folder_ / ".", "{}"), ConfigError);
  EXPECT_THROW(RunDirectory(folder_ / "file", "{}"), IoError);
}

TEST_F(RunFolder, ARunOfAnotherVersionIsCalledSo) {
  { const RunDirectory run(out(), R"({"a": 1, "format": "rpt-deploy-1"})"); }
  try {
    const RunDirectory run(out(), R"({"a": 2, "format": "rpt-deploy-2"})");
    FAIL();
  } catch (const ConfigError& e) {
    const std::string says = e.what();
    EXPECT_NE(says.find(R"(a run of format "rpt-deploy-1", this program goes on with "rpt-deploy-2")"),
              std::string::npos)
        << says;
  }
}

TEST_F(RunFolder, WhatStandsInTheWayIsNamed) {
  RunDirectory run(out(), "{}");
  core::write_file_atomic(out() / "stages", "a file");
  try {
    static_cast<void>(run.stage("one", [] { return StageFigures{}; }));
    FAIL();
  } catch (const OutputError& e) {
    EXPECT_NE(std::string(e.what()).find("stages: cannot be made"), std::string::npos) << e.what();
  }
  EXPECT_THROW(static_cast<void>(run.stage_folder("one")), OutputError);
}

TEST_F(RunFolder, AForgottenStageIsDoneAgain) {
  RunDirectory run(out(), "{}");
  int times = 0;
  const auto work = [&] {
    ++times;
    return StageFigures{};
  };
  static_cast<void>(run.stage("one", work));
  run.forget("one");
  EXPECT_FALSE(run.finished("one"));
  static_cast<void>(run.stage("one", work));
  EXPECT_EQ(times, 2);
}

TEST_F(RunFolder, ARunThatWasKilledBeforeItBeganIsNoObstacle) {
  std::filesystem::create_directory(out());
  core::write_file_atomic(out() / ".lock", "");
  core::write_file_atomic(out() / "run.json.tmp.1234.0", "{\"a");
  EXPECT_NO_THROW(RunDirectory(out(), R"({"a": 1})"));
  EXPECT_FALSE(std::filesystem::exists(out() / "run.json.tmp.1234.0"));
  RunDirectory run(out(), R"({"a": 1})");
  core::write_file_atomic(run.stage_folder("one") / "kept", "x");
  core::write_file_atomic(out() / "stages/one.json.tmp.1234.1", "{");
  static_cast<void>(run.stage("one", [] { return StageFigures{}; }));
  EXPECT_FALSE(std::filesystem::exists(out() / "stages/one.json.tmp.1234.1"));
  EXPECT_TRUE(std::filesystem::exists(out() / "stages/one/kept"));
}

TEST_F(RunFolder, DamagedFilesAreNamed) {
  {
    RunDirectory run(out(), "{}");
    core::write_file_atomic(run.stage_folder("one") / "kept", "x");
    core::write_file_atomic(out() / "stages/one.json", R"({"numbers": {"a": "b"}})");
    EXPECT_THROW(static_cast<void>(run.finished("one")), FormatError);
    core::write_file_atomic(out() / "stages/one.json", "{");
    EXPECT_THROW(static_cast<void>(run.finished("one")), FormatError);
    EXPECT_THROW(static_cast<void>(run.finished("../one")), LogicError);
    core::write_file_atomic(out() / "stages/one.json", R"({"numbers": {}, "texts": {}, "series": {}})");
    try {
      static_cast<void>(run.finished("one")->number("mean_nll"));
      FAIL();
    } catch (const ConfigError& e) {
      EXPECT_NE(std::string(e.what()).find("stages/one.json: holds no \"mean_nll\""), std::string::npos) << e.what();
    }
  }
  core::write_file_atomic(out() / "run.json", "{");
  EXPECT_THROW(RunDirectory(out(), "{}"), FormatError);
}

}  // namespace
}  // namespace rpt::experiment
