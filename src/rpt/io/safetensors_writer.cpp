// SPDX-License-Identifier: MIT
#include "rpt/io/safetensors_writer.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "rpt/core/checked.h"
#include "rpt/core/error.h"
#include "rpt/io/safetensors_header.h"

namespace rpt::io {

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& target) : file_(target) {}

void SafetensorsWriter::set_metadata(const std::string& key, const std::string& value) {
  RPT_CHECK(data_start_ == 0, "metadata {} after the first tensor's data", key);
  metadata_[key] = value;
}

void SafetensorsWriter::declare(const std::string& name, tensor::DType type, std::vector<std::int64_t> shape) {
  RPT_CHECK(data_start_ == 0, "tensor {} declared after the first tensor's data", name);
  if (!safetensors_dtype(type)) {
    throw ConfigError(fmt::format("tensor {}: safetensors has no dtype for {}", name, tensor::name(type)));
  }
  const auto element = static_cast<std::uint64_t>(tensor::element_size(type));
  std::optional<std::uint64_t> bytes = element;
  for (const std::int64_t extent : shape) {
    RPT_CHECK(extent >= 0, "tensor {} [{}]", name, fmt::join(shape, ", "));
    bytes = core::multiply(*bytes, static_cast<std::uint64_t>(extent));
    if (!bytes) throw ShapeError(fmt::format("tensor {}: its size does not fit in 64 bits", name));
  }
  const std::uint64_t begin = tensors_.empty() ? 0 : tensors_.back().end;
  const auto end = core::add(begin, *bytes);
  if (!end) throw ShapeError(fmt::format("tensor {}: the file's size does not fit in 64 bits", name));
  if (begin % element != 0) {
    throw ShapeError(
        fmt::format("tensor {}: its data would begin at offset {}, no multiple of {}; declare wider types first", name,
                    begin, element));
  }
  RPT_CHECK(name != "__metadata__" && names_.insert(name).second, "tensor {} twice or reserved", name);
  tensors_.push_back({name, type, std::move(shape), begin, *end});
}

void SafetensorsWriter::write_header() {
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata_;
  for (const Declared& tensor : tensors_) {
    header[tensor.name] = {{"dtype", *safetensors_dtype(tensor.type)},
                           {"shape", tensor.shape},
                           {"data_offsets", {tensor.begin, tensor.end}}};
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {  // the one that dump() throws is about the encoding
    throw ConfigError("a tensor's name or a metadata text is no valid UTF-8");
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  file_.write(&length, sizeof length);
  file_.write(text);
  data_start_ = file_.position();
}

void SafetensorsWriter::begin_tensor(std::string_view name) {
  if (data_start_ == 0) write_header();
  check_tensor_complete();
  RPT_CHECK(next_ < tensors_.size(), "tensor {} after the last one declared", name);
  RPT_CHECK(tensors_[next_].name == name, "tensor {} begun, {} declared", name, tensors_[next_].name);
  ++next_;
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  RPT_CHECK(next_ > 0, "data without a tensor");
  const Declared& tensor = tensors_[next_ - 1];
  const std::uint64_t written = file_.position() - data_start_;
  RPT_CHECK(bytes.size() <= tensor.end - written, "tensor {}: {} bytes behind {} of {}", tensor.name, bytes.size(),
            written - tensor.begin, tensor.end - tensor.begin);
  file_.write(bytes.data(), bytes.size());
}

void SafetensorsWriter::check_tensor_complete() const {
  if (next_ == 0) return;
  const Declared& tensor = tensors_[next_ - 1];
  const std::uint64_t written = file_.position() - data_start_;
  RPT_CHECK(written == tensor.end, "tensor {}: {} bytes written of {}", tensor.name, written - tensor.begin,
            tensor.end - tensor.begin);
}

const std::filesystem::path& SafetensorsWriter::seal() {
  if (data_start_ == 0) write_header();
  check_tensor_complete();
  RPT_CHECK(next_ == tensors_.size(), "{} tensors written of {}", next_, tensors_.size());
  file_.flush();
  return file_.temporary_path();
}

void SafetensorsWriter::commit() {
  seal();
  file_.commit();
}

}  // namespace rpt::io
