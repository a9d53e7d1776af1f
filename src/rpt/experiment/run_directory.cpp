// SPDX-License-Identifier: MIT
#include "rpt/experiment/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <nlohmann/json.hpp>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/train/run_folder.h"

namespace rpt::experiment {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

template <typename Map>
const auto& entry(const Map& map, const std::string& name, const std::string& file) {
  const auto found = map.find(name);
  if (found == map.end()) {
    throw ConfigError(
        fmt::format("{}: holds no \"{}\": damaged, or of another version; without it the stage is done again",
                    file.empty() ? "a stage" : file, name));
  }
  return found->second;
}

Json read_json(const fs::path& path) {
  try {
    return Json::parse(core::read_file(path));
  } catch (const Json::exception& e) {
    throw FormatError(path.string(), 0, "JSON", "JSON", e.what());
  }
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw OutputError(fmt::format("{}: cannot be made: {}", folder.string(), error.message()));
}

/// The first member in which two configurations differ.
std::string differing_member(const Json& a, const Json& b) {
  for (const auto& [key, value] : a.items()) {
    if (!b.contains(key) || b[key] != value) return key;
  }
  for (const auto& [key, value] : b.items()) {
    if (!a.contains(key)) return key;
  }
  return "";
}

/// What stands in the way of going on with a run: another version's format, or the first member that differs.
std::string difference(const Json& a, const Json& b) {
  const auto format = [](const Json& j) {
    return j.is_object() ? j.value("format", Json("unknown")) : Json("unknown");
  };
  if (format(a) != format(b)) {
    return fmt::format("a run of format {}, this program goes on with {}", format(a).dump(), format(b).dump());
  }
  return fmt::format("a run of another configuration (\"{}\" differs)", differing_member(a, b));
}

fs::path file_in(const fs::path& folder, const std::string& stage) {
  const bool plain = !stage.empty() && std::all_of(stage.begin(), stage.end(),
                                                   [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; });
  RPT_CHECK(plain, "stage \"{}\"", stage);
  return folder / "stages" / (stage + ".json");
}

}  // namespace

double StageFigures::number(const std::string& name) const {
  return entry(numbers, name, file);
}
const std::string& StageFigures::text(const std::string& name) const {
  return entry(texts, name, file);
}
const std::vector<double>& StageFigures::list(const std::string& name) const {
  return entry(series, name, file);
}

bool holds_run(const fs::path& folder, std::string_view configuration) {
  const fs::path file = folder / "run.json";
  return fs::exists(file) && read_json(file) == Json::parse(configuration);
}

std::optional<StageFigures> finished_stage(const fs::path& folder, const std::string& stage) {
  const fs::path file = file_in(folder, stage);
  if (!fs::exists(file)) return std::nullopt;
  const Json json = read_json(file);
  try {
    StageFigures figures;
    for (const auto& [name, value] : json.at("numbers").items()) {
      figures.numbers[name] = value.is_null() ? std::numeric_limits<double>::infinity() : value.get<double>();
    }
    json.at("texts").get_to(figures.texts);
    json.at("series").get_to(figures.series);
    figures.file = file.string();
    return figures;
  } catch (const Json::exception& e) {
    throw FormatError(file.string(), 0, "stage", "numbers, texts and series", e.what());
  }
}

RunDirectory::RunDirectory(fs::path folder, std::string_view configuration) : folder_(std::move(folder)) {
  const Json wanted = Json::parse(configuration);
  const fs::path file = folder_ / "run.json";
  make_folder(folder_);
  if (!fs::exists(file)) {
    for (const fs::directory_entry& other : fs::directory_iterator(folder_)) {
      // What a run leaves that was killed before it had begun is no obstacle.
      const std::string name = other.path().filename().string();
      if (name != ".lock" && !name.starts_with("run.json.tmp.")) {
        throw ConfigError(fmt::format("{}: not empty, and no run to go on with", folder_.string()));
      }
    }
  }
  lock_ = ::open((folder_ / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) throw OutputError(fmt::format("{}: cannot be written", (folder_ / ".lock").string()));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    throw ConfigError(fmt::format("{}: another process works on this run", folder_.string()));
  }
  try {
    train::remove_leftovers(file);  // nobody else writes it: the lock is ours
    if (fs::exists(file)) {
      const Json begun = read_json(file);
      if (begun != wanted) {
        throw ConfigError(fmt::format("{}: {}; choose another folder", folder_.string(), difference(begun, wanted)));
      }
    } else {
      core::write_file_atomic(file, wanted.dump(2) + "\n");
    }
  } catch (...) {
    ::close(lock_);
    throw;
  }
}

RunDirectory::~RunDirectory() {
  ::close(lock_);
}

fs::path RunDirectory::file_of(const std::string& stage) const {
  return file_in(folder_, stage);
}

fs::path RunDirectory::stage_folder(const std::string& stage) const {
  fs::path folder = file_of(stage).replace_extension();
  make_folder(folder);
  return folder;
}

std::optional<StageFigures> RunDirectory::finished(const std::string& stage) const {
  return finished_stage(folder_, stage);
}

void RunDirectory::forget(const std::string& stage) {
  fs::remove(file_of(stage));
}

std::optional<StageFigures> RunDirectory::stage(const std::string& stage,
                                                const std::function<std::optional<StageFigures>()>& work) {
  if (auto before = finished(stage)) return before;
  std::optional<StageFigures> found = work();
  if (!found) return std::nullopt;
  const fs::path file = file_of(stage);
  make_folder(file.parent_path());
  train::remove_leftovers(file);
  const Json json = {{"numbers", found->numbers}, {"texts", found->texts}, {"series", found->series}};
  core::write_file_atomic(file, json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  return found;
}

}  // namespace rpt::experiment
