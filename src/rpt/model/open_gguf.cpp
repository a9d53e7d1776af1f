// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "rpt/io/gguf.h"
#include "rpt/model/assemble.h"
#include "rpt/model/model.h"
#include "rpt/tensor/ops.h"

namespace rpt::model {
namespace {

using tensor::DType;

/// Loads tensors in place from an open file and remembers which it has used.
class GgufLoader final : public TensorLoader {
 public:
  GgufLoader(const io::GgufFile& file, const Config& config, const OpenOptions& options)
      : file_(file), config_(config), options_(options) {}

  void load(const std::string& name, std::int64_t rows, std::int64_t columns, EmbeddingWeight& weight) override {
    const io::GgufTensor& t = take(name + ".weight", rows, columns);
    if (!tensor::is_dense(t.type)) wrong_type(t, kDenseTypes);
    weight = EmbeddingWeight(origin(t), view(t));
  }

  void load(const std::string& name, std::int64_t rows, std::int64_t columns, NormWeight& weight) override {
    const io::GgufTensor& t = take(name + ".weight", rows, columns);
    weight = make_norm(origin(t), view(t));
  }

  void load(const std::string& name, std::int64_t rows, std::int64_t columns, LinearWeight& weight) override {
    const io::GgufTensor& t = take(name + ".weight", rows, columns);
    const bool llama = !config_.sub_norms;
    const std::int64_t pairs = llama && (name.ends_with("attn_q") || name.ends_with("attn_k")) ? config_.head_size : 0;
    if (tensor::is_ternary(t.type)) {
      const auto* data = reinterpret_cast<const std::uint8_t*>(t.data.data());
      weight.weight = TernaryWeight::stored(origin(t), {data, t.data.size(), t.type, rows, columns, 0},
                                            {.rope_pairs = pairs, .i2_s = options_.i2_s});
    } else if (llama && tensor::is_dense(t.type)) {
      weight.dense.emplace(origin(t), view(t), pairs);
    } else if (tensor::is_float(t.type)) {
      weight.weight = TernaryWeight::latent(origin(t), view(t), true);
    } else {
      wrong_type(t, llama ? kDenseTypes + ", i2_s, tq1_0 or tq2_0" : "f32, f16, bf16, i2_s, tq1_0 or tq2_0");
    }
    if (file_.find_tensor(name + ".scale") != nullptr) {
      const io::GgufTensor& scale = take(name + ".scale", 1, 1);
      weight.output_scale = make_norm(origin(scale), view(scale)).gain.front();
    }
  }

  /// Refuses a file with a tensor that no part of the network reads: ignoring it would run another network.
  void refuse_unused() const {
    for (const io::GgufTensor& t : file_.tensors()) {
      if (used_.contains(t.name) || is_plain_rope(t)) continue;
      file_.fail_tensor(t.name, "only tensors of a " + config_.architecture + " decoder",
                        "one that the forward does not read");
    }
  }

 private:
  const io::GgufTensor& take(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const io::GgufTensor* t = file_.find_tensor(name);
    if (t == nullptr) file_.fail_tensor(name, fmt::format("a tensor [{}, {}]", rows, columns), "no such tensor");
    if (t->rows() != rows || t->columns() != columns || t->ne.size() > 2) {
      file_.fail_tensor(name, fmt::format("shape [{}, {}]", rows, columns),
                        fmt::format("[{}, {}] in {} dimensions", t->rows(), t->columns(), t->ne.size()));
    }
    used_.insert(name);
    return *t;
  }
  /// Factors of the rope's frequencies that are all 1.
  bool is_plain_rope(const io::GgufTensor& t) const {
    if (t.name != "rope_freqs.weight" || t.type != DType::f32) return false;
    const std::vector<float> factors = tensor::widen(view(t));
    return std::all_of(factors.begin(), factors.end(), [](float f) { return f == 1.0F; });
  }
  [[noreturn]] void wrong_type(const io::GgufTensor& t, const std::string& expected) const {
    file_.fail_tensor(t.name, "type " + expected, std::string(tensor::name(t.type)));
  }
  Origin origin(const io::GgufTensor& t) const { return {file_.name(), t.name, t.offset}; }
  static tensor::StoredView view(const io::GgufTensor& t) {
    return {t.data.data(), t.data.size(), t.type, t.rows(), t.columns()};
  }

  inline static const std::string kDenseTypes = "f32, f16, bf16, q8_0, q4_0, q4_1 or q6_k";

