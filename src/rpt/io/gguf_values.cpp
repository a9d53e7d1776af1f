// SPDX-License-Identifier: MIT
#include <utility>

#include "rpt/io/gguf.h"

// The getters of GgufFile: values are decoded here, when they are asked for.
namespace rpt::io {
namespace {

/// "u32", "array of string".
std::string type_of(const GgufEntry& entry) {
  return entry.type == GgufValueType::array ? "array of " + name(entry.element_type) : name(entry.type);
}

bool is_integer(GgufValueType type) {
  switch (type) {
    case GgufValueType::u8:
    case GgufValueType::i8:
    case GgufValueType::u16:
    case GgufValueType::i16:
    case GgufValueType::u32:
    case GgufValueType::i32:
    case GgufValueType::u64:
    case GgufValueType::i64:
      return true;
    default:
      return false;
  }
}

/// An integer of the file: every one of them is either an int64 or, where that is too small, a uint64.
struct Integer {
  bool is_unsigned;
  std::uint64_t bits;

  template <typename To>
  std::optional<To> as() const {
    const auto as_signed = static_cast<std::int64_t>(bits);
    if (is_unsigned ? !std::in_range<To>(bits) : !std::in_range<To>(as_signed)) return std::nullopt;
    return static_cast<To>(bits);
  }
  std::string text() const {
    return is_unsigned ? fmt::format("{}", bits) : fmt::format("{}", static_cast<std::int64_t>(bits));
  }
};

template <typename T>
Integer widen(const std::byte* from) {
  return {std::is_unsigned_v<T>, static_cast<std::uint64_t>(load<T>(from))};
}

/// Sizes: `type` is an integer type.
Integer load_integer(GgufValueType type, const std::byte* from) {
  switch (type) {
    case GgufValueType::u8:
      return widen<std::uint8_t>(from);
    case GgufValueType::i8:
      return widen<std::int8_t>(from);
    case GgufValueType::u16:
      return widen<std::uint16_t>(from);
    case GgufValueType::i16:
      return widen<std::int16_t>(from);
    case GgufValueType::u32:
      return widen<std::uint32_t>(from);
    case GgufValueType::i32:
      return widen<std::int32_t>(from);
    case GgufValueType::i64:
      return widen<std::int64_t>(from);
    default:
      return widen<std::uint64_t>(from);
  }
}

template <typename T>
std::optional<T> find_integer(const GgufFile& file, std::string_view key, const char* wanted) {
  const auto* entry = file.find(key);
  if (entry == nullptr) return std::nullopt;
  if (!is_integer(entry->type)) file.fail_key(key, "an integer", type_of(*entry));
  const Integer value = load_integer(entry->type, entry->data.data());
  const auto result = value.as<T>();
  if (!result) file.fail_key(key, wanted, value.text());
  return result;
}

/// The entry of an array with elements of a kind, or nullptr where the key is missing.
template <typename IsKind>
const GgufEntry* find_array(const GgufFile& file, std::string_view key, IsKind is_kind, const char* wanted) {
  const auto* entry = file.find(key);
  if (entry != nullptr && (entry->type != GgufValueType::array || !is_kind(entry->element_type))) {
    file.fail_key(key, wanted, type_of(*entry));
  }
  return entry;
}

/// The entry of a plain value of one type, or nullptr where the key is missing.
const GgufEntry* find_scalar(const GgufFile& file, std::string_view key, GgufValueType type) {
  const auto* entry = file.find(key);
  if (entry != nullptr && entry->type != type) file.fail_key(key, name(type), type_of(*entry));
  return entry;
}

}  // namespace

std::optional<std::uint32_t> GgufFile::find_u32(std::string_view key) const {
  return find_integer<std::uint32_t>(*this, key, "an integer from 0 to 2^32 - 1");
}

std::optional<std::uint64_t> GgufFile::find_u64(std::string_view key) const {
  return find_integer<std::uint64_t>(*this, key, "an integer from 0 to 2^64 - 1");
}

std::optional<std::int64_t> GgufFile::find_i64(std::string_view key) const {
  return find_integer<std::int64_t>(*this, key, "an integer from -2^63 to 2^63 - 1");
}

std::optional<float> GgufFile::find_f32(std::string_view key) const {
  const auto* entry = find_scalar(*this, key, GgufValueType::f32);
  if (entry == nullptr) return std::nullopt;
  return load<float>(entry->data.data());
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  const auto* entry = find_scalar(*this, key, GgufValueType::boolean);
  if (entry == nullptr) return std::nullopt;
  const auto value = load<std::uint8_t>(entry->data.data());
  if (value > 1) fail_key(key, "a bool, 0 or 1", fmt::format("{}", value));
  return value == 1;
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const {
  const auto* entry = find_scalar(*this, key, GgufValueType::string);
  if (entry == nullptr) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(entry->data.data()), entry->data.size());
}

std::optional<std::vector<std::string_view>> GgufFile::find_strings(std::string_view key) const {
  const auto is_string = [](GgufValueType type) { return type == GgufValueType::string; };
  const auto* entry = find_array(*this, key, is_string, "array of string");
  if (entry == nullptr) return std::nullopt;
  ByteReader reader(entry->data, name_, entry->offset);
  std::vector<std::string_view> result(entry->count);
  for (auto& text : result) text = reader.string(key);
  return result;
}

std::optional<std::vector<std::int32_t>> GgufFile::find_i32s(std::string_view key) const {
  const auto* entry = find_array(*this, key, is_integer, "array of integers");
  if (entry == nullptr) return std::nullopt;
  std::vector<std::int32_t> result(entry->count);
  const std::byte* from = entry->data.data();
  for (auto& value : result) {
    const Integer integer = load_integer(entry->element_type, from);
    const auto fitting = integer.as<std::int32_t>();
    if (!fitting) fail_key(key, "integers from -2^31 to 2^31 - 1", integer.text());
    value = *fitting;
    from += value_size(entry->element_type);
  }
  return result;
}

std::optional<std::vector<float>> GgufFile::find_f32s(std::string_view key) const {
  const auto is_f32 = [](GgufValueType type) { return type == GgufValueType::f32; };
  const auto* entry = find_array(*this, key, is_f32, "array of f32");
  if (entry == nullptr) return std::nullopt;
  std::vector<float> result(entry->count);
  if (!result.empty()) std::memcpy(result.data(), entry->data.data(), entry->data.size());
  return result;
}

}  // namespace rpt::io
