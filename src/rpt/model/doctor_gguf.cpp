// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>

#include "rpt/io/gguf.h"
#include "rpt/model/doctor_parts.h"
#include "rpt/text/pre_tokenizer.h"

namespace rpt::model {
namespace {

constexpr std::size_t kLlama3Tokens = 128'256;
constexpr std::int64_t kMostLayers = 4096;

/// The records of one GGUF file.
class GgufExamination {
 public:
  explicit GgufExamination(const std::filesystem::path& path) : file_(io::GgufFile::open_cut(path)) {}

  Findings run() {
    if (file_.missing_bytes() > 0) report_cut(file_.name(), file_.missing_bytes(), findings_);
    if (file_.tensors().empty()) {
      findings_.loadable = false;
      findings_.faults.push_back({.fault = "no_weights",
                                  .place = file_.name(),
                                  .cause = "the file holds keys and a vocabulary, but no tensor",
                                  .mend = "take the file with the weights; this one is for tokenizers only"});
      return std::move(findings_);
    }
    look_at_architecture();
    look_for_missing_tensors();
    look_at_pre_tokenizer();
    return std::move(findings_);
  }

 private:
  bool holds(std::string_view name) const { return file_.find_tensor(std::string(name) + ".weight") != nullptr; }
  bool has_sub_norms() const {
    return std::any_of(file_.tensors().begin(), file_.tensors().end(), [](const io::GgufTensor& t) {
      return t.name.ends_with(".attn_sub_norm.weight") || t.name.ends_with(".ffn_sub_norm.weight");
    });
  }

  /// Sub-norms belong to BitNet's graph: no other name reads them. What stands between gate and up is not in the
  /// records.
  void look_at_architecture() {
    const std::string found(file_.find_string("general.architecture").value_or(""));
    constexpr std::array<std::string_view, 3> kBitnet{"bitnet-b1.58", "bitnet-25", "bitnet"};
    bitnet_ = std::find(kBitnet.begin(), kBitnet.end(), found) != kBitnet.end();
    if (found == "bitnet" && !holds_vocabulary() && embedding_rows() == static_cast<std::int64_t>(kLlama3Tokens)) {
      blame_architecture(found,
                         "the vocabulary's size is Llama 3's, whose BitNet models have relu², and this name "
                         "stands for SiLU");
    }
    if (bitnet_ || !has_sub_norms()) return;
    bitnet_ = true;
    blame_architecture(found, "the tensors have attn_sub_norm and ffn_sub_norm, which that graph does not read");
  }

  void blame_architecture(const std::string& found, const std::string& why) {
    findings_.faults.push_back(
        {.fault = "wrong_architecture",
         .place = "general.architecture",
         .cause = fmt::format("the file says \"{}\", but {}: another network would be run", found, why),
         .mend = "general.architecture = \"{}\", and the prefix of its keys with it",
         .mechanical = true});
    const auto choice = [](std::string name) {
      return Choice{name, [name](Treatment& t) { t.reading.architecture = name; }};
    };
    findings_.open.push_back({findings_.faults.size() - 1, {choice("bitnet-b1.58"), choice("bitnet")}});
  }

  std::int64_t embedding_rows() const {
    const io::GgufTensor* t = file_.find_tensor("token_embd.weight");
    return t == nullptr ? 0 : t->rows();
  }
  bool holds_vocabulary() const { return file_.contains("tokenizer.ggml.tokens"); }

  void look_for_missing_tensors() {
    const std::string arch(file_.find_string("general.architecture").value_or(""));
    if (!bitnet_ && arch != "llama") return;  // another network, whose tensors are not known here
    std::vector<std::string> missing;
    for (const char* name : {"token_embd", "output_norm"}) {
      if (!holds(name)) missing.emplace_back(name);
    }
    const std::int64_t layers = std::min<std::int64_t>(file_.find_u32(arch + ".block_count").value_or(0), kMostLayers);
    for (std::int64_t i = 0; i < layers; ++i) {
      for (const std::string& part : block_tensor_names(bitnet_)) {
        const std::string name = fmt::format("blk.{}.{}", i, part);
        if (!holds(name)) missing.push_back(name);
      }
    }
    report_missing(missing, findings_);
  }

  void look_at_pre_tokenizer() {
    if (file_.find_string("tokenizer.ggml.model") != "gpt2" || file_.contains("tokenizer.ggml.pre")) return;
    const auto* tokens = file_.find("tokenizer.ggml.tokens");
    const bool llama3 = tokens != nullptr && tokens->count == kLlama3Tokens;
    findings_.faults.push_back(
        {.fault = "missing_pre_tokenizer",
         .place = "tokenizer.ggml.pre",
         .cause = "the key is missing: readers fall back to another way of splitting text, and the model gets tokens "
                  "that it has not seen in training",
         .mend = "tokenizer.ggml.pre = \"{}\"",
         .mechanical = true});
    Findings::Open open{findings_.faults.size() - 1, {}};
    for (const text::NamedPreTokenizer& named : text::named_pre_tokenizers()) {
      if (llama3 && named.name != "llama-bpe") continue;
      const std::string name(named.name);
      open.choices.push_back({name, [name](Treatment& t) { t.reading.pre_tokenizer = name; }});
    }
    findings_.open.push_back(std::move(open));
  }

  io::GgufFile file_;
  Findings findings_;
  bool bitnet_ = false;
};

}  // namespace

Findings examine_gguf(const std::filesystem::path& path) {
  return GgufExamination(path).run();
}

}  // namespace rpt::model
