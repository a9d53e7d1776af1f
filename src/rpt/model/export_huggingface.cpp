// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "rpt/core/atomic_file.h"
#include "rpt/io/safetensors_writer.h"
#include "rpt/model/assemble.h"
#include "rpt/model/export.h"
#include "rpt/model/export_parts.h"
#include "rpt/model/gate.h"
#include "rpt/tensor/ops.h"
#include "rpt/ternary/layouts.h"

namespace rpt::model {
namespace {

using tensor::DType;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// All that a directory may hold, whatever the model.
constexpr std::array<const char*, 7> kFiles{"config.json",        "generation_config.json", "model.safetensors",
                                            "tokenizer.json",     "tokenizer.model",        "tokenizer_config.json",
                                            "chat_template.jinja"};

/// A tensor of the file to be written.
struct Planned {
  std::string name;
  DType type;
  std::vector<std::int64_t> shape;
  std::function<void(const RowSink&)> write;
};

/// The latents of a linear layer, which must still have them.
tensor::StoredView latents_of(const std::string& name, const LinearWeight& weight) {
  const auto latents = weight.weight.latents();
  if (!latents) {
    throw ConfigError(
        fmt::format("{}: holds codes, not latents: every reader of an online directory would quantise them "
                    "again and shrink the scale; write it packed (hf-packed)",
                    name));
  }
  return *latents;
}

/// What the directory declares: autobitlinear, whose scales multiply, unless some scale is not exact in bf16 and every
/// one is the reciprocal of a bf16 number, as those of a bitlinear are.
LinearClass choose_class(const Model& model, HfForm form) {
  if (!model.weights.blocks.front().attn_q.ternary()) return LinearClass::dense;
  if (form == HfForm::latents) return LinearClass::autobitlinear;
  bool exact = true;
  bool reciprocal = true;
  visit_weights(model.weights, [&](const std::string&, const auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, LinearWeight>) {
      if (!weight.ternary()) return;
      const float scale = weight.weight.codes().scale;
      exact = exact && round_to(scale, DType::bf16) == scale;
      reciprocal = reciprocal && scale != 0 && 1.0F / round_to(1.0F / scale, DType::bf16) == scale;
    }
  });
  return !exact && reciprocal ? LinearClass::bitlinear : LinearClass::autobitlinear;
}

/// Collects the tensors of a directory and writes them.
class HfExport {
 public:
  HfExport(const Model& model, HfForm form, const ExportOptions& options)
      : model_(model), form_(form), options_(options), class_(choose_class(model, form)) {}

  void write(const fs::path& folder) {
    visit_weights(model_.weights, [&](const std::string& name, const auto& weight) { plan(name, weight); });
    // Wide types first: then every tensor begins at a multiple of its element.
    std::stable_sort(planned_.begin(), planned_.end(), [](const Planned& a, const Planned& b) {
      return tensor::element_size(a.type) > tensor::element_size(b.type);
    });
    io::SafetensorsWriter writer(folder / "model.safetensors");
    for (const Planned& p : planned_) writer.declare(p.name, p.type, p.shape);
    core::ProgressSink& progress = options_.progress != nullptr ? *options_.progress : core::null_progress();
    progress.begin(planned_.size(), "tensors", "writing");
    for (const Planned& p : planned_) {
      writer.begin_tensor(p.name);
      p.write([&](std::span<const std::byte> bytes) { writer.write(bytes); });
      progress.advance(1);
    }
    progress.finish();
    writer.commit();
    write_side_files(folder);
  }

 private:
  void plan(const std::string& name, const EmbeddingWeight& weight) { plan_dense(name, weight); }

  /// Plain types stay, blocked ones become f16 or f32.
  void plan_dense(const std::string& name, const DenseWeight& weight) {
    const tensor::StoredView& v = weight.values();
    const bool plain = tensor::is_float(v.type);
    const DType type = plain ? v.type : exact_in(weight, DType::f16) ? DType::f16 : DType::f32;
    planned_.push_back({hf_tensor_name(name), type, {v.rows, v.columns}, [&weight, plain, type](const RowSink& sink) {
                          if (plain) {
                            sink({weight.values().data, weight.values().bytes});
                          } else {
                            write_float_rows(weight, type, 0, sink);
                          }
                        }});
    // transformers loads all tensors in one type: of a dense model one that holds them all.
    if (class_ == LinearClass::dense)
      declared_type_ = planned_.size() == 1 || declared_type_ == type ? type : DType::f32;
  }

  void plan(const std::string& name, const NormWeight& weight) {
    const bool narrow =
        std::all_of(weight.gain.begin(), weight.gain.end(), [](float g) { return round_to(g, DType::bf16) == g; });
    const DType type = narrow ? DType::bf16 : DType::f32;
    const auto count = static_cast<std::int64_t>(weight.gain.size());
    planned_.push_back({hf_tensor_name(name), type, {count}, [&weight, type](const RowSink& sink) {
                          std::vector<std::byte> bytes;
                          append_as(weight.gain, type, bytes);
                          sink(bytes);
                        }});
  }

