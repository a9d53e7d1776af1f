// SPDX-License-Identifier: MIT
#include <cstdint>
#include <span>

#include "rpt/core/error.h"
#include "rpt/io/gguf.h"

namespace {

/// Calls a getter; a refusal is fine.
template <typename Getter>
void attempt(Getter getter) {
  try {
    getter();
  } catch (const rpt::FormatError&) {
  }
}

void use_keys(const rpt::io::GgufFile& file) {
  for (const auto& entry : file.entries()) {
    const auto key = entry.key;
    RPT_CHECK(file.find(key) == &entry, "key found elsewhere");
    attempt([&] { file.get_u32(key); });
    attempt([&] { file.get_u64(key); });
    attempt([&] { file.get_i64(key); });
    attempt([&] { file.get_f32(key); });
    attempt([&] { file.get_bool(key); });
    attempt([&] { file.get_string(key); });
    attempt([&] { RPT_CHECK(file.get_strings(key).size() == entry.count, "texts lost"); });
    attempt([&] { RPT_CHECK(file.get_i32s(key).size() == entry.count, "integers lost"); });
    attempt([&] { RPT_CHECK(file.get_f32s(key).size() == entry.count, "floats lost"); });
  }
}

void use_tensors(const rpt::io::GgufFile& file, std::span<const std::byte> bytes) {
  const std::byte* free = bytes.data();
  for (const auto& tensor : file.tensors()) {
    RPT_CHECK(file.find_tensor(tensor.name) == &tensor, "tensor found elsewhere");
    RPT_CHECK(tensor.elements() > 0 && !tensor.data.empty(), "tensor without data");
    RPT_CHECK(tensor.data.data() == bytes.data() + tensor.offset, "data not at the offset");
    RPT_CHECK(tensor.data.data() >= free, "data overlap");
    free = tensor.data.data() + tensor.data.size();
    RPT_CHECK(free <= bytes.data() + bytes.size(), "data outside of the file");
  }
}

}  // namespace

/// Any bytes as a GGUF file: refused with an rpt::Error, or read with every promise of GgufFile kept.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = rpt::io::GgufFile::parse(bytes, "fuzz");
    use_keys(file);
    use_tensors(file, bytes);
  } catch (const rpt::Error&) {
  }
  return 0;
}
