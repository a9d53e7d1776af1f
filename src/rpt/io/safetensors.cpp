// SPDX-License-Identifier: MIT
#include "rpt/io/safetensors.h"

#include <algorithm>
#include <utility>

#include "rpt/core/checked.h"
#include "rpt/io/byte_reader.h"
#include "rpt/io/name_index.h"
#include "rpt/io/safetensors_header.h"

namespace rpt::io {
namespace {

using tensor::DType;

std::string tensor_place(std::string_view tensor) {
  return fmt::format("tensor {}", printable(tensor));
}

/// Checks one record of the header by itself: known dtype, lengths that agree with the shape. `data_start` is the
/// offset in the file of the first byte of data, `data` all of them.
SafetensorsTensor read_tensor(SafetensorsRecord& record, const std::string& file, std::uint64_t data_start,
                              std::span<const std::byte> data) {
  const auto fail = [&](const std::string& expected, const std::string& found) {
    throw FormatError(file, kSafetensorsHeaderStart, tensor_place(record.name), expected, found);
  };
  const auto type = dtype_of_safetensors(record.dtype);
  if (!type) {
    fail("dtype F64, F32, F16, BF16, I64, I32, I8 or U8", printable(record.dtype));
  }
  std::optional<std::uint64_t> bytes = static_cast<std::uint64_t>(tensor::element_size(*type));
  for (const std::int64_t extent : record.shape) {
    bytes = core::multiply(*bytes, static_cast<std::uint64_t>(extent));
    // An extent of 0 further on would bring any product down to 0: users multiply shapes as int64.
    if (!bytes || !std::in_range<std::int64_t>(*bytes))
      fail("a shape whose bytes fit in 63 bits", fmt::format("[{}]", fmt::join(record.shape, ", ")));
  }
  if (record.begin > record.end || record.end - record.begin != *bytes) {
    fail(fmt::format("data_offsets of {} bytes for {} [{}]", *bytes, record.dtype, fmt::join(record.shape, ", ")),
         fmt::format("[{}, {}]", record.begin, record.end));
  }
  if (record.end > data.size()) {
    fail(fmt::format("data_offsets inside the {} bytes of data", data.size()),
         fmt::format("[{}, {}]", record.begin, record.end));
  }
  return {std::move(record.name), *type, std::move(record.shape), data_start + record.begin,
          data.subspan(static_cast<std::size_t>(record.begin), static_cast<std::size_t>(*bytes))};
}

/// The format demands that the tensors cover the data exactly, without overlap or hole.
void check_coverage(const std::vector<SafetensorsTensor>& tensors, const std::string& file, std::uint64_t data_start,
                    std::uint64_t file_size) {
  std::uint64_t covered = data_start;
  for (const auto& tensor : tensors) {
    if (tensor.offset != covered) {
      throw FormatError(file, tensor.offset, tensor_place(tensor.name),
                        fmt::format("data from offset {}, where the tensor before it ends", covered),
                        fmt::format("{} of {} bytes", tensor.offset > covered ? "a hole" : "an overlap",
                                    tensor.offset > covered ? tensor.offset - covered : covered - tensor.offset));
    }
    covered += tensor.data.size();
  }
  if (covered != file_size) {
    throw FormatError(file, covered, "end of data", "the end of the file",
                      fmt::format("{} bytes that belong to no tensor", file_size - covered));
  }
}

}  // namespace

std::int64_t SafetensorsTensor::elements() const {
  return static_cast<std::int64_t>(data.size()) / tensor::element_size(type);
}

bool SafetensorsTensor::aligned() const {
  return reinterpret_cast<std::uintptr_t>(data.data()) % static_cast<std::uintptr_t>(tensor::element_size(type)) == 0;
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile file;
  file.name_ = path.string();
  file.mapping_ = MappedFile(path);
  file.read(file.mapping_.bytes());
  return file;
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, std::string name) {
  SafetensorsFile file;
  file.name_ = std::move(name);
  file.read(bytes);
  return file;
}

void SafetensorsFile::read(std::span<const std::byte> bytes) {
  ByteReader reader(bytes, name_);
  const std::string_view text = reader.string("header", kHeaderLimit);
  SafetensorsHeader header = parse_safetensors_header(text, name_);
  const std::uint64_t data_start = reader.offset();
  const auto data = reader.bytes(reader.remaining(), "data");

  tensors_.reserve(header.records.size());
  for (auto& record : header.records) tensors_.push_back(read_tensor(record, name_, data_start, data));
  // Tensors without elements begin where another one does: they come first.
  std::stable_sort(tensors_.begin(), tensors_.end(), [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    return std::pair(a.offset, a.data.size()) < std::pair(b.offset, b.data.size());
  });
  check_coverage(tensors_, name_, data_start, bytes.size());
  by_name_ = index_by_name(tensors_, &SafetensorsTensor::name);
  if (const auto* twice = find_duplicate(tensors_, by_name_, &SafetensorsTensor::name)) {
    throw FormatError(name_, kSafetensorsHeaderStart, tensor_place(twice->name), "every tensor once",
                      "a second one of this name");
  }
  metadata_ = std::move(header.metadata);
}

const SafetensorsTensor* SafetensorsFile::find(std::string_view tensor) const {
  return find_by_name(tensors_, by_name_, &SafetensorsTensor::name, tensor);
}

}  // namespace rpt::io
