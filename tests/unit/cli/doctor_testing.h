// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <set>

#include "rpt/core/atomic_file.h"
#include "rpt/io/gguf.h"
#include "rpt/io/gguf_writer.h"
#include "rpt/io/safetensors.h"
#include "rpt/io/safetensors_writer.h"
#include "rpt/model/doctor.h"
#include "rpt/model/gate.h"
#include "rpt/tensor/blocks.h"
#include "rpt/tensor/ops.h"
#include "tests/unit/cli/cli_testing.h"

/// Good files made faulty, for the tests of rpt doctor.
namespace rpt::cli {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;
using tensor::DType;

/// How a copy of a GGUF file differs from it.
struct Harm {
  std::string architecture = {};  ///< with the prefix of its keys
  std::set<std::string> drop_keys = {};
  std::function<bool(const std::string& tensor)> drop = {};
  std::function<void(const io::GgufTensor& tensor, Bytes& bytes)> change = {};
  bool repeat_embedding = false;                      ///< as output.weight
  std::function<void(Bytes& head)> change_head = {};  ///< of the repeated one
  bool round_head = false;                            ///< the repeated one is q8_0
};

/// The values of an f16 tensor of two dimensions, rounded.
inline Bytes in_q8_0(const io::GgufTensor& t) {
  const tensor::StoredView values{t.data.data(), t.data.size(), t.type, t.ne[1], t.ne[0]};
  const std::int64_t row_bytes = tensor::q8_0_row_bytes(values.columns);
  Bytes rounded(static_cast<std::size_t>(values.rows * row_bytes));
  std::vector<float> row(static_cast<std::size_t>(values.columns));
  for (std::int64_t r = 0; r < values.rows; ++r) {
    tensor::read_row(values, r, row);
    tensor::quantise_row(DType::q8_0, row, rounded.data() + r * row_bytes);
  }
  return rounded;
}

inline void copy_key(const io::GgufFile& in, const io::GgufEntry& e, const std::string& key, io::GgufWriter& out) {
  using Type = io::GgufValueType;
  if (e.type == Type::string) return out.set_string(key, in.get_string(e.key));
  if (e.type == Type::u32) return out.set_u32(key, in.get_u32(e.key));
  if (e.type == Type::f32) return out.set_f32(key, in.get_f32(e.key));
  if (e.type == Type::boolean) return out.set_bool(key, in.get_bool(e.key));
  ASSERT_EQ(e.type, Type::array) << key;
  if (e.element_type == Type::string) return out.set_strings(key, in.get_strings(e.key));
  if (e.element_type == Type::f32) return out.set_f32s(key, in.get_f32s(e.key));
  out.set_i32s(key, in.get_i32s(e.key));
}

inline void harm_gguf(const fs::path& from, const fs::path& to, const Harm& harm) {
  const auto in = io::GgufFile::open(from);
  const std::string arch(in.get_string("general.architecture"));
  io::GgufWriter out(to);
  for (const io::GgufEntry& e : in.entries()) {
    std::string key(e.key);
    if (harm.drop_keys.contains(key)) continue;
    if (!harm.architecture.empty() && key == "general.architecture") {
      out.set_string(key, harm.architecture);
      continue;
    }
    if (!harm.architecture.empty() && key.starts_with(arch + ".")) key.replace(0, arch.size(), harm.architecture);
    copy_key(in, e, key, out);
  }
  std::vector<const io::GgufTensor*> kept;
  for (const io::GgufTensor& t : in.tensors()) {
    if (harm.drop && harm.drop(t.name)) continue;
    kept.push_back(&t);
    out.declare(t.name, t.type, t.ne);
  }
  const io::GgufTensor* embedding = in.find_tensor("token_embd.weight");
  if (harm.repeat_embedding) {
    out.declare("output.weight", harm.round_head ? DType::q8_0 : embedding->type, embedding->ne);
  }
  for (const io::GgufTensor* t : kept) {
    Bytes bytes(t->data.begin(), t->data.end());
    if (harm.change) harm.change(*t, bytes);
    if (t->type == DType::i2_s) bytes.resize(bytes.size() - 28);
    out.begin_tensor(t->name);
    out.write(bytes);
  }
  if (harm.repeat_embedding) {
    Bytes head(embedding->data.begin(), embedding->data.end());
    if (harm.round_head) head = in_q8_0(*embedding);
    if (harm.change_head) harm.change_head(head);
    out.begin_tensor("output.weight");
    out.write(head);
  }
  out.commit();
}

class Doctor : public CommandTest {
 protected:
  /// Runs the doctor; the figures and the exit code, which must agree.
  Json visit(const std::string& file, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"doctor", file, "--json", "-"};
    words.insert(words.end(), more.begin(), more.end());
    if (short_text_ && std::find(more.begin(), more.end(), "--text") == more.end()) {
      core::write_file_atomic(path("short.txt"), model::kTrialText.substr(0, 600));  // enough to tell, and quicker
      words.insert(words.end(), {"--text", path("short.txt")});
    }
    const Outcome o = rpt(words);
    EXPECT_LE(o.code, 1) << o.err;
    if (o.code > 1) return {};
    Json j = Json::parse(o.out);
    EXPECT_EQ(o.code, j["faults"].empty() ? 0 : 1);
    return j;
  }
  bool short_text_ = true;
  void expect_nothing(const std::string& file) { EXPECT_EQ(visit(file)["faults"], Json::array()) << file; }
  /// The one fault of that name.
  Json fault(const Json& j, const std::string& name) {
    for (const Json& f : j["faults"]) {
      if (f["fault"] == name) return f;
    }
    ADD_FAILURE() << "no " << name << " in " << j.dump();
    return Json::object();
  }
  /// Expects exactly this fault, then mends it and expects the bits of the good file `of` (seedling).
  void expect_mended(const std::string& file, const std::string& name, const std::string& mended,
                     const std::string& of = "", const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"--fix", mended};
    words.insert(words.end(), more.begin(), more.end());
    const Json j = visit(file, words);
    ASSERT_EQ(j["faults"].size(), 1U) << j.dump();
    EXPECT_EQ(j["faults"][0]["fault"], name);
    EXPECT_TRUE(j["faults"][0]["mechanical"]);
    ASSERT_TRUE(fs::exists(mended)) << j.dump();
    expect_nothing(mended);
    const std::string hash = hash_of(mended);
    EXPECT_EQ(j["nll_sha256"], hash);
    EXPECT_EQ(hash, hash_of(of.empty() ? seedling_ : of));
  }
  /// Seedling as i2_s.
  std::string good() {
    if (!fs::exists(path("good.gguf"))) {
      EXPECT_EQ(rpt({"export", seedling_, path("good.gguf")}).code, 0);
    }
    return path("good.gguf");
  }
  static std::string hash_of(const std::string& model) {
    return model::nll_sha256(model::gate_nlls(*model::open_model(model)));
  }
  std::string harmed(const Harm& harm) {
    harm_gguf(good(), path("harmed.gguf"), harm);
    return path("harmed.gguf");
  }
  /// A copy of a directory with another config.json.
  std::string with_config(const std::string& folder, const std::function<void(Json&)>& change) {
    fs::copy(folder, path("dir"));
    Json config = Json::parse(core::read_file(path("dir") + "/config.json"));
    change(config);
    fs::permissions(path("dir") + "/config.json", fs::perms::owner_write, fs::perm_options::add);
    core::write_file_atomic(path("dir") + "/config.json", config.dump());
    return path("dir");
  }
  std::string packed() {
    EXPECT_EQ(rpt({"export", seedling_, path("packed"), "--to", "hf-packed"}).code, 0);
    return path("packed");
  }
  /// A copy of a directory with tensors changed: a new type and bytes where `change` gives some.
  using Replaced = std::optional<Bytes>;
  void harm_safetensors(const std::string& from, const std::string& to,
                        const std::function<Replaced(const io::SafetensorsTensor&)>& change,
                        bool repeat_embedding = false) {
    fs::copy(from, to);
    fs::remove(to + "/model.safetensors");
    const auto in = io::SafetensorsFile::open(from + "/model.safetensors");
    io::SafetensorsWriter out(to + "/model.safetensors");
    const io::SafetensorsTensor* embedding = in.find("model.embed_tokens.weight");
    for (const auto& t : in.tensors()) out.declare(t.name, t.type, t.shape);
    if (repeat_embedding) out.declare("lm_head.weight", embedding->type, embedding->shape);
    for (const auto& t : in.tensors()) {
      out.begin_tensor(t.name);
      const Replaced bytes = change ? change(t) : std::nullopt;
      out.write(bytes ? std::span<const std::byte>(*bytes) : t.data);
    }
    if (repeat_embedding) {
      out.begin_tensor("lm_head.weight");
      out.write(embedding->data);
    }
    out.commit();
  }
};

}  // namespace rpt::cli
