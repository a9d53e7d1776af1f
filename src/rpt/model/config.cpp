// SPDX-License-Identifier: MIT
#include "rpt/model/config.h"

#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "rpt/core/error.h"

namespace rpt::model {
namespace {

using Json = nlohmann::ordered_json;

/// float(dot) is exact up to this many inputs: 127 · K < 2^24.
constexpr std::int64_t kMaxInputs = 132104;
constexpr std::int64_t kMaxVocabulary = 1 << 24;
constexpr std::int64_t kMaxLayers = 4096;
constexpr std::int64_t kMaxContext = 1 << 24;
constexpr double kMaxNumber = 1e30;  // every number of a configuration fits a float

/// One config.json: typed access with errors that name file and property.
class Reader {
 public:
  Reader(const Json& json, const std::string& file) : json_(json), file_(file) {}

  [[noreturn]] void wrong(std::string_view key, std::string_view expected, const Json& found) const {
    // Containers are named by their kind: dumping one recurses as deep as a hostile file nests.
    std::string text =
        found.is_structured() ? found.type_name() : found.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 57) + "...";
    throw FormatError(file_, 0, fmt::format("property {}", key), std::string(expected), text);
  }

  const Json* find(std::string_view key) const {
    const auto it = json_.find(key);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }

  std::int64_t integer(std::string_view key, std::optional<std::int64_t> fallback = {}) const {
    const Json* v = find(key);
    if (v == nullptr) {
      if (fallback) return *fallback;
      wrong(key, "an integer", Json("nothing"));
    }
    if (!v->is_number_integer()) wrong(key, "an integer", *v);
    if (v->is_number_unsigned() && v->get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      wrong(key, "an integer below 2^63", *v);
    }
    return v->get<std::int64_t>();
  }

  double number(std::string_view key, double fallback) const {
    const Json* v = find(key);
    if (v == nullptr) return fallback;
    if (!v->is_number() || std::abs(v->get<double>()) > kMaxNumber) wrong(key, "a number", *v);
    return v->get<double>();
  }

  std::string text(std::string_view key, std::string_view fallback) const {
    const Json* v = find(key);
    if (v == nullptr) return std::string(fallback);
    if (!v->is_string()) wrong(key, "a string", *v);
    return v->get<std::string>();
  }

  bool boolean(std::string_view key, bool fallback) const {
    const Json* v = find(key);
    if (v == nullptr) return fallback;
    if (!v->is_boolean()) wrong(key, "true or false", *v);
    return v->get<bool>();
  }

  Reader object(std::string_view key) const {
    static const Json empty = Json::object();
    const Json* v = find(key);
    if (v == nullptr) return {empty, file_};
    if (!v->is_object()) wrong(key, "an object", *v);
    return {*v, file_};
  }

  /// A token id or a list of them.
  std::vector<std::int32_t> ids(std::string_view key) const {
    const Json* v = find(key);
    std::vector<std::int32_t> out;
    if (v == nullptr) return out;
    const auto one = [&](const Json& id) {
      if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > kMaxVocabulary) {
        wrong(key, "a token id", id);
      }
      out.push_back(id.get<std::int32_t>());
    };
    if (v->is_array()) {
      for (const Json& id : *v) one(id);
    } else {
      one(*v);
    }
    return out;
  }

 private:
  const Json& json_;
  const std::string& file_;
};

void require(bool fits, const std::string& source, std::string_view property, std::int64_t value,
             std::string_view expected) {
  if (!fits) throw ConfigError(fmt::format("{}: {} is {}, expected {}", source, property, value, expected));
}

HfFamily read_family(const Reader& reader, const std::string& file) {
  const std::string type = reader.text("model_type", "");
  if (type == "llama") return HfFamily::llama;
  if (type != "bitnet") {
    throw ConfigError(fmt::format("{}: model_type is \"{}\", expected \"bitnet\" or \"llama\"", file, type));
  }
  return reader.find("weight_bits") != nullptr ? HfFamily::one_bit : HfFamily::bitnet;
}

/// A list of modules that stay dense may name the head alone.
void refuse_dense_modules(const Reader& q, const std::string& file) {
  const Json* modules = q.find("modules_to_not_convert");
  if (modules == nullptr) return;
  if (!modules->is_array()) q.wrong("modules_to_not_convert", "a list", *modules);
  for (const Json& module : *modules) {
    if (module != "lm_head") {
      throw ConfigError(file + ": modules_to_not_convert holds more than lm_head, which is not supported");
    }
  }
}

