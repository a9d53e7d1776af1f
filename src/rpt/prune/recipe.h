// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "rpt/prune/select.h"

namespace rpt::prune {

/// How the weights that go are found.
enum class Protocol : std::uint8_t {
  sound,   ///< select()
  legacy,  ///< legacy.h
};
std::string_view name(Protocol protocol);
/// Throws: ConfigError.
Protocol parse_protocol(std::string_view text);

/// Which text a score looked at, and how much of it.
struct CalibrationText {
  std::string text;         ///< as it was named
  std::string sha256;       ///< of its documents, a line feed after each; 64 lower-case hexadecimal digits
  std::int64_t length = 0;  ///< ids of a sequence at most
  std::int64_t tokens = 0;  ///< ids of the text at most
  bool operator==(const CalibrationText&) const = default;
};

/// Everything that a pruning followed from, beside the model: replayed on the same model it gives the same masks.
struct Recipe {
  Protocol protocol = Protocol::sound;
  std::uint64_t seed = 0;  ///< of random scores and of the legacy sample
  double percent = 0;      ///< legacy only: nominal, 0 … 100
  // What follows is of the sound protocol only.
  Score score = Score::magnitude;
  Selection selection;
  std::optional<CalibrationText> calibration;  ///< where the score needs one, and only there
  bool operator==(const Recipe&) const = default;
};

/// Throws: ConfigError naming `source` and the member that does not hold.
void validate(const Recipe& recipe, const std::string& source);

/// The recipe as JSON with "format": "rpt-prune-1"; only the members that its protocol and pattern use.
/// Throws: ConfigError for a text that is no UTF-8.
std::string to_json(const Recipe& recipe);

/// Reads what to_json wrote. Every member must be there, and no other.
/// Throws: FormatError where it is no JSON; ConfigError as validate, and for a member that is missing, unknown or of
/// another type.
Recipe parse_recipe(std::string_view json, const std::string& source);

/// The masks of a recipe on a model. `calibration` is what calibrate() gave for the recipe's text, or null where its
/// score needs none. Throws: ConfigError as validate, make_saliency and select; for a legacy recipe with `progress`,
/// whose threshold knows no base: it looks at the latents as they are, in which what went before is 0.
model::Masks make_masks(const model::Model& model, const Recipe& recipe, const Calibration* calibration = nullptr,
                        const Progress* progress = nullptr);

}  // namespace rpt::prune
