// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "rpt/core/float16.h"
#include "rpt/io/gguf_writer.h"
#include "rpt/model/export.h"
#include "rpt/model/export_parts.h"
#include "rpt/model/gate.h"
#include "rpt/tensor/ops.h"
#include "rpt/ternary/layouts.h"

namespace rpt::model {
namespace {

void require_whole_blocks(const std::string& what, std::int64_t columns, tensor::DType type) {
  const std::int64_t block = io::gguf_block(type);
  if (columns % block != 0) {
    throw ConfigError(fmt::format("{}: rows of {} weights do not fit {}, which takes multiples of {}", what, columns,
                                  tensor::name(type), block));
  }
}

using tensor::DType;

/// llama.cpp's numbers for general.file_type; readers only print them.
std::uint32_t file_type(DType type) {
  switch (type) {
    case DType::f32:
      return 0;
    case DType::f16:
      return 1;
    case DType::q4_0:
      return 2;
    case DType::q4_1:
      return 3;
    case DType::q8_0:
      return 7;
    case DType::q6_k:
      return 18;
    case DType::bf16:
      return 32;
    case DType::tq1_0:
      return 36;
    case DType::tq2_0:
      return 37;
    case DType::i2_s:
      return 40;
    default:
      throw ConfigError(fmt::format("a GGUF file of type {} cannot be written", tensor::name(type)));
  }
}

/// The end ids under the three names that GGUF has for them.
struct EndIds {
  std::optional<std::int32_t> eos, eot, eom;
};

/// eos is what a chat template finds as eos_token; eot and eom go by the tokens' texts. An end id of another text takes
/// a name that is left, because readers would not find it: they know the others by their texts.
EndIds name_end_ids(const Model& model) {
  const text::Tokenizer& vocabulary = *model.tokenizer;
  std::vector<std::int32_t> left = model.end_ids;
  const auto take = [&](auto&& is_it) -> std::optional<std::int32_t> {
    const auto it = std::find_if(left.begin(), left.end(), is_it);
    if (it == left.end()) return std::nullopt;
    const std::int32_t id = *it;
    left.erase(it);
    return id;
  };
  const auto any = [](std::int32_t) { return true; };
  const auto unnamed = [&](std::int32_t id) { return !vocabulary.is_end_name(id); };
  const auto text_is = [&](std::string_view text) {
    return [&vocabulary, text](std::int32_t id) {
      return id < vocabulary.vocab_size() && vocabulary.token_text(id) == text;
    };
  };
  EndIds ends;
  if (model.chat_eos_token) ends.eos = take(text_is(*model.chat_eos_token));
  if (!ends.eos) ends.eos = take(any);
  for (const std::string_view text :
       {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>"}) {
    if (!ends.eot) ends.eot = take(text_is(text));
  }
  ends.eom = take(text_is("<|eom_id|>"));
  if (!ends.eot) ends.eot = take(unnamed);
  if (!ends.eom) ends.eom = take(unnamed);
  return ends;
}

/// One GGUF file in the making: declares every tensor, then streams them in the same order.
class GgufExport {
 public:
  GgufExport(const Model& model, const std::filesystem::path& target, std::optional<DType> type,
             const ExportOptions& options)
      : model_(model), type_(type), options_(options), writer_(target) {}

  std::string run() {
    set_keys();
    core::ProgressSink& progress = options_.progress != nullptr ? *options_.progress : core::null_progress();
    std::uint64_t count = 0;
    visit_weights(model_.weights, [&](const std::string& name, const auto& weight) {
      declare(name, weight);
      ++count;
    });
    progress.begin(count, "tensors", "writing");
    visit_weights(model_.weights, [&](const std::string& name, const auto& weight) {
      write(name, weight);
      progress.advance(1);
    });
    progress.finish();
    const auto& written = writer_.seal();
    std::string hash;
    if (!options_.lossy) {
      const auto again = open_gguf(written);
      expect_same_vocabulary(model_, *again);
      hash = expect_identical(model_, *again);
      if (options_.check) options_.check(*again);
    }
    writer_.commit();
    return hash;
  }

 private:
  void set_keys() {
    const Config& c = model_.config;
    const std::string arch = !c.sub_norms ? "llama" : c.activation == Activation::relu2 ? "bitnet-b1.58" : "bitnet";
    const auto u32 = [&](const char* key, std::int64_t value) {
      writer_.set_u32(arch + "." + key, static_cast<std::uint32_t>(value));
    };
    const auto theta = static_cast<float>(c.rope_theta);
    if (static_cast<double>(theta) != c.rope_theta && !options_.lossy) {
      throw ConfigError(fmt::format("rope theta {} is not exact in the float that GGUF stores", c.rope_theta));
    }
    writer_.set_string("general.architecture", arch);
    writer_.set_string("general.name", c.name);
    u32("vocab_size", c.vocabulary);
    u32("context_length", c.context);
    u32("embedding_length", c.hidden);
    u32("block_count", c.layers);
    u32("feed_forward_length", c.feed_forward);
    u32("rope.dimension_count", c.head_size);
    u32("attention.head_count", c.heads);
    u32("attention.head_count_kv", c.kv_heads);
    if (c.query_size() != c.hidden) {
      u32("attention.key_length", c.head_size);
      u32("attention.value_length", c.head_size);
    }
    writer_.set_f32(arch + ".attention.layer_norm_rms_epsilon", c.norm_epsilon);
    writer_.set_f32(arch + ".rope.freq_base", theta);
    writer_.set_u32("general.file_type", file_type(linear_type("blk.0.attn_q", model_.weights.blocks.front().attn_q)));
    set_vocabulary();
    writer_.set_u32("general.quantization_version", 2);
  }

  void set_vocabulary() {
    if (!model_.tokenizer) {
      if (!model_.tokenizer_fault.empty()) {
        throw ConfigError(fmt::format("the vocabulary cannot be written: {}", model_.tokenizer_fault));
      }
      writer_.set_string("tokenizer.ggml.model", "no_vocab");
      return;
    }
    const text::Tokenizer& t = *model_.tokenizer;
    if (t.vocab_size() > model_.config.vocabulary) {
      throw ConfigError(
          fmt::format("{}: the vocabulary holds {} tokens, the embedding has {} rows; a GGUF file has a "
                      "token for every row and no more",
                      model_.path.string(), t.vocab_size(), model_.config.vocabulary));
    }
    std::vector<std::string> tokens;
    std::vector<std::int32_t> types;
    for (std::int32_t id = 0; id < model_.config.vocabulary; ++id) {
      const bool known = id < t.vocab_size();  // an embedding may have more rows than there are tokens
      tokens.push_back(known ? std::string(t.token_text(id)) : fmt::format("[PAD{}]", id));
      types.push_back(static_cast<std::int32_t>(known ? t.type(id) : text::TokenType::unused));
    }
    writer_.set_strings("tokenizer.ggml.tokens", std::span<const std::string>(tokens));
    writer_.set_i32s("tokenizer.ggml.token_type", types);
    t.sentence_piece() != nullptr ? set_sentence_piece(t, types) : set_byte_pairs(t);
    writer_.set_bool("tokenizer.ggml.add_bos_token", model_.adds_bos);
    const auto id = [&](const char* key, std::optional<std::int32_t> value) {
      if (value) writer_.set_u32(fmt::format("tokenizer.ggml.{}_token_id", key), static_cast<std::uint32_t>(*value));
    };
    id("bos", model_.bos_id);
    const EndIds ends = name_end_ids(model_);
    id("eos", ends.eos);
    id("eot", ends.eot);
    id("eom", ends.eom);
    id("padding", model_.config.pad_id);
    if (!model_.chat_template.empty()) writer_.set_string("tokenizer.chat_template", model_.chat_template);
  }

  void set_byte_pairs(const text::Tokenizer& t) {
    const auto pre = t.gguf_pre();
    if (!pre) throw ConfigError(fmt::format("{}: GGUF has no name for this pre-tokenizer", model_.path.string()));
    writer_.set_string("tokenizer.ggml.model", "gpt2");
    writer_.set_string("tokenizer.ggml.pre", *pre);
    writer_.set_f32s("tokenizer.ggml.scores",
                     std::vector<float>(static_cast<std::size_t>(model_.config.vocabulary), 0.0F));
    writer_.set_strings("tokenizer.ggml.merges", std::span<const std::string>(t.merges()));
  }

  void set_sentence_piece(const text::Tokenizer& t, std::span<const std::int32_t> types) {
    if (!t.fits_gguf_llama()) {
      throw ConfigError(
          fmt::format("{}: readers of GGUF would put spaces behind the user-defined pieces", model_.path.string()));
    }
    std::vector<float> scores = t.sentence_piece()->scores;
    scores.resize(types.size(), 0.0F);  // unused tokens: theirs mean nothing
    writer_.set_string("tokenizer.ggml.model", "llama");
    writer_.set_string("tokenizer.ggml.pre", "default");  // what every writer of such files puts there
    writer_.set_f32s("tokenizer.ggml.scores", scores);
    writer_.set_bool("tokenizer.ggml.add_space_prefix", t.sentence_piece()->space_prefix);
    const auto unknown = std::find(types.begin(), types.end(), static_cast<std::int32_t>(text::TokenType::unknown));
    if (unknown != types.end()) {
      writer_.set_u32("tokenizer.ggml.unknown_token_id", static_cast<std::uint32_t>(unknown - types.begin()));
    }
  }

  DType embedding_type(const EmbeddingWeight& weight) {
    const DType stored = weight.values().type;
    if (!tensor::is_float(stored)) return stored;
    return exact_in(weight, DType::f16) ? DType::f16 : DType::f32;
  }

  /// The type in which a linear layer is written. Throws ConfigError where it cannot have the one that was asked for.
  DType linear_type(const std::string& name, const LinearWeight& weight) const {
    if (!type_) return weight.ternary() ? DType::i2_s : weight.stored_type();
    if (weight.ternary() && !model_.config.sub_norms && !tensor::is_ternary(*type_)) {
      throw ConfigError(
          fmt::format("{}: readers take {} weights of architecture llama for dense ones; ternary ones are "
                      "written as i2_s, tq1_0 or tq2_0",
                      name, tensor::name(*type_)));
    }
    if (!weight.ternary() && tensor::is_ternary(*type_)) {
      throw ConfigError(fmt::format("{}: is dense ({}), and {} holds ternary weights", name,
                                    tensor::name(weight.stored_type()), tensor::name(*type_)));
    }
    return *type_;
  }

  /// Architecture `llama` wants the rows of queries and keys in rope pairs.
  std::int64_t rope_pairs(const std::string& name) const {
    const bool turned = name.ends_with("attn_q") || name.ends_with("attn_k");
    return turned && !model_.config.sub_norms ? model_.config.head_size : 0;
  }

  void declare(const std::string& name, const EmbeddingWeight& weight) {
    const auto& v = weight.values();
    writer_.declare(name + ".weight", embedding_type(weight), {v.columns, v.rows});
  }
  void declare(const std::string& name, const NormWeight& weight) {
    writer_.declare(name + ".weight", DType::f32, {static_cast<std::int64_t>(weight.gain.size())});
  }
  void declare(const std::string& name, const LinearWeight& weight) {
    const DType type = linear_type(name, weight);
    if (weight.ternary()) {
      require_whole_blocks(name, weight.columns(), type);
      require_exact_scale(name, weight.weight.codes().scale, type, options_);
    } else if (type != weight.stored_type() && !options_.lossy && !exact_in(*weight.dense, type)) {
      throw ConfigError(fmt::format("{}: its {} values are not exact in {} (--lossy rounds them)", name,
                                    tensor::name(weight.stored_type()), tensor::name(type)));
    }
    writer_.declare(name + ".weight", type, {weight.columns(), weight.rows()});
    if (weight.output_scale) writer_.declare(name + ".scale", DType::f32, {1});
  }

  void write(const std::string& name, const EmbeddingWeight& weight) {
    writer_.begin_tensor(name + ".weight");
    const auto& v = weight.values();
    const DType type = embedding_type(weight);
    if (type == v.type) {
      writer_.write(v.data, v.bytes);
      return;
    }
    write_float_rows(weight, type, 0, to_file());
  }
  void write(const std::string& name, const NormWeight& weight) {
    writer_.begin_tensor(name + ".weight");
    writer_.write(std::as_bytes(std::span(weight.gain)));
  }
  void write(const std::string& name, const LinearWeight& weight) {
    writer_.begin_tensor(name + ".weight");
    const DType type = linear_type(name, weight);
    if (!weight.ternary()) {
      write_dense(name, *weight.dense, type);
    } else if (tensor::is_ternary(type)) {
      const auto& codes = weight.weight.codes();
      const ternary::PackedTernary packed = ternary::repack(codes, type, options_.lossy);
      const auto view = packed.view();
      write_stored_rows(std::as_bytes(std::span(view.data, view.bytes)), view.rows, rope_pairs(name), to_file());
      if (type == DType::i2_s) writer_.write(&codes.scale, sizeof codes.scale);
    } else {
      write_code_rows(weight.weight.codes(), type, to_file());
    }
    if (weight.output_scale) {
      writer_.begin_tensor(name + ".scale");
      writer_.write(&*weight.output_scale, sizeof(float));
    }
  }
  void write_dense(const std::string& name, const DenseWeight& weight, DType type) {
    const tensor::StoredView& v = weight.values();
    if (type == v.type) {
      write_stored_rows({v.data, v.bytes}, v.rows, rope_pairs(name), to_file());
    } else {
      write_float_rows(weight, type, rope_pairs(name), to_file());
    }
  }
  RowSink to_file() {
    return [this](std::span<const std::byte> bytes) { writer_.write(bytes); };
  }

  const Model& model_;
  std::optional<DType> type_;
  const ExportOptions& options_;
  io::GgufWriter writer_;
};

}  // namespace

void require_gguf_rows(const Config& config, tensor::DType type) {
  for (const auto& [name, columns] :
       {std::pair("hidden size", config.hidden), std::pair("attention output", config.query_size()),
        std::pair("feed-forward size", config.feed_forward)}) {
    require_whole_blocks(name, columns, type);
  }
}

std::string export_gguf(const Model& model, const std::filesystem::path& target, std::optional<tensor::DType> type,
                        const ExportOptions& options) {
  return GgufExport(model, target, type, options).run();
}

}  // namespace rpt::model
