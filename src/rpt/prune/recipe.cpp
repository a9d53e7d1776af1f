// SPDX-License-Identifier: MIT
#include "rpt/prune/recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "rpt/core/error.h"
#include "rpt/prune/legacy.h"
#include "rpt/prune/names.h"

namespace rpt::prune {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "rpt-prune-1";
constexpr Names<Protocol, 2> kProtocols{{{Protocol::sound, "sound"}, {Protocol::legacy, "legacy"}}};

/// An object whose members are taken out one by one; each must be there, and nothing may be left.
class Members {
 public:
  Members(const Json& json, std::string place) : json_(json), place_(std::move(place)) {
    if (!json.is_object()) throw ConfigError(place_ + " is no object");
  }

  std::string text(const char* key) { return take(key, &Json::is_string, "a text").get<std::string>(); }
  double number(const char* key) { return take(key, &Json::is_number, "a number").get<double>(); }
  std::uint64_t count(const char* key) {
    return take(key, &Json::is_number_unsigned, "a whole number from 0").get<std::uint64_t>();
  }
  std::int64_t size(const char* key) {
    const std::uint64_t value = count(key);
    if (!std::in_range<std::int64_t>(value)) throw ConfigError(fmt::format("{}: {} is {}", place_, key, value));
    return static_cast<std::int64_t>(value);
  }
  Members object(const char* key) {
    return {take(key, &Json::is_object, "an object"), fmt::format("{}: {}", place_, key)};
  }
  void finish() const {
    for (const auto& [key, value] : json_.items()) {
      if (!taken_.contains(key)) throw ConfigError(fmt::format("{} has an unknown member \"{}\"", place_, key));
    }
  }

 private:
  const Json& take(const char* key, bool (Json::*is)() const noexcept, const char* expected) {
    const auto found = json_.find(key);
    if (found == json_.end()) throw ConfigError(fmt::format("{} lacks \"{}\"", place_, key));
    if (!((*found).*is)())
      throw ConfigError(fmt::format("{}: {} is {}, expected {}", place_, key, found->dump(), expected));
    taken_.insert(key);
    return *found;
  }

  const Json& json_;
  std::string place_;
  std::set<std::string> taken_;
};

/// nlohmann::json keeps the last of equal members; here they are errors.
Json parse_json(std::string_view json, const std::string& source) {
  std::vector<std::set<std::string>> open;
  const auto watch = [&](int, Json::parse_event_t event, const Json& value) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && !open.back().insert(value.get<std::string>()).second) {
      throw ConfigError(fmt::format("{}: the member {} stands twice", source, value.dump()));
    }
    return true;
  };
  try {
    return Json::parse(json, watch);
  } catch (const Json::parse_error& e) {
    throw FormatError(source, e.byte > 0 ? e.byte - 1 : 0, "JSON", "a recipe of pruning", e.what());
  } catch (const Json::exception& e) {
    throw FormatError(source, 0, "JSON", "a recipe of pruning", e.what());
  }
}

CalibrationText read_calibration(Members members) {
  CalibrationText c;
  c.text = members.text("text");
  c.sha256 = members.text("sha256");
  c.length = members.size("length");
  c.tokens = members.size("tokens");
  members.finish();
  return c;
}

void read_sound(Members& members, Recipe& recipe) {
  Selection& s = recipe.selection;
  recipe.score = parse_score(members.text("score"));
  s.dose = parse_dose(members.text("dose"));
  s.pattern = parse_pattern(members.text("pattern"));
  if (s.pattern.unstructured()) {
    s.scope = parse_scope(members.text("scope"));
    s.sparsity = members.number("sparsity");
  }
  s.targets = members.text("targets");
  s.protect = members.text("protect");
  if (needs_calibration(recipe.score)) recipe.calibration = read_calibration(members.object("calibration"));
}

void write_sound(const Recipe& recipe, Json& j) {
  const Selection& s = recipe.selection;
  j["score"] = name(recipe.score);
  j["dose"] = name(s.dose);
  j["pattern"] = name(s.pattern);
  if (s.pattern.unstructured()) {
    j["scope"] = name(s.scope);
    j["sparsity"] = s.sparsity;
  }
  j["targets"] = s.targets;
  j["protect"] = s.protect;
  if (recipe.calibration) {
    const CalibrationText& c = *recipe.calibration;
    j["calibration"] = {{"text", c.text}, {"sha256", c.sha256}, {"length", c.length}, {"tokens", c.tokens}};
  }
}

