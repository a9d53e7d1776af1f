// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <span>
#include <string>

#include "rpt/train/train_config.h"

namespace rpt::train {

/// Whether nothing stands at a path, or an empty folder: what is written there costs nobody anything.
bool is_vacant(const std::filesystem::path& path);

/// What a run may find in its folder. A new one needs the places vacant where it writes: metrics.jsonl, checkpoints/
/// and `outputs`, names that the caller writes. One that goes on owns what it has written; `at_end`, those of the
/// outputs that are written behind the last step, must be vacant until then. Throws: ConfigError where the folder holds
/// a run and `resume` is false, where metrics.jsonl tells of steps behind the first checkpoint but there is none any
/// more, and as read_run_state; OutputError naming what stands in the way or is no folder.
void require_run_folder(const std::filesystem::path& folder, const TrainConfig& config, bool resume,
                        std::span<const std::string> outputs = {}, std::span<const std::string> at_end = {});

/// Removes what a process that was killed while it wrote the file or folder `path` has left beside it: PATH.tmp.N.M and
/// PATH.tmp.N.M.old (core::AtomicDirectory). The latter is what stood there before, and comes back where nothing does
/// now. Nobody else may be writing it. Throws: OutputError.
void remove_leftovers(const std::filesystem::path& path);

/// Where two configurations (train::to_json) differ first: ": seed was 3, is 9"; nothing where one of them is no JSON.
std::string describe_difference(const std::string& was, const std::string& is);

}  // namespace rpt::train
