// SPDX-License-Identifier: MIT
#include "rpt/io/gguf_types.h"

#include <fmt/format.h>

#include <array>

#include "rpt/core/checked.h"

namespace rpt::io {
namespace {

using tensor::DType;

struct NamedType {
  std::uint32_t id;
  std::string_view name;
};

// Sources: ggml.h of llama.cpp, bitnet.cpp and ik_llama.cpp, which use some numbers differently.
constexpr std::array kGgmlTypes = {
    NamedType{0, "F32"},
    NamedType{1, "F16"},
    NamedType{2, "Q4_0"},
    NamedType{3, "Q4_1"},
    NamedType{4, "Q4_2, removed from ggml"},
    NamedType{5, "Q4_3, removed from ggml"},
    NamedType{6, "Q5_0"},
    NamedType{7, "Q5_1"},
    NamedType{8, "Q8_0"},
    NamedType{9, "Q8_1"},
    NamedType{10, "Q2_K"},
    NamedType{11, "Q3_K"},
    NamedType{12, "Q4_K"},
    NamedType{13, "Q5_K"},
    NamedType{14, "Q6_K"},
    NamedType{15, "Q8_K"},
    NamedType{16, "IQ2_XXS"},
    NamedType{17, "IQ2_XS"},
    NamedType{18, "IQ3_XXS"},
    NamedType{19, "IQ1_S"},
    NamedType{20, "IQ4_NL"},
    NamedType{21, "IQ3_S"},
    NamedType{22, "IQ2_S"},
    NamedType{23, "IQ4_XS"},
    NamedType{24, "I8"},
    NamedType{25, "I16"},
    NamedType{26, "I32"},
    NamedType{27, "I64"},
    NamedType{28, "F64"},
    NamedType{29, "IQ1_M"},
    NamedType{30, "BF16"},
    NamedType{31, "Q4_0_4_4, removed from ggml"},
    NamedType{32, "Q4_0_4_8, removed from ggml"},
    NamedType{33, "Q4_0_8_8, removed from ggml"},
    NamedType{34, "TQ1_0"},
    NamedType{35, "TQ2_0"},
    NamedType{36, "I2_S"},
    NamedType{37, "I8_S of bitnet.cpp, never in files"},
    NamedType{38, "TL1 of bitnet.cpp"},
    NamedType{39, "TL2 of bitnet.cpp or MXFP4 of llama.cpp"},
    NamedType{40, "NVFP4"},
    NamedType{41, "Q1_0"},
    NamedType{42, "Q2_0"},
    NamedType{133, "Q6_0 of ik_llama.cpp"},
    NamedType{134, "IQ1_BN of ik_llama.cpp"},
    NamedType{135, "IQ2_BN of ik_llama.cpp"},
    NamedType{137, "IQ2_K of ik_llama.cpp"},
    NamedType{138, "IQ3_K of ik_llama.cpp"},
    NamedType{139, "IQ4_K of ik_llama.cpp"},
    NamedType{140, "IQ5_K of ik_llama.cpp"},
    NamedType{141, "IQ6_K of ik_llama.cpp"},
    NamedType{335, "IQ2_BN_R4 of ik_llama.cpp"},
};

struct SupportedType {
  DType type;
  std::uint32_t id;
  std::int64_t block;          // elements that ne[0] must be a multiple of
  std::uint64_t block_bytes;   // bytes of one block
  std::uint64_t tensor_bytes;  // bytes of the tensor behind all blocks
};

constexpr std::array kSupported = {
    SupportedType{DType::f32, 0, 1, 4, 0},       SupportedType{DType::f16, 1, 1, 2, 0},
    SupportedType{DType::q4_0, 2, 32, 18, 0},    SupportedType{DType::q4_1, 3, 32, 20, 0},
    SupportedType{DType::q8_0, 8, 32, 34, 0},    SupportedType{DType::q6_k, 14, 256, 210, 0},
    SupportedType{DType::i8, 24, 1, 1, 0},       SupportedType{DType::i32, 26, 1, 4, 0},
    SupportedType{DType::i64, 27, 1, 8, 0},      SupportedType{DType::f64, 28, 1, 8, 0},
    SupportedType{DType::bf16, 30, 1, 2, 0},     SupportedType{DType::tq1_0, 34, 256, 54, 0},
    SupportedType{DType::tq2_0, 35, 256, 66, 0}, SupportedType{DType::i2_s, 36, 128, 32, 32},
};

const SupportedType* find_supported(DType type) {
  for (const auto& entry : kSupported) {
    if (entry.type == type) return &entry;
  }
  return nullptr;
}

}  // namespace

std::string name(GgufValueType type) {
  constexpr std::array<std::string_view, 13> kNames = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                       "bool", "string", "array", "u64", "i64", "f64"};
  const auto number = static_cast<std::uint32_t>(type);
  return number < kNames.size() ? std::string(kNames[number]) : fmt::format("type {}", number);
}

std::uint64_t value_size(GgufValueType type) {
  switch (type) {
    case GgufValueType::u8:
    case GgufValueType::i8:
    case GgufValueType::boolean:
      return 1;
    case GgufValueType::u16:
    case GgufValueType::i16:
      return 2;
    case GgufValueType::u32:
    case GgufValueType::i32:
    case GgufValueType::f32:
      return 4;
    case GgufValueType::u64:
    case GgufValueType::i64:
    case GgufValueType::f64:
      return 8;
    case GgufValueType::string:
    case GgufValueType::array:
      return 0;
  }
  return 0;
}

std::string_view ggml_type_name(std::uint32_t ggml_type) {
  for (const auto& entry : kGgmlTypes) {
    if (entry.id == ggml_type) return entry.name;
  }
  return "unknown";
}

std::optional<DType> dtype_of_ggml_type(std::uint32_t ggml_type) {
  for (const auto& entry : kSupported) {
    if (entry.id == ggml_type) return entry.type;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> ggml_type_of_dtype(DType type) {
  const auto* entry = find_supported(type);
  return entry == nullptr ? std::nullopt : std::optional(entry->id);
}

std::int64_t gguf_block(DType type) {
  const auto* entry = find_supported(type);
  return entry == nullptr ? 1 : entry->block;
}

std::optional<std::uint64_t> gguf_tensor_bytes(DType type, std::span<const std::int64_t> ne) {
  const auto* entry = find_supported(type);
  if (entry == nullptr) return std::nullopt;
  std::optional<std::uint64_t> elements = 1;
  for (const std::int64_t extent : ne) {
    elements = core::multiply(*elements, core::narrow<std::uint64_t>(extent));
    if (!elements) return std::nullopt;
  }
  const auto blocks = core::multiply(*elements / static_cast<std::uint64_t>(entry->block), entry->block_bytes);
  return blocks ? core::add(*blocks, entry->tensor_bytes) : std::nullopt;
}

}  // namespace rpt::io
