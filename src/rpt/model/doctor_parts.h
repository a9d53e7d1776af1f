// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "rpt/model/doctor.h"

/// What the parts of the doctor share.
namespace rpt::model {

/// One of several mends of a fault that the records alone cannot tell apart: a trial decides, or the first one counts.
struct Choice {
  std::string name;
  std::function<void(Treatment&)> apply;
};

/// What the records of a file tell, without its weights.
struct Findings {
  std::vector<Fault> faults;
  std::vector<std::string> notes;
  Treatment treatment;
  /// Mends of faults, by index into `faults`, of which one has to be chosen. A `{}` in the fault's mend stands for its
  /// name.
  struct Open {
    std::size_t fault = 0;
    std::vector<Choice> choices;
  };
  std::vector<Open> open;
  bool loadable = true;  ///< whether the model can be opened under the treatment, as far as the records tell
};

/// Throws: IoError; FormatError where the records themselves cannot be read.
Findings examine_gguf(const std::filesystem::path& path);
Findings examine_huggingface(const std::filesystem::path& folder);

/// A reading that may be the right one, and the fault that it would prove.
struct Trial {
  Fault fault;
  Treatment treatment;
};

/// Every reading that differs in one point from how `treatment` has a model read; `stored`: the type of the file's
/// linear layers, which treated ones need not keep; `online`: a directory that declares so.
std::vector<Trial> list_trials(const Model& model, const Treatment& treatment, tensor::DType stored, bool online);

/// ‖a − b‖ / ‖b‖ of two dense matrices; infinite where their shapes differ or a value is not finite.
double relative_difference(const tensor::StoredView& a, const tensor::StoredView& b);

/// The relative difference to what it was made of that a type's rounding explains, with room to spare.
double rounding_of(tensor::DType type);

/// "a, b, c and 4 more"
std::string list_some(const std::vector<std::string>& names);

/// Names of the tensors of a block, by GGUF's names without "blk.N.".
std::vector<std::string> block_tensor_names(bool sub_norms);

/// The fault of tensors that the network needs and the file lacks, sub-norms and others apart. Sets `loadable`.
void report_missing(const std::vector<std::string>& missing, Findings& findings);

/// The fault of a file that was cut short. Sets `loadable`.
void report_cut(const std::string& file, std::uint64_t missing_bytes, Findings& findings);

}  // namespace rpt::model
