// SPDX-License-Identifier: MIT
#include "rpt/io/gguf.h"

#include <limits>
#include <utility>

#include "rpt/core/checked.h"
#include "rpt/io/name_index.h"

namespace rpt::io {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;                  // "GGUF"
constexpr std::uint64_t kMinEntryBytes = 8 + 4 + 1;           // key length, type, the smallest value
constexpr std::uint64_t kMinTensorBytes = 8 + 4 + 8 + 4 + 8;  // name length, n_dims, one extent, type, offset
constexpr std::uint32_t kMaxDimensions = 4;

std::string key_place(std::string_view key) {
  return fmt::format("key {}", printable(key));
}
std::string tensor_place(std::string_view tensor) {
  return fmt::format("tensor {}", printable(tensor));
}

/// A count that the file announces of things that take at least `min_bytes` each: bounded by what is left of the file,
/// so that no announcement can make the reader allocate more than a small multiple of the file's size.
std::uint64_t read_count(ByteReader& reader, std::string_view place, std::uint64_t min_bytes) {
  const std::uint64_t at = reader.offset();
  const std::uint64_t count = reader.u64(place);
  const std::uint64_t limit = reader.remaining() / min_bytes;
  if (count > limit) {
    reader.fail_at(at, place, fmt::format("at most {} in the {} bytes that follow", limit, reader.remaining()),
                   fmt::format("{}", count));
  }
  return count;
}

GgufValueType read_value_type(ByteReader& reader, std::string_view place) {
  const std::uint64_t at = reader.offset();
  const std::uint32_t number = reader.u32(place);
  if (number > static_cast<std::uint32_t>(GgufValueType::f64)) {
    reader.fail_at(at, place, "a value type from 0 to 12", fmt::format("{}", number));
  }
  return static_cast<GgufValueType>(number);
}

/// Reads element type, count and elements of an array; strings are only stepped over.
void read_array(ByteReader& reader, std::string_view place, GgufEntry& entry) {
  const std::uint64_t at = reader.offset();
  entry.element_type = read_value_type(reader, place);
  if (entry.element_type == GgufValueType::array) {
    reader.fail_at(at, place, "an array of plain values or strings", "an array of arrays");
  }
  const bool strings = entry.element_type == GgufValueType::string;
  const std::uint64_t size = strings ? 8 : value_size(entry.element_type);
  entry.count = read_count(reader, place, size);
  entry.offset = reader.offset();
  if (!strings) {
    entry.data = reader.bytes(entry.count * size, place);
    return;
  }
  ByteReader start = reader;
  for (std::uint64_t i = 0; i < entry.count; ++i) reader.string(place);
  entry.data = start.bytes(reader.offset() - entry.offset, place);
}

std::vector<std::int64_t> read_extents(ByteReader& reader, std::string_view place) {
  const std::uint64_t at = reader.offset();
  const std::uint32_t dimensions = reader.u32(place);
  if (dimensions < 1 || dimensions > kMaxDimensions) {
    reader.fail_at(at, place, fmt::format("1 to {} dimensions", kMaxDimensions), fmt::format("{}", dimensions));
  }
  std::vector<std::int64_t> ne(dimensions);
  std::uint64_t elements = 1;
  for (auto& extent : ne) {
    const std::uint64_t extent_at = reader.offset();
    const std::uint64_t value = reader.u64(place);
    const auto product = core::multiply(elements, value);
    if (value == 0 || !product || *product > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      reader.fail_at(extent_at, place, "extents of at least 1 whose product is below 2^63", fmt::format("{}", value));
    }
    elements = *product;
    extent = static_cast<std::int64_t>(value);
  }
  return ne;
}

/// Reads one record but for its offset.
GgufTensor read_record(ByteReader& reader) {
  GgufTensor tensor;
  tensor.name = reader.string("tensor name");
  const std::string place = tensor_place(tensor.name);
  tensor.ne = read_extents(reader, place);
  const std::uint64_t type_at = reader.offset();
  const std::uint32_t number = reader.u32(place);
  const auto type = dtype_of_ggml_type(number);
  if (!type) {
    reader.fail_at(type_at, place, "a supported tensor type",
                   fmt::format("type {} ({})", number, ggml_type_name(number)));
  }
  tensor.type = *type;
  if (tensor.columns() % gguf_block(*type) != 0) {
    reader.fail_at(type_at, place, fmt::format("rows of a multiple of {} for {}", gguf_block(*type), name(*type)),
                   fmt::format("{} columns", tensor.columns()));
  }
  return tensor;
}

}  // namespace

