// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "rpt/core/atomic_file.h"
#include "rpt/core/float16.h"
#include "rpt/io/safetensors.h"
#include "rpt/model/assemble.h"
#include "rpt/model/model.h"
#include "rpt/tensor/ops.h"
#include "rpt/ternary/detect.h"

namespace rpt::model {
namespace {

using tensor::DType;
namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kJsonLimit = 64 << 20;

/// Loads tensors in place from the safetensors files of a folder.
class HfLoader final : public TensorLoader {
 public:
  HfLoader(const io::SafetensorsDirectory& folder, const HfConfig& declared, ScaleReading scale, Model& model)
      : folder_(folder), declared_(declared), scale_(scale), model_(model) {}

  void load(const std::string& name, std::int64_t rows, std::int64_t columns, EmbeddingWeight& weight) override {
    const io::SafetensorsTensor& t = take(hf_tensor_name(name, declared_.family), {rows, columns});
    if (!tensor::is_float(t.type)) fail(t, "type f32, f16 or bf16", std::string(tensor::name(t.type)));
    weight = EmbeddingWeight(origin(t), view(t, rows, columns));
  }

  void load(const std::string& name, std::int64_t rows, std::int64_t columns, NormWeight& weight) override {
    const io::SafetensorsTensor& t = take(hf_tensor_name(name, declared_.family), {columns});
    weight = make_norm(origin(t), view(t, rows, columns));
  }

  void load(const std::string& name, std::int64_t rows, std::int64_t columns, LinearWeight& weight) override {
    const std::string hf_name = hf_tensor_name(name, declared_.family);
    if (declared_.linear_class == LinearClass::dense) {
      const io::SafetensorsTensor& t = take(hf_name, {rows, columns});
      if (!tensor::is_float(t.type)) {
        fail(t, "type f32, f16 or bf16 (there is no quantization_config)", std::string(tensor::name(t.type)));
      }
      weight.dense.emplace(origin(t), view(t, rows, columns));
      return;
    }
    if (declared_.mode == QuantizationMode::online) {
      const io::SafetensorsTensor& t = take(hf_name, {rows, columns});
      if (!tensor::is_float(t.type)) {
        fail(t, "latents in f32, f16 or bf16 (quantization_mode is online)", std::string(tensor::name(t.type)));
      }
      weight.weight = TernaryWeight::latent(origin(t), view(t, rows, columns), scale_ == ScaleReading::stored);
      return;
    }
    if (rows % 4 != 0) {
      throw ConfigError(fmt::format("{}: packed weights of {} rows, expected a multiple of 4", hf_name, rows));
    }
    const io::SafetensorsTensor& t = take(hf_name, {rows / 4, columns});
    if (t.type != DType::u8) fail(t, "packed u8 (quantization_mode is offline)", std::string(tensor::name(t.type)));
    const auto* data = reinterpret_cast<const std::uint8_t*>(t.data.data());
    weight.weight =
        TernaryWeight::stored(origin(t), {data, t.data.size(), DType::hf_packed, rows, columns, scale(hf_name)});
  }

  /// Refuses tensors that no part of the network reads, but for those that are known to carry nothing.
  void finish() {
    for (const io::SafetensorsTensor* t : folder_.tensors()) {
      if (used_.contains(t->name) || t->name.ends_with("rotary_emb.inv_freq")) continue;
      if (t->name == "lm_head.weight" && model_.config.tied_head) {
        model_.warnings.push_back(file(*t) + ": lm_head.weight is not read, since tie_word_embeddings is true");
        continue;
      }
      fail(*t, fmt::format("only tensors of a {} decoder", model_.config.architecture),
           "one that the forward does not read");
    }
  }

 private:
  std::string file(const io::SafetensorsTensor& t) const { return folder_.file_of(t.name)->name(); }
  Origin origin(const io::SafetensorsTensor& t) const { return {file(t), t.name, t.offset}; }
  [[noreturn]] void fail(const io::SafetensorsTensor& t, const std::string& expected, const std::string& found) const {
    throw FormatError(file(t), t.offset, "tensor " + t.name, expected, found);
  }
  static std::string shape_text(const std::vector<std::int64_t>& shape) {
    return fmt::format("[{}]", fmt::join(shape, ", "));
  }

