// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/core/progress.h"
#include "rpt/model/treatment.h"

namespace rpt::model {

/// Something that makes a file babble, or keeps it from loading.
struct Fault {
  std::string fault;  ///< its name: wrong_architecture, missing_pre_tokenizer, …; docs/cli.md lists them
  std::string place;  ///< file, key or tensors
  std::string cause;
  std::string mend;
  bool mechanical = false;           ///< the treatment mends it
  std::optional<double> nll_before;  ///< nats a token on the text; nothing where it could not be scored
  std::optional<double> nll_after;   ///< the same once mended
};

/// What was found in a file.
struct Diagnosis {
  std::vector<Fault> faults;       ///< structural ones first
  std::vector<std::string> notes;  ///< what was left out, and why
  std::optional<double> nll;       ///< nats a token of the text as the file is read with every mend
  std::int64_t tokens = 0;         ///< of the text
  std::vector<std::string> tried;  ///< names of the behavioural faults that were looked for
  Treatment treatment;             ///< mends every fault that is mechanical
};

/// A reading must lower the NLL by more than this, in nats a token, to count as the right one.
inline constexpr double kTrialMargin = 0.1;

/// A paragraph of ordinary English: what a file is tried on where no other text is given.
extern const std::string_view kTrialText;

/// The NLL in nats a token of a text (its first 4096 bytes) under a model, and the tokens scored; read in windows of at
/// most 512 tokens, BOS in front where the vocabulary adds it. Throws: ConfigError without a vocabulary or with fewer
/// than two tokens; as Decoder::forward.
struct TrialScore {
  double nll = 0;
  double total = 0;  ///< of all tokens
  std::int64_t tokens = 0;
};
TrialScore trial_score(const Model& model, std::string_view text);

/// Looks for what makes a GGUF file, a Hugging Face directory or a llama2.c checkpoint babble: first in its records
/// alone, which works for files that open_model refuses, then in its weights, then by trial on `text`: readings with
/// other scales, orders of rows and layouts. Throws: as open_model, for a file in which no fault was found before that
/// error came up.
Diagnosis diagnose(const std::filesystem::path& path, std::string_view text,
                   core::ProgressSink& progress = core::null_progress());

/// Writes the mended file, as write_treated. Throws: ConfigError naming the first fault that is not mechanical, or
/// where there is none at all; as write_treated.
std::string mend(const std::filesystem::path& path, const Diagnosis& diagnosis, const std::filesystem::path& target,
                 const ExportOptions& options);

}  // namespace rpt::model
