// SPDX-License-Identifier: MIT
#include <cstdint>
#include <span>

#include "rpt/core/error.h"
#include "rpt/io/safetensors.h"

namespace {

void use_file(std::span<const std::byte> bytes) {
  const auto file = rpt::io::SafetensorsFile::parse(bytes, "fuzz");
  std::uint64_t covered = 0;
  for (const auto& tensor : file.tensors()) {
    RPT_CHECK(file.find(tensor.name) == &tensor, "tensor found elsewhere");
    RPT_CHECK(tensor.offset + tensor.data.size() <= bytes.size(), "data outside of the file");
    RPT_CHECK(tensor.data.data() == bytes.data() + tensor.offset, "data not at the offset");
    RPT_CHECK(covered == 0 || tensor.offset == covered, "hole or overlap");
    std::int64_t elements = 1;
    for (const auto extent : tensor.shape) elements *= extent;
    RPT_CHECK(elements == tensor.elements(), "{} elements in a shape of {}", tensor.elements(), elements);
    covered = tensor.offset + tensor.data.size();
  }
}

void use_index(std::span<const std::byte> bytes) {
  for (const auto& [tensor, file] : rpt::io::parse_safetensors_index(bytes, "fuzz")) {
    RPT_CHECK(!file.empty() && file != ".." && file.find('/') == std::string::npos, "{} leaves the folder", file);
  }
}

}  // namespace

/// Any bytes as a safetensors file and as the index of a sharded one: refused with an rpt::Error, or read with every
/// promise kept.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    use_file(bytes);
  } catch (const rpt::Error&) {
  }
  try {
    use_index(bytes);
  } catch (const rpt::Error&) {
  }
  return 0;
}
