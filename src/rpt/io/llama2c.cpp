// SPDX-License-Identifier: MIT
#include "rpt/io/llama2c.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <string_view>
#include <utility>

#include "rpt/core/checked.h"
#include "rpt/core/error.h"
#include "rpt/io/byte_reader.h"

namespace rpt::io {
namespace {

constexpr std::uint32_t kMagic = 0x616b3432;      // "24ka"
constexpr std::uint32_t kGgufMagic = 0x46554747;  // "GGUF"
constexpr std::uint64_t kLegacyHeader = 7 * 4;
constexpr std::uint64_t kVersion1Header = 256;

using Part = Llama2cPart;

constexpr std::array kLegacyOrder{Part::token_embd, Part::attn_norm,   Part::attn_q,      Part::attn_k,
                                  Part::attn_v,     Part::attn_output, Part::ffn_norm,    Part::ffn_gate,
                                  Part::ffn_down,   Part::ffn_up,      Part::output_norm, Part::output};
constexpr std::array kVersion1Order{Part::attn_norm, Part::ffn_norm, Part::output_norm, Part::token_embd,
                                    Part::attn_q,    Part::attn_k,   Part::attn_v,      Part::attn_output,
                                    Part::ffn_gate,  Part::ffn_down, Part::ffn_up,      Part::output};

/// One of the seven numbers of a header.
std::int64_t read_number(ByteReader& reader, std::string_view what) {
  const std::uint64_t at = reader.offset();
  const std::int32_t value = reader.i32(what);
  if (value < 1) reader.fail_at(at, what, "at least 1", std::to_string(value));
  return value;
}

/// The same for the vocabulary's size, whose sign says in legacy files whether the classifier is shared.
std::int64_t read_vocabulary(ByteReader& reader, bool signed_size, bool& shared) {
  constexpr std::string_view kWhat = "vocabulary size";
  const std::uint64_t at = reader.offset();
  const std::int64_t value = reader.i32(kWhat);
  if (value == 0 || (value < 0 && !signed_size)) reader.fail_at(at, kWhat, "at least 1", std::to_string(value));
  if (signed_size) shared = value > 0;
  return value < 0 ? -value : value;
}

}  // namespace

Llama2cFile Llama2cFile::open(const std::filesystem::path& path) {
  Llama2cFile file;
  file.name_ = path.string();
  file.mapping_ = MappedFile(path);
  file.read(file.mapping_.bytes());
  return file;
}

Llama2cFile Llama2cFile::parse(std::span<const std::byte> bytes, std::string name) {
  Llama2cFile file;
  file.name_ = std::move(name);
  file.read(bytes);
  return file;
}

void Llama2cFile::read(std::span<const std::byte> bytes) {
  bytes_ = bytes;
  read_shape(bytes);
  place(version_ == 0 ? kLegacyHeader : kVersion1Header);
}

void Llama2cFile::read_shape(std::span<const std::byte> bytes) {
  ByteReader reader(bytes, name_);
  if (bytes.size() >= 4 && load<std::uint32_t>(bytes.data()) == kMagic) {
    reader.u32("magic");
    version_ = reader.u32("version");
    if (version_ != 1) reader.fail_at(4, "version", "1 (float32)", std::to_string(version_));
  }
  shape_.hidden = read_number(reader, "dim");
  shape_.feed_forward = read_number(reader, "hidden_dim");
  shape_.layers = read_number(reader, "n_layers");
  shape_.heads = read_number(reader, "n_heads");
  shape_.kv_heads = read_number(reader, "n_kv_heads");
  shape_.vocabulary = read_vocabulary(reader, version_ == 0, shape_.shared_classifier);
  shape_.context = read_number(reader, "max_seq_len");
  const std::uint64_t base = version_ == 0 ? 0 : 8;
  if (shape_.hidden % shape_.heads != 0) {
    reader.fail_at(base + 12, "n_heads", fmt::format("a divisor of dim {}", shape_.hidden),
                   std::to_string(shape_.heads));
  }
  if (shape_.heads % shape_.kv_heads != 0) {
    reader.fail_at(base + 16, "n_kv_heads", fmt::format("a divisor of n_heads {}", shape_.heads),
                   std::to_string(shape_.kv_heads));
  }
  if (version_ == 1) shape_.shared_classifier = reader.u8("shared_classifier") != 0;
}

/// Gives every tensor its place. No number of the header is trusted before the whole is known to be as long as the
/// file.
void Llama2cFile::place(std::uint64_t header_bytes) {
  const Llama2cShape& s = shape_;
  const std::int64_t kv = s.hidden / s.heads * s.kv_heads;
  const auto placed = [&](Part part) -> Placed {
    switch (part) {
      case Part::token_embd:
      case Part::output:
        return {part, 1, s.vocabulary, s.hidden};
      case Part::attn_norm:
      case Part::ffn_norm:
        return {part, s.layers, 1, s.hidden};
      case Part::attn_q:
      case Part::attn_output:
        return {part, s.layers, s.hidden, s.hidden};
      case Part::attn_k:
      case Part::attn_v:
        return {part, s.layers, kv, s.hidden};
      case Part::ffn_gate:
      case Part::ffn_up:
        return {part, s.layers, s.feed_forward, s.hidden};
      case Part::ffn_down:
        return {part, s.layers, s.hidden, s.feed_forward};
      case Part::output_norm:
        return {part, 1, 1, s.hidden};
    }
    RPT_CHECK(false, "part {}", static_cast<int>(part));
  };
  std::optional<std::uint64_t> end = header_bytes;
  const auto advance = [&](std::int64_t count, std::int64_t rows, std::int64_t columns) {
    std::optional<std::uint64_t> bytes = 4;
    for (const std::int64_t factor : {count, rows, columns}) {
      bytes = bytes ? core::multiply(*bytes, static_cast<std::uint64_t>(factor)) : std::nullopt;
    }
    end = end && bytes ? core::add(*end, *bytes) : std::nullopt;
  };
  for (const Part part : version_ == 0 ? kLegacyOrder : kVersion1Order) {
    if (part == Part::output && version_ == 0) advance(2, s.context, s.hidden / s.heads / 2);  // cos and sin of rope
    if (part == Part::output && s.shared_classifier) continue;
    Placed p = placed(part);
    if (end) p.offset = *end;
    advance(p.count, p.rows, p.columns);
    placed_.push_back(p);
  }
  if (!end || *end != bytes_.size()) {
    throw FormatError(name_, 0, "header",
                      end ? fmt::format("a file of {} bytes", *end) : "a shape that a file can have",
                      fmt::format("{} bytes", bytes_.size()));
  }
}

Llama2cTensor Llama2cFile::tensor(Llama2cPart part, std::int64_t layer) const {
  const auto found = std::find_if(placed_.begin(), placed_.end(), [&](const Placed& p) { return p.part == part; });
  RPT_CHECK(found != placed_.end() && layer >= 0 && layer < found->count, "part {}, layer {}", static_cast<int>(part),
            layer);
  const auto bytes = static_cast<std::uint64_t>(found->rows * found->columns) * 4;
  const std::uint64_t offset = found->offset + static_cast<std::uint64_t>(layer) * bytes;
  return {offset, bytes_.subspan(offset, bytes), found->rows, found->columns};
}

bool is_llama2c(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw IoError(fmt::format("{}: cannot be read", path.string()));
  std::uint32_t magic = 0;
  in.read(reinterpret_cast<char*>(&magic), sizeof magic);
  return magic == kMagic || (path.extension() == ".bin" && magic != kGgufMagic);
}

}  // namespace rpt::io
