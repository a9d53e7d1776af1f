// SPDX-License-Identifier: MIT
#include "rpt/model/backward.h"

#include <algorithm>
#include <cmath>

#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/core/random.h"
#include "rpt/kernels/isa.h"
#include "rpt/ternary/layouts.h"

namespace rpt::model {
namespace {

/// Rows that a thread converts at a time.
constexpr std::int64_t kRows = 32;

void for_rows(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  core::parallel_for(count, kRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

/// 1 / step of numbers that are at most `most`; 0 where that serves nothing.
float inverse_step(float most) {
  const float inverse = 127.0F / most;
  return most > 0 && std::isfinite(inverse) ? inverse : 0.0F;
}

/// The place of row i in an operand that reserve() made.
std::uint16_t* bf16_row(const tensor::Operand& x, std::int64_t i) {
  return static_cast<std::uint16_t*>(const_cast<void*>(x.data)) + i * x.stride;
}
std::int8_t* int8_row(const tensor::Operand& x, std::int64_t i) {
  return static_cast<std::int8_t*>(const_cast<void*>(x.data)) + i * x.stride;
}
float* float_row(const tensor::Operand& x, std::int64_t i) {
  return static_cast<float*>(const_cast<void*>(x.data)) + i * x.stride;
}

}  // namespace

std::string_view name(BackwardType type) {
  switch (type) {
    case BackwardType::int8:
      return "int8";
    case BackwardType::bf16:
      return "bf16";
    default:
      return "f32";
  }
}

BackwardType parse_backward_type(std::string_view text) {
  for (const BackwardType type : {BackwardType::f32, BackwardType::bf16, BackwardType::int8}) {
    if (text == name(type)) return type;
  }
  throw ConfigError(fmt::format("unknown type of backward products \"{}\"; there are int8, bf16, f32", text));
}

BackwardType runnable(BackwardType type) {
  if (type == BackwardType::int8 && !tensor::multiplies_int8()) {
    throw EnvironmentError(
        "a backward pass in int8 needs a processor with AVX-512 VNNI or AMX; there are bf16 and f32");
  }
  return type == BackwardType::bf16 && !tensor::multiplies_bf16() ? BackwardType::f32 : type;
}

bool attention_in_bf16(BackwardType type, std::int64_t head_size) {
  return type != BackwardType::f32 && kernels::active().multiplies_bf16 && head_size % 32 == 0;
}

BackwardWork::BackwardWork(BackwardType type) : type_(runnable(type)), dense_type_(runnable(BackwardType::bf16)) {}

void BackwardWork::begin_step(std::uint64_t seed, std::int64_t step) {
  seed_ = seed;
  step_ = step;
  calls_ = 0;
  head_is_rounded_ = false;
}

std::uint32_t BackwardWork::row_key(std::int64_t row) const {
  const auto step = static_cast<std::uint64_t>(step_);
  return core::philox4x32({static_cast<std::uint32_t>(row), calls_, static_cast<std::uint32_t>(step),
                           static_cast<std::uint32_t>(step >> 32)},
                          {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)})[0];
}

tensor::Operand BackwardWork::reserve(core::AlignedBuffer<float>& buffer, std::int64_t rows,
                                      std::int64_t columns) const {
  const tensor::DType stored = type() == BackwardType::int8   ? tensor::DType::i8
                               : type() == BackwardType::bf16 ? tensor::DType::bf16
                                                              : tensor::DType::f32;
  const auto bytes = static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) *
                     static_cast<std::size_t>(tensor::element_size(stored));
  buffer.reserve_scratch((bytes + sizeof(float) - 1) / sizeof(float));
  return {buffer.data(), stored, rows, columns, columns, false};
}

void BackwardWork::load_input(const tensor::QuantisedRows& x) {
  if (type() == BackwardType::int8) {
    input_ = {x.q.data(), tensor::DType::i8, x.rows, x.columns, x.stride, false};
    return;
  }
  input_ = reserve(input_values_, x.rows, x.columns);
  const auto& table = kernels::active();
  for_rows(x.rows, [&](std::int64_t t) {
    const std::int8_t* q = x.q.data() + t * x.stride;
    if (type() == BackwardType::bf16) {
      table.int8_to_bf16(q, x.columns, bf16_row(input_, t));
    } else {
      std::copy_n(q, x.columns, float_row(input_, t));
    }
  });
}

tensor::Operand BackwardWork::codes(const tensor::PackedTernaryView& weights) {
  const tensor::Operand out = reserve(code_values_, weights.rows, weights.columns);
  const auto& table = kernels::active();
  const bool bf16 = type() == BackwardType::bf16;
  const bool int8 = type() == BackwardType::int8;
  const bool direct = type() != BackwardType::f32 && weights.type == tensor::DType::i2_s;
  const std::int64_t row_bytes = (weights.columns + ternary::kI2sBlock - 1) / ternary::kI2sBlock * 32;
  core::parallel_for(weights.rows, kRows, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int8_t> codes(direct ? 0 : static_cast<std::size_t>(weights.columns));
    for (std::int64_t n = begin; n < end; ++n) {
      const std::uint8_t* packed = weights.data + n * row_bytes;
      if (direct && bf16) {
        table.ternary2_to_bf16(packed, weights.columns, bf16_row(out, n));
        continue;
      }
      if (direct) {
        table.ternary2_to_int8(packed, weights.columns, int8_row(out, n));
        continue;
      }
      ternary::unpack_row(weights, n, codes);
      if (int8) {
        std::copy(codes.begin(), codes.end(), int8_row(out, n));
      } else if (bf16) {
        table.int8_to_bf16(codes.data(), weights.columns, bf16_row(out, n));
      } else {
        std::copy(codes.begin(), codes.end(), float_row(out, n));
      }
    }
  });
  return out;
}