  const io::GgufFile& file_;
  const Config& config_;
  const OpenOptions& options_;
  std::set<std::string> used_;
};

Config read_config(const io::GgufFile& file, const OpenOptions& options) {
  Config c;
  const std::string prefix(file.get_string("general.architecture"));
  c.architecture = options.architecture.empty() ? prefix : options.architecture;
  constexpr std::array<std::string_view, 4> kKnown{"bitnet-b1.58", "bitnet-25", "bitnet", "llama"};
  if (std::find(kKnown.begin(), kKnown.end(), c.architecture) == kKnown.end()) {
    throw ConfigError(fmt::format("{}: architecture \"{}\" is not supported ({} are)", file.name(), c.architecture,
                                  fmt::join(kKnown, ", ")));
  }
  c.name = file.find_string("general.name").value_or("");
  c.sub_norms = c.architecture != "llama";
  c.activation = c.architecture == "bitnet" || c.architecture == "llama" ? Activation::silu : Activation::relu2;
  const auto key = [&](const char* suffix) { return prefix + "." + suffix; };
  const auto scaling = file.find_string(key("rope.scaling.type"));
  if (scaling && *scaling != "none") file.fail_key(key("rope.scaling.type"), "none", std::string(*scaling));
  // Without a type, readers take a factor for that of linear scaling. 0 says nothing, as 1 does.
  for (const char* name : {"rope.scaling.factor", "rope.scale_linear"}) {
    const auto factor = scaling ? std::nullopt : file.find_f32(key(name));
    if (factor && *factor != 0.0F && *factor != 1.0F) file.fail_key(key(name), "1", fmt::format("{}", *factor));
  }
  if (const auto experts = file.find_u32(key("expert_count")); experts && *experts != 0) {
    file.fail_key(key("expert_count"), "0", std::to_string(*experts));
  }
  c.hidden = file.get_u32(key("embedding_length"));
  c.feed_forward = file.get_u32(key("feed_forward_length"));
  c.layers = file.get_u32(key("block_count"));
  c.heads = file.get_u32(key("attention.head_count"));
  c.kv_heads = file.find_u32(key("attention.head_count_kv")).value_or(static_cast<std::uint32_t>(c.heads));
  c.context = file.get_u32(key("context_length"));
  if (c.heads < 1) file.fail_key(key("attention.head_count"), "at least 1", std::to_string(c.heads));
  c.head_size = file.find_u32(key("attention.key_length")).value_or(static_cast<std::uint32_t>(c.hidden / c.heads));
  const std::int64_t rotated =
      file.find_u32(key("rope.dimension_count")).value_or(static_cast<std::uint32_t>(c.head_size));
  if (rotated != c.head_size) {
    file.fail_key(key("rope.dimension_count"), fmt::format("the head size {}", c.head_size), std::to_string(rotated));
  }
  c.norm_epsilon = file.get_f32(key("attention.layer_norm_rms_epsilon"));
  c.rope_theta = static_cast<double>(file.find_f32(key("rope.freq_base")).value_or(10000.0F));
  c.tied_head = file.find_tensor("output.weight") == nullptr;

  const io::GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr) file.fail_tensor("token_embd.weight", "an embedding", "no such tensor");
  c.vocabulary = embedding->rows();
  const auto declared = file.find_u32(key("vocab_size"));
  if (declared && *declared != c.vocabulary) {
    file.fail_key(key("vocab_size"), fmt::format("the embedding's {} rows", c.vocabulary), std::to_string(*declared));
  }
  const auto id = [&](const char* name) -> std::optional<std::int32_t> {
    const auto value = file.find_i64(name);
    // Files exist that write -1 or 2^32 - 1 for "none".
    if (!value || *value < 0 || *value >= c.vocabulary) return std::nullopt;
    return static_cast<std::int32_t>(*value);
  };
  c.bos_id = id("tokenizer.ggml.bos_token_id");
  c.pad_id = id("tokenizer.ggml.padding_token_id");
  if (const auto eos = id("tokenizer.ggml.eos_token_id")) c.eos_ids.push_back(*eos);
  validate(c, file.name());
  return c;
}

void read_vocabulary(const io::GgufFile& file, const std::shared_ptr<const void>& keep_alive, const std::string& pre,
                     Model& model) {
  auto vocabulary = read_gguf_vocabulary(file, keep_alive, model.config.vocabulary, model.warnings, pre);
  if (!vocabulary) return;
  try {
    model.tokenizer = text::Tokenizer::from_gguf(*std::move(vocabulary));
  } catch (const ConfigError& e) {
    // A vocabulary of an unknown kind does not keep anybody from inspecting the weights.
    model.tokenizer_fault = e.what();
    model.warnings.push_back(model.tokenizer_fault);
  }
}

}  // namespace

std::unique_ptr<Model> open_gguf(const std::filesystem::path& path, const OpenOptions& options) {
  auto file = std::make_shared<const io::GgufFile>(io::GgufFile::open(path));
  auto model = std::make_unique<Model>();
  model->path = path;
  model->format = "gguf";
  model->storage.push_back(file);
  model->config = read_config(*file, options);
  GgufLoader loader(*file, model->config, options);
  load_weights(loader, model->config, model->weights);
  loader.refuse_unused();
  if (!model->config.tied_head && model->config.sub_norms) {
    model->warnings.push_back(file->name() +
                              ": logits are made with output.weight; bitnet.cpp would use the embedding");
  }
  read_vocabulary(*file, file, options.pre_tokenizer, *model);
  model->chat_template = file->find_string("tokenizer.chat_template").value_or("");
  settle_special_ids(*model);
  return model;
}

}  // namespace rpt::model