  const io::SafetensorsTensor& take(const std::string& name, const std::vector<std::int64_t>& shape) {
    const io::SafetensorsTensor* t = folder_.find(name);
    if (t == nullptr) {
      throw FormatError(folder_.folder().string(), 0, "tensor " + name, "a tensor " + shape_text(shape),
                        "no such tensor");
    }
    if (t->shape != shape) fail(*t, "shape " + shape_text(shape), shape_text(t->shape));
    used_.insert(name);
    return *t;
  }

  tensor::StoredView view(const io::SafetensorsTensor& t, std::int64_t rows, std::int64_t columns) {
    const std::byte* data = t.data.data();
    if (!t.aligned()) {  // other writers may place a tensor anywhere
      auto copy = std::make_shared<core::AlignedBuffer<std::byte>>(t.data.size());
      std::memcpy(copy->data(), t.data.data(), t.data.size());
      data = copy->data();
      model_.storage.push_back(std::move(copy));
    }
    return {data, t.data.size(), t.type, rows, columns};
  }

  /// The scale {1} beside packed weights, by which an `autobitlinear` multiplies and a `bitlinear` divides.
  float scale(const std::string& weight_name) {
    const std::string name = weight_name + "_scale";
    const io::SafetensorsTensor* t = folder_.find(name);
    if (t != nullptr && t->shape.empty()) used_.insert(name);  // a scalar will do as well
    const io::SafetensorsTensor& s = t != nullptr && t->shape.empty() ? *t : take(name, {1});
    if (!tensor::is_float(s.type)) fail(s, "type f32, f16 or bf16", std::string(tensor::name(s.type)));
    const float value = tensor::widen(view(s, 1, 1)).front();
    const float scale = declared_.linear_class == LinearClass::bitlinear ? 1.0F / value : value;
    if (!std::isfinite(value) || !std::isfinite(scale)) {
      fail(s, declared_.linear_class == LinearClass::bitlinear ? "a finite divisor" : "a finite scale",
           fmt::format("{}", value));
    }
    return scale;
  }

