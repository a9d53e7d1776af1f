// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "rpt/model/export.h"
#include "rpt/model/model.h"

namespace rpt::model {

/// By what the scale s of every ternary linear layer is replaced. The density d is the share of its codes that are not
/// 0.
enum class ScaleChange : std::uint8_t {
  none,
  halved,        ///< s / 2
  doubled,       ///< 2 s
  inverted,      ///< 1 / s
  by_density,    ///< s · d
  over_density,  ///< s / d
};

/// How the rows of queries and keys are put in another order (row_order.h).
enum class RowChange : std::uint8_t {
  none,
  to_halves,  ///< what is read stands in pairs
  to_pairs,   ///< what is read was taken for pairs, and stood in halves
};

/// A reading of a model file that departs from what the file says: what a doctor tries, and what it mends with.
struct Treatment {
  OpenOptions reading;
  ScaleChange scale = ScaleChange::none;
  RowChange rows = RowChange::none;
  bool other_activation = false;   ///< SiLU for relu², relu² for SiLU
  bool embedding_is_head = false;  ///< the head of its own is left out
};

/// Opens a model under a treatment. The file is not touched: scales change by LinearWeight::output_scale, and rows that
/// change places are copied. Throws: as open_model.
std::unique_ptr<Model> open_treated(const std::filesystem::path& path, const Treatment& treatment);

/// Writes the treated model in the form of the file at `path` (GGUF with linear layers of the same type, or a Hugging
/// Face directory, packed where it holds codes), with new scales rounded to what the form holds. Returns the gate's
/// hash. Throws: as export_gguf and export_huggingface; ConfigError for a llama2.c checkpoint.
std::string write_treated(const std::filesystem::path& path, const Treatment& treatment,
                          const std::filesystem::path& target, const ExportOptions& options);

}  // namespace rpt::model
