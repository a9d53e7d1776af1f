// SPDX-License-Identifier: MIT
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "rpt/core/atomic_file.h"
#include "rpt/core/checked.h"
#include "rpt/io/byte_reader.h"
#include "rpt/io/mapped_file.h"
#include "rpt/io/safetensors.h"
#include "rpt/io/safetensors_header.h"
#include "rpt/model/doctor_parts.h"

namespace rpt::model {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kJsonLimit = 64 << 20;
constexpr std::int64_t kMostLayers = 4096;
constexpr int kMostDepth = 64;

/// The headers of a directory's safetensors files and its config.json.
class HuggingFaceExamination {
 public:
  explicit HuggingFaceExamination(const fs::path& folder) : folder_(folder) {}

  Findings run() {
    read_config();
    read_headers();
    sub_norms_ = any_name([](std::string_view n) { return n.ends_with("_sub_norm.weight"); });
    one_bit_ = any_name([](std::string_view n) { return n.ends_with(".inner_attn_ln.weight"); });
    packed_ = std::any_of(records_.begin(), records_.end(), [](const io::SafetensorsRecord& r) {
      return r.dtype == "U8" && r.name.ends_with("_proj.weight");
    });
    look_at_model_type();
    look_for_missing_tensors();
    look_at_quantization();
    look_at_head();
    return std::move(findings_);
  }

 private:
  void read_config() {
    const fs::path path = folder_ / "config.json";
    if (!fs::exists(path)) throw IoError(fmt::format("{}: no config.json in this directory", folder_.string()));
    // Writing it again recurses as deep as it nests.
    const auto not_too_deep = [&](int depth, Json::parse_event_t, Json&) {
      if (depth > kMostDepth) {
        throw FormatError(path.string(), 0, "JSON", fmt::format("at most {} levels", kMostDepth), "more");
      }
      return true;
    };
    try {
      config_ = Json::parse(core::read_file(path, kJsonLimit), not_too_deep);
    } catch (const Json::exception&) {
      throw FormatError(path.string(), 0, "JSON", "a JSON object", "a syntax error or a number beyond double");
    }
    if (!config_.is_object()) throw FormatError(path.string(), 0, "JSON", "a JSON object", config_.type_name());
  }

  void read_headers() {
    std::set<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (entry.path().extension() == ".safetensors" && entry.is_regular_file()) paths.insert(entry.path());
    }
    for (const fs::path& path : paths) {
      const io::MappedFile file(path);
      io::ByteReader reader(file.bytes(), path.string());
      const std::string_view text = reader.string("header", io::SafetensorsFile::kHeaderLimit);
      io::SafetensorsHeader header = io::parse_safetensors_header(text, path.string());
      std::uint64_t end = 0;
      for (const io::SafetensorsRecord& r : header.records) end = std::max(end, r.end);
      if (end > reader.remaining()) report_cut(path.string(), end - reader.remaining(), findings_);
      records_.insert(records_.end(), header.records.begin(), header.records.end());
    }
    if (records_.empty()) (void)io::SafetensorsDirectory::open(folder_);  // says what is missing
    for (const io::SafetensorsRecord& r : records_) names_.insert(r.name);
  }

  template <typename Predicate>
  bool any_name(Predicate&& is) const {
    return std::any_of(names_.begin(), names_.end(), is);
  }
  std::string text_of(const char* key) const {
    const auto it = config_.find(key);
    return it != config_.end() && it->is_string() ? it->get<std::string>() : std::string();
  }
  bool flag(const char* key) const {
    const auto it = config_.find(key);
    return it != config_.end() && it->is_boolean() && it->get<bool>();
  }
  /// What every mend of config.json ends with.
  void use_config() { findings_.treatment.reading.config_json = config_.dump(2) + "\n"; }

  void look_at_model_type() {
    const std::string type = text_of("model_type");
    if (type == "bitnet" || !(sub_norms_ || one_bit_)) return;
    findings_.faults.push_back(
        {.fault = "wrong_architecture",
         .place = "config.json: model_type",
         .cause = fmt::format("it says \"{}\", but the tensors have sub-norms, which that network does not read", type),
         .mend = "model_type = \"bitnet\", architectures = [\"BitNetForCausalLM\"], hidden_act = \"relu2\"",
         .mechanical = true});
    config_["model_type"] = "bitnet";
    config_["architectures"] = {"BitNetForCausalLM"};
    config_["hidden_act"] = "relu2";
    use_config();
  }

