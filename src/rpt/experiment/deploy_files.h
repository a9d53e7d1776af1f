// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "rpt/core/progress.h"
#include "rpt/experiment/run_directory.h"
#include "rpt/model/export.h"
#include "rpt/model/model.h"

/// What a pipeline leaves for others, and what of it may be written again: nothing that people have put there is lost.
namespace rpt::experiment {

/// SHA-256 of a file's bytes; nothing where no file can be read. Cost: 3 ns a byte.
std::optional<std::string> file_sha256(const std::filesystem::path& file);

/// Whether a model stands at `place`, can be read, and gives the gate's tokens what `model` gives them.
bool gives_the_same(const std::filesystem::path& place, const model::Model& model);

/// The file of a Hugging Face directory that holds its weights.
inline constexpr const char* kWeightsFile = "model.safetensors";

/// Refuses the model of a finished fine-tune, where there is one, whose weights have another SHA-256 than `found` says
/// ("weights_sha256"; older runs say nothing): scored and pruned further it would not be the run's. Throws:
/// ConfigError.
void require_weights(const std::filesystem::path& model, const StageFigures& found);

/// Refuses to replace a GGUF that can be read and is not what a run wrote: somebody has put it there. Where it is
/// `known` that the run's had other bytes, that is any; else one that does not give the gate's tokens what `model`
/// gives them. Throws: OutputError.
void require_own_gguf(const std::filesystem::path& file, const model::Model& model, bool known);

/// Values of the linear layers, as they are stored, that are 0 or ± their tensor's scale, as a share of all, 0 … 1.
/// Throws: FormatError as TernaryWeight::codes. Cost: one pass over the codes, or the latents where there are any.
double ternary_share(const model::Model& model);

/// Removes what a run that was killed has left of the files and folders that it was writing for others: "NAME.tmp.N.M".
/// Nobody else may be at work in `folder`. Throws: OutputError.
void remove_unfinished(const std::filesystem::path& folder);

/// Writes a Hugging Face directory, in the place of one that holds nothing but what is written now; the gate's hash.
/// Throws: OutputError naming an entry that this does not write, which would be lost; as model::export_huggingface.
std::string write_directory(const model::Model& model, const std::filesystem::path& place, model::HfForm form,
                            core::ProgressSink* progress);

/// Writes a file of a run where there is none, or one that the run wrote before, which the stage `note` knows by its
/// hash; another one is somebody's own text, which is left, and `say` is told so in a line. Throws: IoError.
void write_own(RunDirectory& run, const std::string& name, const std::string& note, const std::string& text,
               const std::function<void(const std::string&)>& say);

/// README.md of a pipeline, so.
void write_card(RunDirectory& run, const std::string& card, const std::function<void(const std::string&)>& say);

}  // namespace rpt::experiment