void read_quantization(const Reader& reader, const std::string& file, HfConfig& out) {
  if (out.family == HfFamily::one_bit) {
    for (const auto& [key, bits] : {std::pair("weight_bits", 1), std::pair("input_bits", 8)}) {
      const std::int64_t found = reader.integer(key, bits);
      require(found == bits, file, key, found, std::to_string(bits));
    }
  }
  if (reader.find("quantization_config") == nullptr) {
    if (out.family == HfFamily::bitnet) {
      throw ConfigError(file + ": no quantization_config: dense linear layers in BitNet blocks are not supported");
    }
    out.linear_class = out.family == HfFamily::llama ? LinearClass::dense : LinearClass::autobitlinear;
    return;
  }
  const Reader q = reader.object("quantization_config");
  const std::string method = q.text("quant_method", "");
  if (method != "bitnet")
    throw ConfigError(fmt::format("{}: quant_method is \"{}\", expected \"bitnet\"", file, method));
  const std::string linear = q.text("linear_class", "bitlinear");
  if (linear != "autobitlinear" && linear != "bitlinear") {
    throw ConfigError(
        fmt::format("{}: linear_class is \"{}\", expected \"autobitlinear\" or \"bitlinear\"", file, linear));
  }
  if (q.boolean("use_rms_norm", false))
    throw ConfigError(file + ": use_rms_norm inside linear layers is not supported");
  refuse_dense_modules(q, file);
  out.linear_class = linear == "bitlinear" ? LinearClass::bitlinear : LinearClass::autobitlinear;
  const std::string mode = q.text("quantization_mode", "offline");
  if (mode != "online" && mode != "offline") {
    throw ConfigError(fmt::format("{}: quantization_mode is \"{}\", expected \"online\" or \"offline\"", file, mode));
  }
  out.mode = mode == "online" ? QuantizationMode::online : QuantizationMode::offline;
}

Activation read_activation(const Reader& reader, HfFamily family, const std::string& file) {
  const std::string name = reader.text("hidden_act", family == HfFamily::bitnet ? "relu2" : "silu");
  if (name == "silu") return Activation::silu;
  if (name == "relu2" && family != HfFamily::llama) return Activation::relu2;
  throw ConfigError(fmt::format("{}: hidden_act is \"{}\", expected {}\"silu\"", file, name,
                                family == HfFamily::llama ? "" : "\"relu2\" or "));
}

double read_theta(const Reader& reader, double fallback, const std::string& file) {
  const Reader rope = reader.object("rope_parameters");  // transformers 5; it wins over rope_theta
  const std::string type = rope.text("rope_type", "default");
  if (type != "default") throw ConfigError(fmt::format("{}: rope_type is \"{}\", expected \"default\"", file, type));
  if (reader.find("rope_scaling") != nullptr) throw ConfigError(file + ": rope_scaling is not supported");
  return rope.number("rope_theta", reader.number("rope_theta", fallback));
}

}  // namespace

void validate(const Config& c, const std::string& source) {
  const auto within = [&](std::string_view property, std::int64_t value, std::int64_t most) {
    require(value >= 1 && value <= most, source, property, value, fmt::format("1 to {}", most));
  };
  within("hidden size", c.hidden, kMaxInputs);
  within("feed-forward size", c.feed_forward, kMaxInputs);
  within("number of layers", c.layers, kMaxLayers);
  within("number of heads", c.heads, kMaxInputs);
  within("number of key/value heads", c.kv_heads, c.heads);
  within("head size", c.head_size, 1024);
  within("vocabulary size", c.vocabulary, kMaxVocabulary);
  within("context length", c.context, kMaxContext);
  require(c.heads % c.kv_heads == 0, source, "number of heads", c.heads,
          fmt::format("a multiple of the {} key/value heads", c.kv_heads));
  require(c.head_size % 2 == 0, source, "head size", c.head_size, "an even number");
  within("width of all heads", c.query_size(), kMaxInputs);
  if (!std::isfinite(c.norm_epsilon) || c.norm_epsilon < 0) {
    throw ConfigError(fmt::format("{}: norm epsilon is {}, expected a number of at least 0", source, c.norm_epsilon));
  }
  if (!std::isfinite(c.rope_theta) || c.rope_theta < 1) {
    throw ConfigError(fmt::format("{}: rope theta is {}, expected at least 1", source, c.rope_theta));
  }
  const auto id_fits = [&](std::string_view what, std::int32_t id) {
    require(id >= 0 && id < c.vocabulary, source, what, id, fmt::format("0 to {}", c.vocabulary - 1));
  };
  if (c.bos_id) id_fits("BOS id", *c.bos_id);
  if (c.pad_id && *c.pad_id >= 0) id_fits("padding id", *c.pad_id);
  for (const std::int32_t id : c.eos_ids) id_fits("end-of-text id", id);
}