  void look_for_missing_tensors() {
    const auto it = config_.find("num_hidden_layers");
    const std::int64_t layers =
        it != config_.end() && it->is_number_unsigned() ? std::min(it->get<std::int64_t>(), kMostLayers) : 0;
    const bool bitnet = text_of("model_type") == "bitnet";
    const HfFamily family = !bitnet                                       ? HfFamily::llama
                            : one_bit_ || config_.contains("weight_bits") ? HfFamily::one_bit
                                                                          : HfFamily::bitnet;
    std::vector<std::string> missing;
    const auto want = [&](const std::string& name) {
      const std::string hf = hf_tensor_name(name, family);
      if (!names_.contains(hf)) missing.push_back(hf);
    };
    want("token_embd");
    for (std::int64_t i = 0; i < layers; ++i) {
      for (const std::string& part : block_tensor_names(bitnet)) want(fmt::format("blk.{}.{}", i, part));
    }
    want("output_norm");
    report_missing(missing, findings_);
  }

  void look_at_quantization() {
    const auto it = config_.find("quantization_config");
    const bool none = it == config_.end() || it->is_null();
    if (!none || config_.contains("weight_bits") || !(packed_ || sub_norms_)) return;
    findings_.faults.push_back(
        {.fault = "missing_quantization_config",
         .place = "config.json: quantization_config",
         .cause = packed_ ? "the member is missing although linear layers are packed u8: readers cannot unpack them"
                          : "the member is missing although the tensors are BitNet's: readers take the latents for a "
                            "dense model, which babbles",
         .mend = "quantization_config = {}",
         .mechanical = true});
    const auto choice = [&](const char* linear_class) {
      Json config = config_;
      config["quantization_config"] = {{"quant_method", "bitnet"},
                                       {"linear_class", linear_class},
                                       {"quantization_mode", packed_ ? "offline" : "online"}};
      std::string text = config.dump(2) + "\n";
      return Choice{config["quantization_config"].dump(), [text](Treatment& t) { t.reading.config_json = text; }};
    };
    Findings::Open open{findings_.faults.size() - 1, {choice("autobitlinear")}};
    if (packed_) open.choices.push_back(choice("bitlinear"));
    findings_.open.push_back(std::move(open));
  }

  /// lm_head.weight beside tie_word_embeddings: readers tie, and nobody reads it.
  void look_at_head() {
    if (!findings_.loadable || !flag("tie_word_embeddings") || !names_.contains("lm_head.weight")) return;
    const auto files = io::SafetensorsDirectory::open(folder_);
    const io::SafetensorsTensor* head = files.find("lm_head.weight");
    const io::SafetensorsTensor* embedding = files.find("model.embed_tokens.weight");
    const bool same = embedding != nullptr && head->type == embedding->type && head->shape == embedding->shape &&
                      std::equal(head->data.begin(), head->data.end(), embedding->data.begin());
    findings_.faults.push_back(
        {.fault = "second_head",
         .place = "lm_head.weight",
         .cause =
             fmt::format("tie_word_embeddings is true, so that nobody reads this tensor ({} bytes), {} the embedding",
                         head->data.size(), same ? "which repeats" : "and it differs from"),
         .mend = same ? "leave lm_head.weight out"
                      : "not mechanical: whether the model was trained tied is not in the file; set "
                        "tie_word_embeddings to false, or leave lm_head.weight out",
         .mechanical = same});
  }

  fs::path folder_;
  Json config_;
  std::vector<io::SafetensorsRecord> records_;
  std::set<std::string> names_;
  bool sub_norms_ = false, one_bit_ = false, packed_ = false;
  Findings findings_;
};

}  // namespace

Findings examine_huggingface(const fs::path& folder) {
  return HuggingFaceExamination(folder).run();
}

}  // namespace rpt::model