std::int64_t GgufTensor::rows() const {
  std::int64_t rows = 1;
  for (std::size_t i = 1; i < ne.size(); ++i) rows *= ne[i];
  return rows;
}

GgufFile GgufFile::open(const std::filesystem::path& path) {
  GgufFile file;
  file.name_ = path.string();
  file.mapping_ = MappedFile(path);
  file.read(file.mapping_.bytes());
  return file;
}

GgufFile GgufFile::open_keys(const std::filesystem::path& path) {
  GgufFile file;
  file.name_ = path.string();
  file.mapping_ = MappedFile(path);
  file.read(file.mapping_.bytes(), Extent::keys);
  return file;
}

GgufFile GgufFile::open_cut(const std::filesystem::path& path) {
  GgufFile file;
  file.name_ = path.string();
  file.mapping_ = MappedFile(path);
  file.read(file.mapping_.bytes(), Extent::cut);
  return file;
}

GgufFile GgufFile::parse(std::span<const std::byte> bytes, std::string name) {
  GgufFile file;
  file.name_ = std::move(name);
  file.read(bytes);
  return file;
}

void GgufFile::read(std::span<const std::byte> bytes, Extent extent) {
  ByteReader reader(bytes, name_);
  read_header(reader);
  const std::uint64_t tensor_count = read_count(reader, "number of tensors", kMinTensorBytes);
  const std::uint64_t entry_count = read_count(reader, "number of keys", kMinEntryBytes);
  read_entries(reader, entry_count);
  read_alignment();
  if (extent == Extent::keys) return;
  read_tensors(reader, tensor_count);
  place_tensors(bytes, reader.offset(), extent == Extent::cut);
}

void GgufFile::read_header(ByteReader& reader) {
  if (const auto magic = reader.u32("magic"); magic != kMagic) {
    reader.fail_at(0, "magic", "0x46554747 (GGUF)", fmt::format("{:#010x}", magic));
  }
  version_ = reader.u32("version");
  // Version 2 is the same container; version 1 had 32-bit lengths.
  if (version_ == 2 || version_ == 3) return;
  const bool swapped = (version_ & 0xffffU) == 0 && version_ != 0;
  reader.fail_at(4, "version", "2 or 3, little endian",
                 fmt::format("{:#x}{}", version_, swapped ? ", a big-endian file" : ""));
}

void GgufFile::read_entries(ByteReader& reader, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) entries_.push_back(read_entry(reader));
  entries_by_key_ = index_by_name(entries_, &GgufEntry::key);
  if (const auto* entry = find_duplicate(entries_, entries_by_key_, &GgufEntry::key)) {
    reader.fail_at(entry->offset, key_place(entry->key), "every key once", "a second one of this name");
  }
}

GgufEntry GgufFile::read_entry(ByteReader& reader) {
  GgufEntry entry;
  entry.key = reader.string("key");
  const std::string place = key_place(entry.key);
  entry.type = entry.element_type = read_value_type(reader, place);
  if (entry.type == GgufValueType::array) {
    read_array(reader, place, entry);
  } else if (entry.type == GgufValueType::string) {
    const std::string_view text = reader.string(place);
    entry.data = std::as_bytes(std::span(text));
    entry.offset = reader.offset() - text.size();
  } else {
    entry.offset = reader.offset();
    entry.data = reader.bytes(value_size(entry.type), place);
  }
  return entry;
}

