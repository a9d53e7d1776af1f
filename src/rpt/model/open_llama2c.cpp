// SPDX-License-Identifier: MIT
#include <utility>

#include "rpt/core/atomic_file.h"
#include "rpt/io/llama2c.h"
#include "rpt/model/assemble.h"
#include "rpt/model/model.h"

namespace rpt::model {
namespace {

using io::Llama2cPart;
namespace fs = std::filesystem;

/// What the format leaves to its only network.
constexpr float kNormEpsilon = 1e-5F;
constexpr double kRopeTheta = 10000.0;
constexpr std::int32_t kBos = 1;
constexpr std::int32_t kEos = 2;

constexpr std::pair<std::string_view, Llama2cPart> kParts[]{
    {"token_embd", Llama2cPart::token_embd},   {"attn_norm", Llama2cPart::attn_norm},
    {"attn_q", Llama2cPart::attn_q},           {"attn_k", Llama2cPart::attn_k},
    {"attn_v", Llama2cPart::attn_v},           {"attn_output", Llama2cPart::attn_output},
    {"ffn_norm", Llama2cPart::ffn_norm},       {"ffn_gate", Llama2cPart::ffn_gate},
    {"ffn_up", Llama2cPart::ffn_up},           {"ffn_down", Llama2cPart::ffn_down},
    {"output_norm", Llama2cPart::output_norm}, {"output", Llama2cPart::output}};

/// Loads tensors in place from an open checkpoint, which has every one of them once its header fits its size.
class Llama2cLoader final : public TensorLoader {
 public:
  Llama2cLoader(const io::Llama2cFile& file, const Config& config) : file_(file), config_(config) {}

  void load(const std::string& name, std::int64_t rows, std::int64_t columns, EmbeddingWeight& weight) override {
    const io::Llama2cTensor t = take(name, rows, columns);
    weight = EmbeddingWeight(origin(name, t), view(t));
  }
  void load(const std::string& name, std::int64_t rows, std::int64_t columns, NormWeight& weight) override {
    const io::Llama2cTensor t = take(name, rows, columns);
    weight = make_norm(origin(name, t), view(t));
  }
  void load(const std::string& name, std::int64_t rows, std::int64_t columns, LinearWeight& weight) override {
    const io::Llama2cTensor t = take(name, rows, columns);
    const bool pairs = name.ends_with("attn_q") || name.ends_with("attn_k");
    weight.dense.emplace(origin(name, t), view(t), pairs ? config_.head_size : 0);
  }

 private:
  /// "blk.3.attn_q" → part attn_q of layer 3.
  io::Llama2cTensor take(const std::string& name, std::int64_t rows, std::int64_t columns) const {
    const bool in_block = name.starts_with("blk.");
    const std::string_view part = std::string_view(name).substr(in_block ? name.rfind('.') + 1 : 0);
    const std::int64_t layer = in_block ? std::stoll(name.substr(4)) : 0;
    for (const auto& [known, number] : kParts) {
      if (known != part) continue;
      const io::Llama2cTensor t = file_.tensor(number, layer);
      RPT_CHECK(t.rows == rows && t.columns == columns, "{}", name);
      return t;
    }
    RPT_CHECK(false, "no tensor is named {}", name);
  }
  Origin origin(const std::string& name, const io::Llama2cTensor& t) const { return {file_.name(), name, t.offset}; }
  static tensor::StoredView view(const io::Llama2cTensor& t) {
    return {t.data.data(), t.data.size(), tensor::DType::f32, t.rows, t.columns};
  }

  const io::Llama2cFile& file_;
  const Config& config_;
};

Config config_of(const io::Llama2cFile& file) {
  const io::Llama2cShape& s = file.shape();
  Config c;
  c.architecture = "llama";
  c.name = fs::path(file.name()).stem().string();
  c.activation = Activation::silu;
  c.sub_norms = false;
  c.hidden = s.hidden;
  c.feed_forward = s.feed_forward;
  c.layers = s.layers;
  c.heads = s.heads;
  c.kv_heads = s.kv_heads;
  c.head_size = s.hidden / s.heads;
  c.vocabulary = s.vocabulary;
  c.context = s.context;
  c.norm_epsilon = kNormEpsilon;
  c.rope_theta = kRopeTheta;
  c.tied_head = s.shared_classifier;
  if (c.vocabulary > kEos) {
    c.bos_id = kBos;
    c.eos_ids = {kBos, kEos};  // a story ends where the next one begins
  }
  validate(c, file.name());
  return c;
}

/// llama2.c keeps the vocabulary in a file of its own, named by its size or tokenizer.bin. Without, the model opens for
/// what needs no text.
void read_vocabulary(const fs::path& path, Model& model) {
  const fs::path folder = path.parent_path();
  for (const fs::path& file : {folder / fmt::format("tok{}.bin", model.config.vocabulary), folder / "tokenizer.bin"}) {
    if (!fs::exists(file)) continue;
    const std::string bytes = core::read_file(file);
    model.tokenizer = text::Tokenizer::from_llama2c(bytes, file.string());
    return;
  }
}

}  // namespace

std::unique_ptr<Model> open_llama2c(const fs::path& path) {
  auto file = std::make_shared<const io::Llama2cFile>(io::Llama2cFile::open(path));
  auto model = std::make_unique<Model>();
  model->path = path;
  model->format = "llama2.c";
  model->storage.push_back(file);
  model->config = config_of(*file);
  Llama2cLoader loader(*file, model->config);
  load_weights(loader, model->config, model->weights);
  read_vocabulary(path, *model);
  settle_special_ids(*model);
  return model;
}

}  // namespace rpt::model