  const io::SafetensorsDirectory& folder_;
  const HfConfig& declared_;
  ScaleReading scale_;
  Model& model_;
  std::set<std::string> used_;
};

/// A directory whose weights are 0 and ±s already but which declares `online` is quantised a second time by every
/// reader, unless the magnitudes were asked for. One tensor tells; a look ends at its first latent.
void look_for_snapped(ScaleReading reading, Model& model) {
  const LinearWeight& first = model.weights.blocks.front().attn_q;
  const auto scale = ternary::find_stored_scale(first.weight.stored_latents());
  if (reading == ScaleReading::stored) {
    if (scale) return;
    throw ConfigError(
        fmt::format("{}: the weights are not 0 and ±s: there is no stored scale to read", model.path.string()));
  }
  if (!scale || *scale == 0) return;
  model.warnings.push_back(
      fmt::format("{}: the weights are 0 and ±{} already, but the directory declares online quantisation: they are "
                  "quantised again, which "
                  "shrinks the scale to {} ({:.1f} %); --scale stored reads {}",
                  model.path.string(), *scale, first.weight.codes().scale,
                  100 * static_cast<double>(first.weight.codes().scale) / static_cast<double>(*scale), *scale));
}

/// Throws FormatError for a text that is no JSON object.
Json parse_object(const std::string& text, const std::string& file) {
  try {
    Json json = Json::parse(text);
    if (json.is_object()) return json;
  } catch (const Json::parse_error& e) {
    throw FormatError(file, e.byte, "JSON", "a JSON object", "a syntax error there");
  } catch (const Json::exception&) {  // a number beyond double
    throw FormatError(file, 0, "JSON", "numbers that a double can hold", "a larger one");
  }
  throw FormatError(file, 0, "JSON", "a JSON object", "another value");
}

/// A JSON object from a file of the folder; null where there is no such file. Throws FormatError.
Json read_json(const fs::path& path, std::string* text_out = nullptr) {
  if (!fs::exists(path)) return nullptr;
  const std::string text = core::read_file(path, kJsonLimit);
  if (text_out != nullptr) *text_out = text;
  return parse_object(text, path.string());
}

/// The text of a special token: a string, or an object with `content`.
std::string token_content(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string())
    return value["content"].get<std::string>();
  return {};
}

void read_vocabulary(const fs::path& folder, Model& model) {
  try {
    model.tokenizer = open_tokenizer_files(folder);
  } catch (const ConfigError& e) {
    model.tokenizer_fault = e.what();
    model.warnings.push_back(model.tokenizer_fault);
  }
}

/// The template among those that a tokenizer_config.json may hold: one text, or a list of which "default" is meant.
std::string chat_template_of(const Json& config) {
  const auto it = config.find("chat_template");
  if (it == config.end()) return {};
  if (it->is_string()) return it->get<std::string>();
  if (!it->is_array()) return {};
  for (const Json& entry : *it) {
    const bool whole = entry.is_object() && entry.contains("name") && entry.contains("template");
    if (whole && entry["name"] == "default" && entry["template"].is_string()) return entry["template"];
  }
  return {};
}

/// The chat template as transformers finds it: a file of its own wins over tokenizer_config.json.
void read_chat_template(const fs::path& folder, const Json& tokenizer, Model& model) {
  if (tokenizer.is_object()) model.chat_template = chat_template_of(tokenizer);
  if (const Json own = read_json(folder / "chat_template.json"); own.is_object()) {
    if (std::string text = chat_template_of(own); !text.empty()) model.chat_template = std::move(text);
  }
  if (const fs::path jinja = folder / "chat_template.jinja"; fs::exists(jinja)) {
    model.chat_template = core::read_file(jinja, kJsonLimit);
  }
  if (!tokenizer.is_object()) return;
  const auto token = [&](const char* name) {
    const std::string text = token_content(tokenizer.value(name, Json()));
    return text.empty() ? std::nullopt : std::optional(text);
  };
  model.chat_bos_token = token("bos_token");
  model.chat_eos_token = token("eos_token");
}

/// tokenizer_config.json and generation_config.json: BOS rule, special ids, chat template.
void read_side_files(const fs::path& folder, Model& model) {
  const Json tokenizer = read_json(folder / "tokenizer_config.json", &model.tokenizer_config_json);
  if (tokenizer.is_object() && model.tokenizer) {
    const std::string bos = token_content(tokenizer.value("bos_token", Json()));
    if (!bos.empty()) {
      if (const auto id = model.tokenizer->find(bos)) model.bos_id = id;
    }
    if (const auto it = tokenizer.find("add_bos_token"); it != tokenizer.end() && it->is_boolean()) {
      model.adds_bos = it->get<bool>() && model.bos_id.has_value();
    }
    const std::string eos = token_content(tokenizer.value("eos_token", Json()));
    const auto id = eos.empty() ? std::nullopt : model.tokenizer->find(eos);
    if (id && std::find(model.end_ids.begin(), model.end_ids.end(), *id) == model.end_ids.end())
      model.end_ids.push_back(*id);
  }
  read_chat_template(folder, tokenizer, model);
  const Json generation = read_json(folder / "generation_config.json");
  if (generation.is_object() && generation.contains("eos_token_id")) {
    const Json& eos = generation["eos_token_id"];
    for (const Json& id : eos.is_array() ? eos : Json::array({eos})) {
      if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= model.config.vocabulary)
        continue;
      const auto value = id.get<std::int32_t>();
      if (std::find(model.end_ids.begin(), model.end_ids.end(), value) == model.end_ids.end())
        model.end_ids.push_back(value);
    }
  }
}

}  // namespace

std::string chat_template_of(const std::string& tokenizer_config_json, const std::string& file) {
  return chat_template_of(parse_object(tokenizer_config_json, file));
}

void load_vocabulary(const fs::path& folder, Model& model) {
  read_vocabulary(folder, model);
  settle_special_ids(model);
  read_side_files(folder, model);
}

std::unique_ptr<Model> open_huggingface(const fs::path& folder, const OpenOptions& options) {
  const fs::path config_path = folder / "config.json";
  if (!fs::exists(config_path)) {
    throw IoError(fmt::format("{}: no config.json in this directory", folder.string()));
  }
  const HfConfig hf =
      parse_hf_config(options.config_json.empty() ? core::read_file(config_path, kJsonLimit) : options.config_json,
                      config_path.string());
  auto files = std::make_shared<const io::SafetensorsDirectory>(io::SafetensorsDirectory::open(folder));
  auto model = std::make_unique<Model>();
  model->path = folder;
  model->format = "huggingface";
  model->storage.push_back(files);
  model->config = hf.config;
  model->config.name = fs::weakly_canonical(folder).filename().string();
  HfLoader loader(*files, hf, options.scale, *model);
  load_weights(loader, model->config, model->weights);
  loader.finish();
  if (hf.linear_class != LinearClass::dense && hf.mode == QuantizationMode::online) {
    look_for_snapped(options.scale, *model);
  }
  load_vocabulary(folder, *model);
  return model;
}

}  // namespace rpt::model
