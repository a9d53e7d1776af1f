// SPDX-License-Identifier: MIT
#include "rpt/train/train_config.h"

#include <nlohmann/json.hpp>
#include <set>

#include "rpt/core/error.h"

namespace rpt::train {
namespace {

using Json = nlohmann::ordered_json;

/// Takes members out of an object by name and complains about the rest.
class Object {
 public:
  Object(const Json& json, std::string place, const std::string& file)
      : json_(json), place_(std::move(place)), file_(file) {
    if (!json.is_object()) throw ConfigError(fmt::format("{}: {} is no object", file_, place_));
  }

  /// Reads a member into `value`, which keeps what it has where there is none.
  template <typename T>
  void read(const char* key, T& value) {
    seen_.insert(key);
    const auto found = json_.find(key);
    if (found == json_.end()) return;
    try {
      check_kind<T>(*found);
      value = found->template get<T>();
    } catch (const Json::exception&) {
      fail(key, found->dump());
    }
  }
  /// Reads a member of several names through `parse`.
  template <typename T, typename Parse>
  void read_name(const char* key, T& value, Parse&& parse) {
    std::string text;
    read(key, text);
    if (!json_.contains(key)) return;
    try {
      value = parse(text);
    } catch (const ConfigError& e) {
      throw ConfigError(fmt::format("{}: {}.{}: {}", file_, place_, key, e.what()));
    }
  }
  const Json* find(const char* key) {
    seen_.insert(key);
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  void require(const char* key) const {
    if (!json_.contains(key)) throw ConfigError(fmt::format("{}: {} lacks \"{}\"", file_, place_, key));
  }
  /// Throws where the object has a member that nobody asked for.
  void finish() const {
    for (const auto& [key, value] : json_.items()) {
      if (!seen_.contains(key))
        throw ConfigError(fmt::format("{}: {} has an unknown member \"{}\"", file_, place_, key));
    }
  }
  const std::string& file() const { return file_; }

 private:
  template <typename T>
  void check_kind(const Json& v) const {
    const bool fits = std::is_same_v<T, bool>          ? v.is_boolean()
                      : std::is_same_v<T, std::string> ? v.is_string()
                      : std::is_unsigned_v<T>          ? v.is_number_unsigned()
                      : std::is_integral_v<T>          ? v.is_number_integer()
                      : std::is_floating_point_v<T>    ? v.is_number()
                                                       : true;
    if (!fits) throw Json::type_error::create(302, "kind", &v);
  }
  [[noreturn]] void fail(const char* key, const std::string& found) const {
    throw ConfigError(fmt::format("{}: {}.{} cannot be {}", file_, place_, key, found));
  }

  const Json& json_;
  std::string place_;
  const std::string& file_;
  std::set<std::string> seen_;
};

Clipping parse_clipping(std::string_view text) {
  if (text == "global") return Clipping::global;
  if (text == "tensor") return Clipping::tensor;
  throw ConfigError(fmt::format("unknown clipping \"{}\"; there are global, tensor", text));
}
std::string_view name_of(Clipping clipping) {
  return clipping == Clipping::global ? "global" : "tensor";
}

model::Config read_model(Object object) {
  model::Config c;
  c.rope_theta = 10000;
  c.context = 1024;
  object.read("hidden", c.hidden);
  object.read("feed_forward", c.feed_forward);
  object.read("layers", c.layers);
  object.read("heads", c.heads);
  object.read("kv_heads", c.kv_heads);
  object.read("head_size", c.head_size);
  object.read("context", c.context);
  object.read("norm_epsilon", c.norm_epsilon);
  object.read("rope_theta", c.rope_theta);
  object.read_name("activation", c.activation, [&](const std::string& text) {
    if (text == "relu2") return model::Activation::relu2;
    if (text == "silu") return model::Activation::silu;
    throw ConfigError(fmt::format("unknown activation \"{}\"; there are relu2, silu", text));
  });
  object.finish();
  if (c.kv_heads == 0) c.kv_heads = c.heads;
  if (c.head_size == 0 && c.heads > 0) c.head_size = c.hidden / c.heads;
  c.architecture = c.activation == model::Activation::relu2 ? "bitnet-b1.58" : "bitnet";
  return c;
}

Json write_model(const model::Config& c) {
  return {{"hidden", c.hidden},         {"feed_forward", c.feed_forward},
          {"layers", c.layers},         {"heads", c.heads},
          {"kv_heads", c.kv_heads},     {"head_size", c.head_size},
          {"context", c.context},       {"norm_epsilon", static_cast<double>(c.norm_epsilon)},
          {"rope_theta", c.rope_theta}, {"activation", c.activation == model::Activation::relu2 ? "relu2" : "silu"}};
}

Source read_source(Object object) {
  Source s;
  object.require("text");
  object.read("text", s.text);
  object.read("repeat", s.repeat);
  object.read("first_character", s.first_character);
  if (object.find("end_character") != nullptr) {
    s.end_character.emplace();
    object.read("end_character", *s.end_character);
  }
  if (object.find("documents") != nullptr) {
    s.rule.emplace();
    object.read_name("documents", *s.rule, text::parse_document_rule);
  }
  object.finish();
  return s;
}

Json write_source(const Source& s) {
  Json j = {{"text", s.text}, {"repeat", s.repeat}, {"first_character", s.first_character}};
  if (s.end_character) j["end_character"] = *s.end_character;
  if (s.rule) j["documents"] = text::name(*s.rule);
  return j;
}

void read_optimiser(Object object, AdamwOptions& o) {
  object.read("lr", o.lr);
  object.read("beta1", o.beta1);
  object.read("beta2", o.beta2);
  object.read("eps", o.eps);
  object.read("weight_decay", o.weight_decay);
  object.read("clip", o.clip);
  object.read_name("clipping", o.clipping, parse_clipping);
  object.read("relative", o.relative);
  object.read_name("state", o.state, parse_state);
  if (const Json* groups = object.find("groups")) {
    for (const Json& g : *groups) {
      Object group(g, "optimiser.groups", object.file());
      ParameterGroup made;
      group.require("pattern");
      group.read("pattern", made.pattern);
      group.read("lr_factor", made.lr_factor);
      group.read("decay_factor", made.decay_factor);
      group.finish();
      o.groups.push_back(made);
    }
  }
  object.finish();
}

Json write_optimiser(const AdamwOptions& o) {
  Json groups = Json::array();
  for (const ParameterGroup& g : o.groups) {
    groups.push_back({{"pattern", g.pattern}, {"lr_factor", g.lr_factor}, {"decay_factor", g.decay_factor}});
  }
  Json j = {{"lr", o.lr},
            {"beta1", o.beta1},
            {"beta2", o.beta2},
            {"eps", o.eps},
            {"weight_decay", o.weight_decay},
            {"clip", o.clip},
            {"clipping", name_of(o.clipping)},
            {"relative", o.relative},
            {"groups", groups}};
  if (o.state != StateType::f32) j["state"] = name(o.state);
  return j;
}

bool parse_qat(std::string_view text) {
  if (text == "ste") return true;
  if (text == "none") return false;
  throw ConfigError(fmt::format("unknown quantisation in training \"{}\"; there are ste, none", text));
}

void write_quantisation(const QuantisationSchedule& q, Json& j) {
  if (!q.trains_quantised) j["qat"] = "none";
  if (q.warmup == 0) return;
  j["quantisation_warmup"] = q.warmup;
  j["quantisation_warmup_shape"] = name(q.shape);
}

ReviveOptions read_revive(Object object) {
  ReviveOptions o;
  object.read_name("scope", o.scope, parse_revive_scope);
  object.read("keep", o.keep);
  object.read("of", o.of);
  object.read("sparsity", o.sparsity);
  object.read("every", o.every);
  object.finish();
  return o;
}

Json write_revive(const ReviveOptions& o) {
  return {{"scope", name(o.scope)}, {"keep", o.keep}, {"of", o.of}, {"sparsity", o.sparsity}, {"every", o.every}};
}

}  // namespace

TrainConfig parse_train_config(std::string_view json, const std::string& file) {
  Json parsed;
  try {
    parsed = Json::parse(json);
  } catch (const Json::parse_error& e) {
    throw FormatError(file, e.byte > 0 ? e.byte - 1 : 0, "JSON", "a training configuration", e.what());
  } catch (const Json::exception& e) {
    throw FormatError(file, 0, "JSON", "a training configuration", e.what());
  }
  Object top(parsed, "the configuration", file);
  TrainConfig c;
  if (const Json* m = top.find("model")) c.model = read_model(Object(*m, "model", file));
  top.read("tokenizer", c.tokenizer);
  top.read("initial_deviation", c.initial_deviation);
  top.read_name("masters", c.masters, parse_masters);
  if (const Json* data = top.find("data")) {
    if (!data->is_array()) throw ConfigError(fmt::format("{}: data is no array", file));
    for (const Json& source : *data) c.data.push_back(read_source(Object(source, "data", file)));
  }
  top.read("hold_out", c.hold_out);
  top.read("chat_template", c.chat_template);
  top.read("also_evaluate", c.also_evaluate);
  top.read("steps", c.steps);
  top.read("batch", c.batch);
  top.read("accumulation", c.accumulation);
  top.read("context", c.context);
  top.read_name("sampling", c.sampling, parse_sampling);
  top.read("seed", c.seed);
  top.read_name("schedule", c.schedule.kind, parse_schedule);
  top.read("warmup", c.schedule.warmup);
  top.read("floor", c.schedule.floor);
  top.read("second_peak", c.schedule.second_peak);
  top.read_name("qat", c.quantisation.trains_quantised, parse_qat);
  top.read("quantisation_warmup", c.quantisation.warmup);
  top.read_name("quantisation_warmup_shape", c.quantisation.shape, parse_warm_up_shape);
  if (const Json* r = top.find("revive")) c.revive = read_revive(Object(*r, "revive", file));
  if (const Json* o = top.find("optimiser")) read_optimiser(Object(*o, "optimiser", file), c.optimiser);
  top.read_name("backward", c.step.backward, model::parse_backward_type);
  top.read_name("train_head", c.step.head, model::parse_backward_type);
  top.read("checkpoint_activations", c.step.checkpoint_activations);
  top.read("evaluate_every", c.evaluate_every);
  top.read("evaluate_tokens", c.evaluate_tokens);
  top.read("stop_on_overfitting", c.stop_on_overfitting);
  top.read("patience", c.overfit.patience);
  top.read("tolerance", c.overfit.tolerance);
  top.read("checkpoint_every", c.checkpoint_every);
  top.read("keep_checkpoints", c.keep_checkpoints);
  top.finish();
  validate(c, file);
  return c;
}

std::string to_json(const TrainConfig& c) {
  Json j;
  if (c.model) j["model"] = write_model(*c.model);
  if (!c.tokenizer.empty()) j["tokenizer"] = c.tokenizer;
  j["initial_deviation"] = c.initial_deviation;
  if (c.masters != MasterType::f32) j["masters"] = name(c.masters);
  j["data"] = Json::array();
  for (const Source& s : c.data) j["data"].push_back(write_source(s));
  j["hold_out"] = c.hold_out;
  if (!c.chat_template.empty()) j["chat_template"] = c.chat_template;
  j["also_evaluate"] = c.also_evaluate;
  j["steps"] = c.steps;
  j["batch"] = c.batch;
  j["accumulation"] = c.accumulation;
  j["context"] = c.context;
  j["sampling"] = name(c.sampling);
  j["seed"] = c.seed;
  j["schedule"] = name(c.schedule.kind);
  j["warmup"] = c.schedule.warmup;
  j["floor"] = c.schedule.floor;
  j["second_peak"] = c.schedule.second_peak;
  write_quantisation(c.quantisation, j);
  if (c.revive) j["revive"] = write_revive(*c.revive);
  j["optimiser"] = write_optimiser(c.optimiser);
  j["backward"] = model::name(c.step.backward);
  j["train_head"] = model::name(c.step.head);
  j["checkpoint_activations"] = c.step.checkpoint_activations;
  j["evaluate_every"] = c.evaluate_every;
  j["evaluate_tokens"] = c.evaluate_tokens;
  j["stop_on_overfitting"] = c.stop_on_overfitting;
  j["patience"] = c.overfit.patience;
  j["tolerance"] = c.overfit.tolerance;
  j["checkpoint_every"] = c.checkpoint_every;
  j["keep_checkpoints"] = c.keep_checkpoints;
  return j.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";  // names of files may be no UTF-8
}

void validate(const TrainConfig& c, const std::string& file) {
  const auto need = [&](bool holds, const char* member, const std::string& expected) {
    if (!holds) throw ConfigError(fmt::format("{}: {}: expected {}", file, member, expected));
  };
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  need(!c.data.empty(), "data", "at least one text");
  need(c.steps >= 1 && c.steps < kMost, "steps", "1 or more");
  need(c.batch >= 1 && c.batch <= 65536, "batch", "1 to 65536");
  need(c.accumulation >= 1 && c.accumulation <= 65536, "accumulation", "1 to 65536");
  need(c.context >= 1 && c.context <= 1 << 20, "context", "1 to 1048576");
  need(c.hold_out >= 0 && c.hold_out <= 0.5, "hold_out", "0 to 0.5");
  need(c.initial_deviation > 0 && c.initial_deviation < 100, "initial_deviation", "above 0, below 100");
  need(c.schedule.warmup >= 0 && c.schedule.warmup <= c.steps, "warmup", "0 to steps");
  need(c.schedule.floor >= 0 && c.schedule.floor <= 1, "floor", "0 to 1");
  need(c.schedule.second_peak >= 0 && c.schedule.second_peak <= 1, "second_peak", "0 to 1");
  need(c.quantisation.warmup >= 0 && c.quantisation.warmup <= c.steps, "quantisation_warmup", "0 to steps");
  need(c.quantisation.trains_quantised || c.quantisation.warmup == 0, "quantisation_warmup", "0 where qat is none");
  need(!c.revive || c.masters == MasterType::f32, "masters", "f32 where there is revive");
  need(c.step.head != model::BackwardType::int8 || c.step.backward == model::BackwardType::int8, "train_head",
       "int8 only where backward is");
  need(!c.stop_on_overfitting || c.hold_out > 0, "stop_on_overfitting", "false where hold_out is 0");
  need(c.evaluate_every >= 0, "evaluate_every", "0 or more");
  need(c.evaluate_tokens >= 2 && c.evaluate_tokens < kMost, "evaluate_tokens", "2 to 2^40 - 1");
  need(c.checkpoint_every >= 1, "checkpoint_every", "1 or more");
  need(c.keep_checkpoints >= 1 && c.keep_checkpoints <= 1 << 20, "keep_checkpoints", "1 to 1048576");
}

}  // namespace rpt::train