  void plan(const std::string& name, const LinearWeight& weight) {
    if (weight.output_scale) {
      throw ConfigError(fmt::format(
          "{}: multiplies its output by a scale of its own, which a Hugging Face directory cannot say", name));
    }
    const std::string hf_name = hf_tensor_name(name);
    if (weight.ternary() != (class_ != LinearClass::dense)) {
      throw ConfigError(
          fmt::format("{}: a Hugging Face directory cannot say that some linear layers are ternary and "
                      "some dense",
                      name));
    }
    if (!weight.ternary()) {
      if (form_ == HfForm::packed) {
        throw ConfigError(fmt::format("{}: is dense ({}), there are no codes to pack; write it with --to hf", name,
                                      tensor::name(weight.stored_type())));
      }
      plan_dense(name, *weight.dense);
      return;
    }
    if (form_ == HfForm::latents) {
      const tensor::StoredView v = latents_of(name, weight);
      declared_type_ = v.type;
      planned_.push_back({hf_name, v.type, {v.rows, v.columns}, [v](const RowSink& sink) { sink({v.data, v.bytes}); }});
      return;
    }
    const tensor::PackedTernaryView& codes = weight.weight.codes();
    if (codes.rows % 4 != 0) {
      throw ConfigError(fmt::format("{}: {} rows cannot be packed by fours", name, codes.rows));
    }
    const bool divides = class_ == LinearClass::bitlinear;
    if (!divides) require_exact_scale(name, codes.scale, DType::bf16, options_);
    const bool lossy = options_.lossy;
    planned_.push_back({hf_name, DType::u8, {codes.rows / 4, codes.columns}, [&codes, lossy](const RowSink& sink) {
                          const auto packed = ternary::repack(codes, DType::hf_packed, lossy);
                          sink({reinterpret_cast<const std::byte*>(packed.view().data), packed.view().bytes});
                        }});
    planned_.push_back({hf_name + "_scale", DType::bf16, {1}, [&codes, divides](const RowSink& sink) {
                          const float scale = divides ? 1.0F / codes.scale : codes.scale;
                          std::vector<std::byte> bytes;
                          append_as({&scale, 1}, DType::bf16, bytes);
                          sink(bytes);
                        }});
  }

  void write_side_files(const fs::path& folder) {
    HfConfig hf;
    hf.config = model_.config;
    hf.config.bos_id = model_.bos_id;
    hf.config.eos_ids = model_.end_ids;
    hf.linear_class = class_;
    hf.mode = form_ == HfForm::latents ? QuantizationMode::online : QuantizationMode::offline;
    hf.dtype = form_ == HfForm::packed || declared_type_ == DType::bf16 ? "bfloat16"
               : declared_type_ == DType::f16                           ? "float16"
                                                                        : "float32";
    core::write_file_atomic(folder / "config.json", to_hf_config_json(hf));
    Json generation = Json::object();
    if (model_.bos_id) generation["bos_token_id"] = *model_.bos_id;
    if (model_.end_ids.size() == 1) generation["eos_token_id"] = model_.end_ids.front();
    if (model_.end_ids.size() > 1) generation["eos_token_id"] = model_.end_ids;
    core::write_file_atomic(folder / "generation_config.json", generation.dump(2) + "\n");
    if (!model_.tokenizer) return;
    const text::SentencePieceRules* rules = model_.tokenizer->sentence_piece();
    if (rules != nullptr && !rules->model_file.empty()) {
      core::write_file_atomic(folder / "tokenizer.model", rules->model_file);
    } else {
      core::write_file_atomic(folder / "tokenizer.json", model_.tokenizer->to_tokenizer_json());
    }
    const std::string config = tokenizer_config();
    core::write_file_atomic(folder / "tokenizer_config.json", config);
    if (chat_template_of(config, model_.path.string() + ": tokenizer_config.json") != model_.chat_template) {
      core::write_file_atomic(folder / "chat_template.jinja", model_.chat_template);
    }
  }

  std::string tokenizer_config() const {
    if (!model_.tokenizer_config_json.empty()) return model_.tokenizer_config_json;
    Json j;
    const text::SentencePieceRules* rules = model_.tokenizer->sentence_piece();
    const bool model_file = rules != nullptr && !rules->model_file.empty();
    j["tokenizer_class"] = model_file ? "LlamaTokenizer" : "PreTrainedTokenizerFast";
    if (model_.bos_id) j["bos_token"] = model_.tokenizer->piece(*model_.bos_id);
    if (model_.chat_eos_token) {
      j["eos_token"] = *model_.chat_eos_token;
    } else if (!model_.end_ids.empty()) {
      j["eos_token"] = model_.tokenizer->piece(model_.end_ids.front());
    }
    j["add_bos_token"] = model_.adds_bos;
    return j.dump(2) + "\n";
  }

  const Model& model_;
  HfForm form_;
  const ExportOptions& options_;
  LinearClass class_;
  DType declared_type_ = DType::bf16;
  std::vector<Planned> planned_;
};

}  // namespace

void require_replaceable(const fs::path& target, bool replace, const std::vector<std::string>& added) {
  const std::vector<std::string> there = core::names_in(target);
  if (there.empty()) return;
  if (!replace) throw OutputError(fmt::format("{}: exists and is not empty", target.string()));
  std::vector<std::string> ours(kFiles.begin(), kFiles.end());
  ours.insert(ours.end(), added.begin(), added.end());
  const auto other = core::find_foreign(target, ours);
  if (!other) return;
  throw OutputError(
      fmt::format("{}: holds {}, which is not written here and would be lost: move it away, or write to another folder",
                  target.string(), other->filename().string()));
}

std::string export_huggingface(const Model& model, const fs::path& target, HfForm form, const ExportOptions& options) {
  core::AtomicDirectory folder(target, options.replace_folder);
  HfExport(model, form, options).write(folder.path());
  std::string hash;
  if (!options.lossy) {
    const auto again = open_huggingface(folder.path());
    expect_same_vocabulary(model, *again);
    hash = expect_identical(model, *again);
    if (options.check) options.check(*again);
  }
  if (options.add_files) options.add_files(folder.path());
  require_replaceable(target, options.replace_folder, core::names_in(folder.path()));
  folder.commit();
  return hash;
}

}  // namespace rpt::model