HfConfig parse_hf_config(std::string_view json, const std::string& file) {
  Json root;
  try {
    root = Json::parse(json);
  } catch (const Json::parse_error& e) {
    throw FormatError(file, e.byte, "JSON", "a JSON object", "a syntax error there");
  } catch (const Json::exception&) {  // a number beyond double
    throw FormatError(file, 0, "JSON", "numbers that a double can hold", "a larger one");
  }
  if (!root.is_object()) throw FormatError(file, 0, "JSON", "a JSON object", root.type_name());
  const Reader reader(root, file);

  HfConfig out;
  out.family = read_family(reader, file);
  read_quantization(reader, file, out);
  Config& c = out.config;
  const bool llama = out.family == HfFamily::llama;
  c.sub_norms = !llama;
  c.activation = read_activation(reader, out.family, file);
  c.architecture = llama ? "llama" : c.activation == Activation::relu2 ? "bitnet-b1.58" : "bitnet";
  c.hidden = reader.integer("hidden_size");
  c.feed_forward = reader.integer("intermediate_size");
  c.layers = reader.integer("num_hidden_layers");
  c.heads = reader.integer("num_attention_heads");
  c.kv_heads = reader.integer("num_key_value_heads", c.heads);
  if (c.heads < 1) reader.wrong("num_attention_heads", "at least 1", Json(c.heads));
  c.head_size = reader.integer("head_dim", c.hidden / c.heads);
  c.vocabulary = reader.integer("vocab_size");
  c.context = reader.integer("max_position_embeddings", 2048);
  c.norm_epsilon = static_cast<float>(reader.number("rms_norm_eps", llama ? 1e-6 : 1e-5));
  c.rope_theta = read_theta(reader, out.family == HfFamily::bitnet ? 500000.0 : 10000.0, file);
  c.tied_head = reader.boolean("tie_word_embeddings", false);
  for (const char* bias : {"attention_bias", "mlp_bias"}) {
    if (reader.boolean(bias, false)) throw ConfigError(fmt::format("{}: {} is not supported", file, bias));
  }
  const auto bos = reader.ids("bos_token_id");
  if (!bos.empty()) c.bos_id = bos.front();
  c.eos_ids = reader.ids("eos_token_id");
  if (const auto pad = reader.find("pad_token_id"); pad != nullptr && pad->is_number_unsigned()) {
    const auto ids = reader.ids("pad_token_id");
    c.pad_id = ids.front();
  }
  out.dtype = reader.text("dtype", reader.text("torch_dtype", "bfloat16"));
  validate(c, file);
  return out;
}

std::string to_hf_config_json(const HfConfig& hf) {
  const Config& c = hf.config;
  Json j;
  j["architectures"] = {c.sub_norms ? "BitNetForCausalLM" : "LlamaForCausalLM"};
  j["model_type"] = c.sub_norms ? "bitnet" : "llama";
  j["hidden_act"] = c.activation == Activation::relu2 ? "relu2" : "silu";
  j["hidden_size"] = c.hidden;
  j["intermediate_size"] = c.feed_forward;
  j["num_hidden_layers"] = c.layers;
  j["num_attention_heads"] = c.heads;
  j["num_key_value_heads"] = c.kv_heads;
  j["head_dim"] = c.head_size;
  j["max_position_embeddings"] = c.context;
  j["vocab_size"] = c.vocabulary;
  // The shortest decimal that gives the same float, so that 1e-5 stays 1e-5.
  j["rms_norm_eps"] = Json::parse(fmt::format("{}", c.norm_epsilon));
  j["rope_theta"] = c.rope_theta;  // transformers 4
  j["rope_parameters"] = {{"rope_theta", c.rope_theta}, {"rope_type", "default"}};
  j["tie_word_embeddings"] = c.tied_head;
  if (c.bos_id) j["bos_token_id"] = *c.bos_id;
  if (c.eos_ids.size() == 1) j["eos_token_id"] = c.eos_ids.front();
  if (c.eos_ids.size() > 1) j["eos_token_id"] = c.eos_ids;
  if (c.pad_id) j["pad_token_id"] = *c.pad_id;
  j["use_cache"] = true;
  j["torch_dtype"] = hf.dtype;
  j["dtype"] = hf.dtype;
  if (hf.linear_class != LinearClass::dense) {
    j["quantization_config"] = {
        {"quant_method", "bitnet"},
        {"linear_class", hf.linear_class == LinearClass::bitlinear ? "bitlinear" : "autobitlinear"},
        {"quantization_mode", hf.mode == QuantizationMode::online ? "online" : "offline"}};
  }
  return j.dump(2) + "\n";
}

}  // namespace rpt::model