void GgufFile::read_alignment() {
  const std::string_view key = "general.alignment";
  const std::uint64_t value = find_u64(key).value_or(kGgufDefaultAlignment);
  if (!std::has_single_bit(value) || value < kGgufMinAlignment || value > kGgufMaxAlignment) {
    fail_key(key, fmt::format("a power of two from {} to {}", kGgufMinAlignment, kGgufMaxAlignment),
             fmt::format("{}", value));
  }
  alignment_ = static_cast<std::uint32_t>(value);
}

void GgufFile::read_tensors(ByteReader& reader, std::uint64_t count) {
  std::vector<std::uint64_t> starts;  // of the records
  std::uint64_t next_offset = 0;      // where the tensor must begin: behind the one before, padded
  for (std::uint64_t i = 0; i < count; ++i) {
    starts.push_back(reader.offset());
    GgufTensor tensor = read_record(reader);
    const std::string place = tensor_place(tensor.name);
    const std::uint64_t at = reader.offset();
    tensor.offset = reader.u64(place);  // relative to the data's start until place_tensors()
    if (tensor.offset % alignment_ != 0) {
      reader.fail_at(at, place, fmt::format("a data offset that is a multiple of {}", alignment_),
                     fmt::format("{}", tensor.offset));
    }
    if (tensor.offset != next_offset) {
      reader.fail_at(at, place, fmt::format("data offset {}, where the padded tensor before it ends", next_offset),
                     fmt::format("{}", tensor.offset));
    }
    const auto bytes = gguf_tensor_bytes(tensor.type, tensor.ne);
    const auto end = bytes ? core::add(next_offset, *bytes) : std::nullopt;
    const auto padded = end ? core::round_up(*end, alignment_) : std::nullopt;
    if (!padded) reader.fail_at(at, place, "data that end below 2^64", "larger extents");
    next_offset = *padded;
    tensors_.push_back(std::move(tensor));
  }
  tensors_by_name_ = index_by_name(tensors_, &GgufTensor::name);
  if (const auto* tensor = find_duplicate(tensors_, tensors_by_name_, &GgufTensor::name)) {
    const std::uint64_t at = starts[static_cast<std::size_t>(tensor - tensors_.data())];
    reader.fail_at(at, tensor_place(tensor->name), "every tensor once", "a second one of this name");
  }
}

void GgufFile::place_tensors(std::span<const std::byte> bytes, std::uint64_t records_end, bool may_be_cut) {
  const auto data_start = core::round_up(records_end, alignment_).value();  // records_end is at most the file's size
  for (auto& tensor : tensors_) {
    const std::uint64_t size = gguf_tensor_bytes(tensor.type, tensor.ne).value();  // was computed above
    const auto begin = core::add(data_start, tensor.offset);
    const auto end = begin ? core::add(*begin, size) : std::nullopt;
    if (end && *end > bytes.size() && may_be_cut) {
      missing_bytes_ = *end - bytes.size();  // tensors stand in file order: the last one's is the largest
      tensor.offset = *begin;
      continue;
    }
    if (!end || *end > bytes.size()) {
      throw FormatError(name_, begin.value_or(tensor.offset), tensor_place(tensor.name),
                        fmt::format("{} bytes of data", size), fmt::format("a file of {} bytes", bytes.size()));
    }
    tensor.offset = *begin;
    tensor.data = bytes.subspan(static_cast<std::size_t>(*begin), static_cast<std::size_t>(size));
  }
}

const GgufEntry* GgufFile::find(std::string_view key) const {
  return find_by_name(entries_, entries_by_key_, &GgufEntry::key, key);
}

const GgufTensor* GgufFile::find_tensor(std::string_view tensor) const {
  return find_by_name(tensors_, tensors_by_name_, &GgufTensor::name, tensor);
}

void GgufFile::fail_key(std::string_view key, const std::string& expected, const std::string& found) const {
  const auto* entry = find(key);
  throw FormatError(name_, entry != nullptr ? entry->offset : 0, key_place(key), expected, found);
}

void GgufFile::fail_tensor(std::string_view tensor, const std::string& expected, const std::string& found) const {
  const auto* record = find_tensor(tensor);
  throw FormatError(name_, record != nullptr ? record->offset : 0, tensor_place(tensor), expected, found);
}

}  // namespace rpt::io
