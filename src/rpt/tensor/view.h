// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/error.h"
#include "rpt/tensor/dtype.h"

namespace rpt::tensor {

/// Borrowed float activations x [T, I]: `rows` rows of `columns` values, `stride` elements apart.
template <typename T>
struct Matrix {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;

  Matrix() = default;
  Matrix(T* values, std::int64_t row_count, std::int64_t column_count)
      : Matrix(values, row_count, column_count, column_count) {}
  Matrix(T* values, std::int64_t row_count, std::int64_t column_count, std::int64_t row_stride)
      : data(values), rows(row_count), columns(column_count), stride(row_stride) {}
  /// A writable matrix is readable.
  operator Matrix<const T>() const { return {data, rows, columns, stride}; }
  T* row(std::int64_t i) const { return data + i * stride; }
  /// Rows [begin, end).
  Matrix slice(std::int64_t begin, std::int64_t end) const {
    return {data + begin * stride, end - begin, columns, stride};
  }
};

using MatrixView = Matrix<const float>;
using MutableMatrix = Matrix<float>;

/// Borrowed bytes of a stored tensor [rows, columns]: row-major, `columns` contiguous; a vector has rows = 1.
struct StoredView {
  const std::byte* data = nullptr;
  std::uint64_t bytes = 0;
  DType type = DType::f32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

/// Borrowed ternary weights [rows, columns] = [N, K]: codes in the layout of `type` and one scale.
struct PackedTernaryView {
  const std::uint8_t* data = nullptr;
  std::uint64_t bytes = 0;
  DType type = DType::i2_s;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  float scale = 0;
};

/// An owning float matrix [rows, columns], zeroed. Grows by reshape(), which loses the contents.
class Tensor {
 public:
  Tensor() = default;
  Tensor(std::int64_t rows, std::int64_t columns) { reshape(rows, columns); }
  void reshape(std::int64_t rows, std::int64_t columns) {
    RPT_CHECK(rows >= 0 && columns >= 0, "[{}, {}]", rows, columns);
    rows_ = rows;
    columns_ = columns;
    values_.reserve_scratch(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  float* data() { return values_.data(); }
  const float* data() const { return values_.data(); }
  MutableMatrix view() { return {values_.data(), rows_, columns_}; }
  MatrixView view() const { return {values_.data(), rows_, columns_}; }

 private:
  core::AlignedBuffer<float> values_;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
};

}  // namespace rpt::tensor
