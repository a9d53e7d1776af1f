// SPDX-License-Identifier: MIT
#include "rpt/io/gguf_writer.h"

#include <bit>
#include <utility>

#include "rpt/core/checked.h"
#include "rpt/core/error.h"

namespace rpt::io {
namespace {

static_assert(std::endian::native == std::endian::little, "values are written as they stand in memory");

constexpr std::uint64_t kI2sUnusedBytes = 28;

std::uint64_t padding(std::uint64_t size, std::uint64_t alignment) {
  return (alignment - size % alignment) % alignment;
}

}  // namespace

GgufWriter::GgufWriter(const std::filesystem::path& target, std::uint32_t alignment)
    : file_(target), alignment_(alignment) {
  RPT_CHECK(std::has_single_bit(alignment) && alignment >= kGgufMinAlignment && alignment <= kGgufMaxAlignment,
            "alignment {}", alignment);
  if (alignment != kGgufDefaultAlignment) set_u32("general.alignment", alignment);
}

void GgufWriter::append_string(std::string_view text) {
  append(std::uint64_t{text.size()});
  keys_ += text;
}

void GgufWriter::begin_key(std::string_view key, GgufValueType type) {
  RPT_CHECK(!streaming_, "key {} after the first tensor's data", key);
  RPT_CHECK(key_names_.emplace(key).second, "key {} twice", key);
  append_string(key);
  append(static_cast<std::uint32_t>(type));
  ++key_count_;
}

void GgufWriter::begin_array(std::string_view key, GgufValueType element, std::size_t count) {
  begin_key(key, GgufValueType::array);
  append(static_cast<std::uint32_t>(element));
  append(std::uint64_t{count});
}

void GgufWriter::set_bool(std::string_view key, bool value) {
  set_value(key, GgufValueType::boolean, static_cast<std::uint8_t>(value ? 1 : 0));
}

void GgufWriter::set_string(std::string_view key, std::string_view value) {
  begin_key(key, GgufValueType::string);
  append_string(value);
}

template <typename Text>
void GgufWriter::set_texts(std::string_view key, std::span<const Text> values) {
  begin_array(key, GgufValueType::string, values.size());
  for (const Text& value : values) append_string(value);
}

template <typename T>
void GgufWriter::set_numbers(std::string_view key, GgufValueType element, std::span<const T> values) {
  begin_array(key, element, values.size());
  keys_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

void GgufWriter::set_strings(std::string_view key, std::span<const std::string> values) {
  set_texts(key, values);
}
void GgufWriter::set_strings(std::string_view key, std::span<const std::string_view> values) {
  set_texts(key, values);
}
void GgufWriter::set_f32s(std::string_view key, std::span<const float> values) {
  set_numbers(key, GgufValueType::f32, values);
}
void GgufWriter::set_i32s(std::string_view key, std::span<const std::int32_t> values) {
  set_numbers(key, GgufValueType::i32, values);
}
void GgufWriter::set_u32s(std::string_view key, std::span<const std::uint32_t> values) {
  set_numbers(key, GgufValueType::u32, values);
}

void GgufWriter::declare(const std::string& name, tensor::DType type, std::vector<std::int64_t> ne) {
  RPT_CHECK(!streaming_, "tensor {} declared after the first tensor's data", name);
  RPT_CHECK(!ne.empty() && ne.size() <= 4, "tensor {} with {} extents", name, ne.size());
  const auto ggml_type = ggml_type_of_dtype(type);
  if (!ggml_type) throw ConfigError(fmt::format("tensor {}: GGUF has no type for {}", name, tensor::name(type)));
  for (const std::int64_t extent : ne) {
    if (extent < 1) throw ShapeError(fmt::format("tensor {}: extent {}, expected at least 1", name, extent));
  }
  if (ne[0] % gguf_block(type) != 0) {
    throw ShapeError(fmt::format("tensor {}: rows of {} weights cannot be stored as {}, which takes multiples of {}",
                                 name, ne[0], tensor::name(type), gguf_block(type)));
  }
  const auto bytes = gguf_tensor_bytes(type, ne);
  if (!bytes) throw ShapeError(fmt::format("tensor {}: its size does not fit in 64 bits", name));
  RPT_CHECK(tensor_names_.insert(name).second, "tensor {} twice", name);
  const std::uint64_t end = tensors_.empty() ? 0 : tensors_.back().offset + tensors_.back().bytes;
  const std::uint64_t payload = type == tensor::DType::i2_s ? *bytes - kI2sUnusedBytes : *bytes;
  tensors_.push_back({name, *ggml_type, std::move(ne), end + padding(end, alignment_), payload, *bytes});
}

void GgufWriter::write_records() {
  std::string head;
  const auto put = [&head](auto value) { head.append(reinterpret_cast<const char*>(&value), sizeof value); };
  head += "GGUF";
  put(std::uint32_t{3});
  put(std::uint64_t{tensors_.size()});
  put(key_count_);
  head += keys_;
  for (const Declared& tensor : tensors_) {
    put(std::uint64_t{tensor.name.size()});
    head += tensor.name;
    put(static_cast<std::uint32_t>(tensor.ne.size()));
    for (const std::int64_t extent : tensor.ne) put(static_cast<std::uint64_t>(extent));
    put(tensor.ggml_type);
    put(tensor.offset);
  }
  file_.write(head);
  file_.write_zeros(static_cast<std::size_t>(padding(head.size(), alignment_)));
  streaming_ = true;
}

void GgufWriter::begin_tensor(std::string_view name) {
  if (!streaming_) write_records();
  end_tensor();
  RPT_CHECK(next_ < tensors_.size(), "tensor {} after the last one declared", name);
  RPT_CHECK(tensors_[next_].name == name, "tensor {} begun, {} declared", name, tensors_[next_].name);
  ++next_;
  written_ = 0;
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  RPT_CHECK(next_ > 0 && !sealed_, "data without a tensor");
  const Declared& tensor = tensors_[next_ - 1];
  RPT_CHECK(bytes.size() <= tensor.payload - written_, "tensor {}: {} bytes behind {} of {}", tensor.name, bytes.size(),
            written_, tensor.payload);
  file_.write(bytes.data(), bytes.size());
  written_ += bytes.size();
}

void GgufWriter::end_tensor() {
  if (next_ == 0) return;
  const Declared& tensor = tensors_[next_ - 1];
  RPT_CHECK(written_ == tensor.payload, "tensor {}: {} bytes written of {}", tensor.name, written_, tensor.payload);
  const std::uint64_t tail = tensor.bytes - tensor.payload;
  file_.write_zeros(static_cast<std::size_t>(tail + padding(tensor.bytes, alignment_)));
}

const std::filesystem::path& GgufWriter::seal() {
  if (!sealed_) {
    if (!streaming_) write_records();
    end_tensor();
    RPT_CHECK(next_ == tensors_.size(), "{} tensors written of {}", next_, tensors_.size());
    sealed_ = true;
    file_.flush();
  }
  return file_.temporary_path();
}

void GgufWriter::commit() {
  seal();
  file_.commit();
}

}  // namespace rpt::io