void validate_calibration(const CalibrationText& c) {
  const auto is_digit = [](char x) { return (x >= '0' && x <= '9') || (x >= 'a' && x <= 'f'); };
  if (c.text.empty()) throw ConfigError("calibration: no text");
  if (c.sha256.size() != 64 || !std::all_of(c.sha256.begin(), c.sha256.end(), is_digit)) {
    throw ConfigError(fmt::format("calibration: sha256 is \"{}\"", c.sha256));
  }
  if (c.length < 1 || c.tokens < 1) {
    throw ConfigError(fmt::format("calibration: length is {}, tokens is {}, expected 1 or more", c.length, c.tokens));
  }
}

void validate_sound(const Recipe& recipe) {
  validate(recipe.selection);
  if (recipe.percent != 0) throw ConfigError("percent is of the legacy protocol");
  if (recipe.calibration.has_value() != needs_calibration(recipe.score)) {
    throw ConfigError(fmt::format("the score {} {} a calibration text", name(recipe.score),
                                  recipe.calibration ? "does not use" : "needs"));
  }
  if (recipe.calibration) validate_calibration(*recipe.calibration);
}

void validate_legacy(const Recipe& recipe) {
  legacy_threshold({}, recipe.percent);
  if (!(recipe.selection == Selection{}) || recipe.score != Score::magnitude || recipe.calibration) {
    throw ConfigError("the legacy protocol takes percent and seed, nothing else");
  }
}

}  // namespace

std::string_view name(Protocol protocol) {
  return name_of(kProtocols, protocol);
}
Protocol parse_protocol(std::string_view text) {
  return parse_name(kProtocols, text, "protocol");
}

void validate(const Recipe& recipe, const std::string& source) {
  try {
    recipe.protocol == Protocol::sound ? validate_sound(recipe) : validate_legacy(recipe);
  } catch (const ConfigError& e) {
    throw ConfigError(fmt::format("{}: {}", source, e.what()));
  }
}

std::string to_json(const Recipe& recipe) {
  Json j = {{"format", kFormat}, {"protocol", name(recipe.protocol)}, {"seed", recipe.seed}};
  if (recipe.protocol == Protocol::legacy) {
    j["percent"] = recipe.percent;
  } else {
    write_sound(recipe, j);
  }
  try {
    return j.dump(2) + "\n";
  } catch (const Json::exception&) {  // the library refuses to write what is no UTF-8
    throw ConfigError("a text of the recipe is no UTF-8");
  }
}

Recipe parse_recipe(std::string_view json, const std::string& source) {
  const Json parsed = parse_json(json, source);
  Recipe recipe;
  try {
    Members members(parsed, "the recipe");
    if (const std::string format = members.text("format"); format != kFormat) {
      throw ConfigError(fmt::format("the recipe's format is \"{}\", expected \"{}\"", format, kFormat));
    }
    recipe.protocol = parse_protocol(members.text("protocol"));
    recipe.seed = members.count("seed");
    if (recipe.protocol == Protocol::legacy) {
      recipe.percent = members.number("percent");
    } else {
      read_sound(members, recipe);
    }
    members.finish();
  } catch (const ConfigError& e) {
    throw ConfigError(fmt::format("{}: {}", source, e.what()));
  }
  validate(recipe, source);
  return recipe;
}

Masks make_masks(const model::Model& model, const Recipe& recipe, const Calibration* calibration,
                 const Progress* progress) {
  validate(recipe, "recipe");
  if (recipe.protocol == Protocol::legacy) {
    if (progress != nullptr) throw ConfigError("the legacy protocol knows no base");
    return select_above(model, legacy_threshold(legacy_pool(model, recipe.seed), recipe.percent));
  }
  const auto saliency = make_saliency(recipe.score, model, recipe.seed, calibration);
  return select(model, *saliency, recipe.selection, progress);
}

}  // namespace rpt::prune