tensor::Operand BackwardWork::latents(const TernaryWeight& weight) {
  const tensor::StoredView& stored = weight.stored_latents();
  RPT_CHECK(stored.data != nullptr && stored.type == tensor::DType::bf16, "{}: no latents in bf16",
            weight.origin().tensor);
  const auto* bits = reinterpret_cast<const std::uint16_t*>(stored.data);
  if (type() == BackwardType::bf16) return tensor::operand(bits, stored.rows, stored.columns);
  const tensor::Operand out = reserve(code_values_, stored.rows, stored.columns);
  for_rows(stored.rows, [&](std::int64_t n) {
    const std::uint16_t* row = bits + n * stored.columns;
    std::transform(row, row + stored.columns, float_row(out, n), core::bf16_to_float);
  });
  return out;
}

BackwardWork::Gradient BackwardWork::rows(tensor::MatrixView dy, std::span<const float> factors) {
  RPT_CHECK(type() != BackwardType::int8 && std::cmp_equal(factors.size(), dy.rows), "{} factors", factors.size());
  const bool bf16 = type() == BackwardType::bf16;
  const Gradient out{bf16 ? reserve(gradient_values_, dy.rows, dy.columns) : tensor::operand(dy),
                     reserve(column_values_, dy.rows, dy.columns)};
  const auto& table = kernels::active();
  for_rows(dy.rows, [&](std::int64_t t) {
    const float factor = factors[static_cast<std::size_t>(t)];
    if (bf16) {
      table.gradient_to_bf16(dy.row(t), dy.columns, factor, bf16_row(out.plain, t), bf16_row(out.scaled, t));
    } else {
      std::transform(dy.row(t), dy.row(t) + dy.columns, float_row(out.scaled, t), [&](float v) { return v * factor; });
    }
  });
  return out;
}

