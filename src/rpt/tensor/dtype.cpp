// SPDX-License-Identifier: MIT
#include "rpt/tensor/dtype.h"

namespace rpt::tensor {

std::string_view name(DType type) {
  switch (type) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
    case DType::u8:
      return "u8";
    case DType::i8:
      return "i8";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
    case DType::f64:
      return "f64";
    case DType::q8_0:
      return "q8_0";
    case DType::q4_0:
      return "q4_0";
    case DType::q4_1:
      return "q4_1";
    case DType::q6_k:
      return "q6_k";
    case DType::i2_s:
      return "i2_s";
    case DType::tq1_0:
      return "tq1_0";
    case DType::tq2_0:
      return "tq2_0";
    case DType::hf_packed:
      return "hf_packed";
  }
  return "?";
}

bool is_ternary(DType type) {
  return type == DType::i2_s || type == DType::tq1_0 || type == DType::tq2_0 || type == DType::hf_packed;
}

bool is_float(DType type) {
  return type == DType::f32 || type == DType::f16 || type == DType::bf16;
}

bool is_dense(DType type) {
  return is_float(type) || type == DType::q8_0 || type == DType::q4_0 || type == DType::q4_1 || type == DType::q6_k;
}

std::int64_t element_size(DType type) {
  switch (type) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::u8:
    case DType::i8:
      return 1;
    default:
      return 0;
  }
}

std::int64_t block_values(DType type) {
  if (type == DType::q6_k) return 256;
  return type == DType::q8_0 || type == DType::q4_0 || type == DType::q4_1 ? 32 : 1;
}

}  // namespace rpt::tensor
