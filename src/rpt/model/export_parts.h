// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "rpt/model/export.h"
#include "rpt/tensor/view.h"

/// What the writers of both formats share.
namespace rpt::model {

/// Receives the bytes of one row.
using RowSink = std::function<void(std::span<const std::byte>)>;

/// Throws ConfigError naming the tensor where `type` (f16 for tq1_0 and tq2_0) cannot hold the scale exactly, unless
/// lossy.
void require_exact_scale(const std::string& tensor, float scale, tensor::DType type, const ExportOptions& options);

/// The value as `type` (f32, f16 or bf16) stores it, widened again.
float round_to(float value, tensor::DType type);

/// Gives out dense weights row by row as `type` (f32, f16 or bf16), as the forward reads them; with `rope_pairs` the
/// rows of each head of that size in pairs (row_order.h).
void write_float_rows(const DenseWeight& weight, tensor::DType type, std::int64_t rope_pairs, const RowSink& sink);

/// Gives out rows as they are, in pairs as above. Sizes: bytes of `rows` rows of equal length.
void write_stored_rows(std::span<const std::byte> bytes, std::int64_t rows, std::int64_t rope_pairs,
                       const RowSink& sink);

/// Gives out codes row by row as 0 and ±scale in `type` (f32, f16 or bf16).
void write_code_rows(const tensor::PackedTernaryView& codes, tensor::DType type, const RowSink& sink);

/// Appends floats as `type` (f32, f16 or bf16), little endian.
void append_as(std::span<const float> values, tensor::DType type, std::vector<std::byte>& out);

}  // namespace rpt::model