void BackwardWork::find_column_steps(std::int64_t rows, std::int64_t part, std::int64_t columns,
                                     std::vector<float>& steps,
                                     const std::function<void(std::int64_t, float*)>& visit) {
  const auto count = static_cast<std::size_t>(columns);
  const std::int64_t parts = (rows + part - 1) / part;
  column_maxima_.reshape(parts, columns);
  core::parallel_for(parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      float* maxima = column_maxima_.view().row(p);
      std::fill_n(maxima, count, 0.0F);
      for (std::int64_t i = p * part; i < std::min((p + 1) * part, rows); ++i) visit(i, maxima);
    }
  });
  steps.assign(count, 0.0F);
  const auto& table = kernels::active();
  for (std::int64_t p = 0; p < parts; ++p) {
    table.gradient_maxima(column_maxima_.view().row(p), columns, 1.0F, steps.data());
  }
  column_inverses_.resize(count);
  for (std::size_t n = 0; n < count; ++n) {
    column_inverses_[n] = inverse_step(steps[n]);
    steps[n] /= 127.0F;
  }
}

void BackwardWork::find_steps(tensor::MatrixView dy, std::span<const float> factors) {
  row_steps_.resize(static_cast<std::size_t>(dy.rows));
  const auto& table = kernels::active();
  find_column_steps(dy.rows, kRows, dy.columns, column_steps_, [&](std::int64_t t, float* maxima) {
    const auto i = static_cast<std::size_t>(t);
    row_steps_[i] = table.gradient_maxima(dy.row(t), dy.columns, factors[i], maxima) / 127.0F;
  });
}

BackwardWork::Int8Gradient BackwardWork::int8_rows(tensor::MatrixView dy, std::span<const float> factors) {
  RPT_CHECK(type() == BackwardType::int8 && std::cmp_equal(factors.size(), dy.rows), "{} factors", factors.size());
  find_steps(dy, factors);
  const Int8Gradient out{reserve(gradient_values_, dy.rows, dy.columns), reserve(column_values_, dy.rows, dy.columns),
                         row_steps_, column_steps_};
  ++calls_;
  const auto& table = kernels::active();
  for_rows(dy.rows, [&](std::int64_t t) {
    kernels::GradientCodes a;
    a.x = dy.row(t);
    a.n = dy.columns;
    a.row_inverse = inverse_step(row_steps_[static_cast<std::size_t>(t)] * 127.0F);
    a.factor = factors[static_cast<std::size_t>(t)];
    a.column_inverse = column_inverses_.data();
    a.key = row_key(t);
    a.by_row = int8_row(out.row_codes, t);
    a.by_column = int8_row(out.column_codes, t);
    table.gradient_codes(a);
  });
  return out;
}

BackwardWork::Int8Head BackwardWork::int8_head(const tensor::StoredView& head) {
  RPT_CHECK(type() == BackwardType::int8, "a head in {}", name(type()));
  if (!head_is_rounded_) round_head(head);
  head_is_rounded_ = true;
  return {{head_codes_.data(), tensor::DType::i8, head.rows, head.columns, head.columns, false}, head_steps_};
}

void BackwardWork::round_head(const tensor::StoredView& head) {
  const auto columns = static_cast<std::size_t>(head.columns);
  const auto& table = kernels::active();
  constexpr std::int64_t kHeadRows = 1024;
  find_column_steps(head.rows, kHeadRows, head.columns, head_steps_, [&](std::int64_t v, float* maxima) {
    static thread_local std::vector<float> row;
    row.resize(columns);
    tensor::read_row(head, v, row, tensor::Bf16::exact);
    table.gradient_maxima(row.data(), head.columns, 1.0F, maxima);
  });
  head_codes_.reserve_scratch(static_cast<std::size_t>(head.rows) * columns);
  ++calls_;
  core::parallel_for(head.rows, kRows, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(columns);
    std::vector<std::int8_t> unused(columns);  // codes by row
    for (std::int64_t v = begin; v < end; ++v) {
      tensor::read_row(head, v, row, tensor::Bf16::exact);
      kernels::GradientCodes a;
      a.x = row.data();
      a.n = head.columns;
      a.factor = 1;
      a.column_inverse = column_inverses_.data();
      a.key = row_key(v);
      a.by_row = unused.data();
      a.by_column = head_codes_.data() + v * head.columns;
      table.gradient_codes(a);
    }
  });
}

}  // namespace rpt::model
