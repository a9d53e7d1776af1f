// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rpt::experiment {

/// What a stage found: read again, to the last bit, where a run goes on.
struct StageFigures {
  std::map<std::string, double> numbers;  ///< finite, or infinity (null in the file): the perplexity of a wreck
  std::map<std::string, std::string> texts;
  std::map<std::string, std::vector<double>> series;  ///< finite
  std::string file;                                   ///< that they were read from, for messages; no part of them
  bool operator==(const StageFigures& other) const {
    return numbers == other.numbers && texts == other.texts && series == other.series;
  }

  /// The entry of that name. Throws: ConfigError where the stage left none.
  double number(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  const std::vector<double>& list(const std::string& name) const;
};

/// Whether `folder` holds a run of this configuration, which is only looked at. Throws: FormatError for a damaged
/// run.json.
bool holds_run(const std::filesystem::path& folder, std::string_view configuration);

/// What a stage of the run in `folder` found, if it is finished. Throws: FormatError for a damaged file; LogicError for
/// no name of a stage.
std::optional<StageFigures> finished_stage(const std::filesystem::path& folder, const std::string& stage);

/// The folder of a run that consists of stages, each done once: run.json holds the configuration, stages/NAME.json what
/// a finished stage found, stages/NAME/ what it keeps beside. A run that was killed goes on behind its last finished
/// stage. One process at a time.
class RunDirectory {
 public:
  /// Begins a run in a folder that does not exist or is empty, or goes on with one of the same configuration (a JSON
  /// object). Throws: ConfigError for a folder with anything else in it, a run of another "format" or configuration
  /// (naming the first member that differs) or one that another process works on; IoError; FormatError for a damaged
  /// run.json.
  RunDirectory(std::filesystem::path folder, std::string_view configuration);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  /// Where a stage keeps its files; made where it is missing. Names may contain '-', letters and digits (LogicError).
  std::filesystem::path stage_folder(const std::string& stage) const;

  /// What the stage found, if it is finished. Throws: FormatError for a damaged file.
  std::optional<StageFigures> finished(const std::string& stage) const;
  /// Makes a finished stage one that is to be done again; its folder stays.
  void forget(const std::string& stage);
  /// Runs `work` and keeps what it found, unless the stage is finished. Nothing where `work` gives nothing: it was
  /// interrupted, and begins again the next time. Throws: as `work`; IoError.
  std::optional<StageFigures> stage(const std::string& stage, const std::function<std::optional<StageFigures>()>& work);

 private:
  std::filesystem::path file_of(const std::string& stage) const;

  std::filesystem::path folder_;
  int lock_ = -1;
};

}  // namespace rpt::experiment
