// SPDX-License-Identifier: MIT
#include "rpt/train/run_folder.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/train/checkpoint.h"

namespace rpt::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// A value that fits a message.
std::string short_text(const Json& value) {
  constexpr std::size_t kMost = 60;
  std::string text = value.dump();
  if (text.size() > kMost) text = "another one";
  return text;
}

std::string difference(const Json& was, const Json& is, const std::string& place) {
  const auto at = [](const Json& object, const std::string& key) {
    return object.contains(key) ? object.at(key) : Json("not given");
  };
  for (const Json* side : {&was, &is}) {
    for (const auto& [key, value] : side->items()) {
      const Json a = at(was, key);
      const Json b = at(is, key);
      if (a == b) continue;
      if (a.is_object() && b.is_object()) return difference(a, b, place + key + ".");
      return fmt::format(": {}{} was {}, is {}", place, key, short_text(a), short_text(b));
    }
  }
  return "";
}

/// The last step of which metrics.jsonl tells; 0 where it tells of none.
std::int64_t last_step(const fs::path& metrics) {
  std::ifstream file(metrics, std::ios::binary);
  std::int64_t last = 0;
  for (std::string line; std::getline(file, line);) {
    const Json j = Json::parse(line, nullptr, false);
    if (j.is_object() && j.contains("step") && j.at("step").is_number_integer())
      last = j.at("step").get<std::int64_t>();
  }
  return last;
}

/// Refuses a run that has saved a checkpoint of which nothing is left: to go on would be to begin anew, over what it
/// has written. Where a run was killed while it saved its first one, the step of that one stands in metrics.jsonl
/// already, but none behind it. Throws: ConfigError.
void require_no_lost_checkpoint(const fs::path& folder, std::int64_t checkpoint_every) {
  const std::int64_t step = last_step(folder / "metrics.jsonl");
  if (step <= checkpoint_every) return;
  throw ConfigError(
      fmt::format("{}: metrics.jsonl goes to step {}, but there is no checkpoint: bring checkpoints/ back, or move "
                  "metrics.jsonl away to begin anew",
                  folder.string(), step));
}

}  // namespace

bool is_vacant(const fs::path& path) {
  std::error_code none;
  const fs::file_status status = fs::symlink_status(path, none);
  if (!fs::exists(status)) return true;
  return fs::is_directory(status) && fs::is_empty(path, none);
}

void require_run_folder(const fs::path& folder, const TrainConfig& config, bool resume,
                        std::span<const std::string> outputs, std::span<const std::string> at_end) {
  std::error_code none;
  if (fs::exists(folder, none) && !fs::is_directory(folder, none)) {
    throw OutputError(fmt::format("{}: exists and is no folder", folder.string()));
  }
  const auto newest = newest_checkpoint(folder / "checkpoints");
  const bool begun = fs::exists(folder / "training.json", none) || (resume && newest);
  if (begun && !resume) {
    throw ConfigError(fmt::format("{}: already holds a run; --resume goes on with it", folder.string()));
  }
  if (!begun) {
    const auto require_vacant = [&](const std::string& name) {
      if (is_vacant(folder / name)) return;
      throw OutputError(
          fmt::format("{}: is there already; expected a folder in which no run has written: move it away or choose "
                      "another folder",
                      (folder / name).string()));
    };
    for (const char* name : {"metrics.jsonl", "checkpoints"}) require_vacant(name);
    for (const std::string& name : outputs) require_vacant(name);
    return;
  }
  if (!newest) require_no_lost_checkpoint(folder, config.checkpoint_every);
  if (at_end.empty()) return;
  std::int64_t step = 0;
  if (newest) {
    const RunState state = read_run_state(*newest);
    if (state.overfitted || state.step >= config.steps) return;
    step = state.step;
  }
  for (const std::string& name : at_end) {
    if (is_vacant(folder / name)) continue;
    throw OutputError(
        fmt::format("{}: is there already; expected nothing after {} of {} steps, for this run writes it at its end: "
                    "move it away",
                    (folder / name).string(), step, config.steps));
  }
}

void remove_leftovers(const fs::path& path) {
  const std::string begin = path.filename().string() + ".tmp.";
  constexpr std::string_view kOld = ".old";
  std::vector<fs::path> leftovers;
  std::error_code error;
  for (fs::directory_iterator it(path.parent_path(), error), last; !error && it != last; it.increment(error)) {
    std::string name = it->path().filename().string();
    if (name.ends_with(kOld)) name.resize(name.size() - kOld.size());
    if (name.starts_with(begin) && name.find_first_not_of("0123456789.", begin.size()) == std::string::npos) {
      leftovers.push_back(it->path());
    }
  }
  for (const fs::path& leftover : leftovers) {
    // What had been moved away and not been replaced yet is all that is left of it.
    if (leftover.extension() == kOld && !fs::exists(fs::symlink_status(path, error))) {
      fs::rename(leftover, path, error);
      if (error) throw OutputError(fmt::format("{}: cannot be moved back: {}", leftover.string(), error.message()));
      continue;
    }
    fs::remove_all(leftover, error);
    if (error) throw OutputError(fmt::format("{}: cannot be removed: {}", leftover.string(), error.message()));
  }
}

std::string describe_difference(const std::string& was, const std::string& is) {
  const Json a = Json::parse(was, nullptr, false);
  const Json b = Json::parse(is, nullptr, false);
  if (!a.is_object() || !b.is_object()) return "";
  return difference(a, b, "");
}

}  // namespace rpt::train
