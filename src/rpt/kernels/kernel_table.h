// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

/// The kernels of rpt: functions of pointers and sizes, noexcept, without allocation, tensors or files. Every entry is
/// documented here once; kernels/reference implements all of them literally and is the definition, the folders of the
/// other instruction sets override entries and give the same bits.
///
/// Letters: T tokens (rows of activations), N outputs (rows of weights), K inputs, D size of a head.
/// "Lanes": a reduction over n elements uses 16 accumulators that begin at +0; lane i takes elements i, i+16, i+32, …
/// in order; then lanes are added as a tree, lane i + lane i+8 (i < 8), i + i+4 (i < 4), i + i+2 (i < 2), 0 + 1. Where
/// n is no multiple of 16 the last lanes just take one element less. Source of all formulas: docs/forward.md.
namespace rpt::kernels {

/// Arguments of the ternary products: acc[t * acc_stride + n] = Σ_k code(n, k) · q[t * q_stride + k], codes −1, 0, +1,
/// exact in int32, for n in [n_begin, n_end) and t in [0, T); other places of acc are left alone. The 2-bit layouts
/// leave one value of code + 1 unused: 3 counts as code +2.
struct TernaryGemm {
  const std::uint8_t* weights = nullptr;  ///< the whole tensor, in the layout of the entry
  std::int64_t rows = 0;                  ///< N of the whole tensor
  std::int64_t columns = 0;               ///< K, at least 1
  std::int64_t n_begin = 0;               ///< first row to compute
  std::int64_t n_end = 0;                 ///< one past the last row to compute
  const std::int8_t* q = nullptr;         ///< [T, q_stride]; zeros from K to the next multiple of 128
  std::int64_t q_stride = 0;              ///< at least K rounded up to 128
  const std::int32_t* q_sum = nullptr;    ///< [T] Σ_k q of each token
  std::int64_t tokens = 0;                ///< T
  std::int32_t* acc = nullptr;            ///< [T, acc_stride]
  std::int64_t acc_stride = 0;            ///< at least N
};

/// Arguments of the products with float activations: y[t * y_stride + n] = Σ_k w(n, k) · x[t * x_stride + k] for n in
/// [n_begin, n_end), each dot in lanes with fma.
struct FloatGemm {
  const void* weights = nullptr;  ///< row n begins at n * row_stride elements
  std::int64_t row_stride = 0;    ///< elements from row to row, at least K
  std::int64_t columns = 0;       ///< K
  std::int64_t n_begin = 0;
  std::int64_t n_end = 0;
  const float* x = nullptr;  ///< [T, x_stride]
  std::int64_t x_stride = 0;
  std::int64_t tokens = 0;  ///< T
  float* y = nullptr;       ///< [T, y_stride]
  std::int64_t y_stride = 0;
};

/// Columns of a panel, the right operand of a product in bytes: term k of column c stands at byte
/// 4 · (64 · (k / 4) + c) + k % 4, so that four neighbours of a sum are one dword.
constexpr std::int64_t kPanelColumns = 64;

/// Arguments of multiply_panel. Term k of row i of q stands at i · q_stride + k / 4 · q_step + k % 4.
struct PanelProduct {
  const std::int8_t* q = nullptr;
  std::int64_t q_stride = 0;
  std::int64_t q_step = 4;  ///< 4 · kPanelColumns where q is a panel itself, whose columns are the rows
  std::int64_t rows = 0;
  std::int64_t terms = 0;               ///< as TernaryGemm::columns
  const std::uint8_t* panel = nullptr;  ///< as pack_ternary2_panel or pack_int8_panel leave it
  std::int32_t offset = 1;              ///< by so much the panel's bytes are larger than what they stand for
  bool accumulate = false;              ///< added to y
  const std::int32_t* q_sum = nullptr;  ///< [rows] Σ_k q of each row
  const float* factors = nullptr;       ///< [rows]
  float* y = nullptr;                   ///< [rows, columns], rows y_stride apart; written
  std::int64_t y_stride = 0;
  std::int64_t columns = 0;  ///< 1 … 64
};

/// Arguments of pack_int8_panel.
struct Int8Panel {
  const std::int8_t* from = nullptr;  ///< [terms, columns], rows `stride` apart
  std::int64_t stride = 0;
  std::int64_t terms = 0;
  std::int64_t columns = 0;      ///< 1 … 64; further ones of the panel are unspecified
  bool plus_128 = false;         ///< bytes are the numbers + 128, as a right operand wants them
  std::uint8_t* out = nullptr;   ///< aligned to 64 bytes; terms are rounded up to 4, with numbers 0
  std::int32_t* sums = nullptr;  ///< [64] Σ_k of each column, without the 128
};

/// One query of attention over the keys 0 … keys−1 (those it may see).
struct AttentionQuery {
  const float* query = nullptr;  ///< [D]
  float* out = nullptr;          ///< [D]
  std::int64_t keys = 0;         ///< at least 1
};

/// Arguments of attention for queries that share their keys and values: those of several positions, and of the heads
/// of a group. No query changes a bit of another one.
struct AttentionHead {
  const AttentionQuery* queries = nullptr;
  std::int64_t count = 0;                ///< queries
  const std::uint16_t* key = nullptr;    ///< f16, position j at j * stride elements
  const std::uint16_t* value = nullptr;  ///< f16, position j at j * stride elements
  std::int64_t stride = 0;               ///< elements from position to position
  std::int64_t head_size = 0;            ///< D
  float scale = 0;                       ///< c = float(1/sqrt(double(D)))
};

/// Arguments of the backward pass of attention: the query heads that share a key/value head, over one whole sequence
/// that begins at position 0.
struct AttentionBackward {
  const float* query = nullptr;  ///< after rope; head h of position t at t * query_stride + h * D, as dout, dquery
  const float* dout = nullptr;   ///< the gradient of what attention_head gave
  float* dquery = nullptr;       ///< written
  std::int64_t query_stride = 0;
  const float* key = nullptr;  ///< [T, D], widened from f16
  const float* value = nullptr;
  float* dkey = nullptr;  ///< added to; position j at j * key_grad_stride elements, as dvalue
  float* dvalue = nullptr;
  std::int64_t key_grad_stride = 0;
  std::int64_t heads = 1;      ///< query heads
  std::int64_t positions = 0;  ///< T
  std::int64_t head_size = 0;  ///< D
  float scale = 0;             ///< c = float(1/sqrt(double(D)))
  float* scratch = nullptr;    ///< attention_backward_scratch(T, D, heads, bf16) floats
};

/// Positions that attention_backward takes at once.
constexpr std::int64_t kAttentionBackwardQueries = 16;

/// Floats of scratch space that attention_backward, or attention_backward_bf16, needs for T positions and heads of size
/// D.
constexpr std::int64_t attention_backward_scratch(std::int64_t positions, std::int64_t head_size, std::int64_t heads,
                                                  bool bf16) {
  const std::int64_t columns = kAttentionBackwardQueries * heads;
  if (!bf16) return columns * (4 * head_size + 2 * positions);
  const std::int64_t pairs = (positions + 1) / 2;
  return columns * (head_size * 5 / 2 + 3 * positions + pairs) + (positions * head_size / 2 + pairs * head_size);
}

/// Arguments of one step of AdamW over n weights. Formula: g' = g·clip; m = β1·m + (1−β1)·g'; v = β2·v + (1−β2)·g'²;
/// w = w·keep − rate·m / (sqrt(v)·root + eps), where keep = 1 − lr·decay, rate = lr / (1 − β1^t) and root =
/// 1 / sqrt(1 − β2^t). Source: Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019.
struct AdamwStep {
  float* weight = nullptr;
  const float* gradient = nullptr;
  float* m = nullptr;
  float* v = nullptr;
  std::int64_t n = 0;
  float clip = 1;
  float beta1 = 0;
  float beta2 = 0;
  float keep = 1;
  float rate = 0;
  float root = 1;
  float eps = 0;
};

/// Largest value and Σ exp(x − largest) of one block of logits.
struct BlockSum {
  float maximum = 0;
  float sum = 0;
};

/// One row of a gradient, rounded to int8 for the two products of an int8 backward pass.
struct GradientCodes {
  const float* x = nullptr;  ///< [n]
  std::int64_t n = 0;
  float row_inverse = 0;                  ///< 1 / step of the row, 0 where the row is all zero
  float factor = 0;                       ///< of the row, in by_column
  const float* column_inverse = nullptr;  ///< [n] 1 / step of each column
  std::uint32_t key = 0;                  ///< of the row's random numbers
  std::int8_t* by_row = nullptr;          ///< [n]
  std::int8_t* by_column = nullptr;       ///< [n]
};

struct KernelTable {
  /// The instruction set whose folder filled the table last ("reference", "avx2", "avx512").
  const char* name = nullptr;
  /// Whether exact integer products of a library may stand in for gemm_ternary2_int8 with many tokens. Where a set is
  /// forced below what the processor has, they may not: its own products are to run.
  bool library_products = false;
  /// Whether multiply_panel is as fast as the library's product where there is no AMX.
  bool panels = false;

  // ---- ternary products -------------------------------------------------------------------------------------------

  /// I2_S layout: rows of ceil(K/128) blocks of 32 bytes; of block b, weight j (0 ≤ j < 128) stands in byte j % 32 at
  /// shift 6 − 2·(j / 32) as code + 1. Weights past K in the last block meet zeros in q.
  void (*gemm_ternary2_int8)(const TernaryGemm& a) noexcept = nullptr;
  /// TQ2_0 layout: K a multiple of 256; row of K/256 blocks of 66 bytes {qs[64], f16 d}; of half h (0, 1) weight j of
  /// 128 stands in qs[32h + j % 32] at shift 2·(j / 32) as code + 1. d is not read.
  void (*gemm_tq2_int8)(const TernaryGemm& a) noexcept = nullptr;
  /// TQ1_0 layout: K a multiple of 256; row of K/256 blocks of 54 bytes {qs[48], qh[4], f16 d}. Trit k of byte v is
  /// ((v·3^k mod 256)·3) >> 8 = code + 1: weight 32k + m (k < 5, m < 32) in qs[m], weight 160 + 16k + m (k < 5, m < 16)
  /// in qs[32 + m], weight 240 + 4k + j (k < 4, j < 4) in qh[j]. d is not read.
  void (*gemm_tq1_int8)(const TernaryGemm& a) noexcept = nullptr;
  /// Hugging Face layout: N a multiple of 4, any K; uint8 [N/4, K], weight (n, k) stands in byte (n % (N/4), k) at
  /// shift 2·(n / (N/4)) as code + 1.
  void (*gemm_hf2_int8)(const TernaryGemm& a) noexcept = nullptr;

  // ---- exact products of int8 with ternary codes or int8, for many rows, by panels --------------------------------

  /// A panel whose columns are `rows` (1 … 64) rows of K = `columns` codes in the I2_S layout: its bytes are code + 1.
  /// K is rounded up to 128, weights past it are as they stand; other columns of the panel are unspecified. `out` is
  /// aligned to 64 bytes.
  void (*pack_ternary2_panel)(const std::uint8_t* weights, std::int64_t rows, std::int64_t columns,
                              std::uint8_t* out) noexcept = nullptr;
  /// A panel of int8 numbers, or of those numbers + 128, with the sums of its columns.
  void (*pack_int8_panel)(const Int8Panel& a) noexcept = nullptr;
  /// Σ q.
  std::int32_t (*sum_int8)(const std::int8_t* q, std::int64_t n) noexcept = nullptr;
  /// y_ic = float(Σ_k q_ik · (panel_kc − offset)) · factors_i, or added to y. Sums exact.
  void (*multiply_panel)(const PanelProduct& a) noexcept = nullptr;

  // ---- products with float activations ----------------------------------------------------------------------------

  /// Weights float.
  void (*gemm_f32_f32)(const FloatGemm& a) noexcept = nullptr;
  /// Weights IEEE binary16, widened.
  void (*gemm_f16_f32)(const FloatGemm& a) noexcept = nullptr;
  /// Weights bfloat16, each rounded to binary16 (half to even, subnormals kept) and widened.
  void (*gemm_bf16_f32)(const FloatGemm& a) noexcept = nullptr;

  // ---- rows -------------------------------------------------------------------------------------------------------

  /// r = 1 / sqrt(Σx² / float(n) + eps), Σ in lanes with fma(x, x, lane); y_i = (x_i · r) · gain_i. y may be x.
  /// Returns r: 0 where the sum overflows, NaN where an x_i is NaN.
  float (*rms_norm)(const float* x, const float* gain, std::int64_t n, float eps, float* y) noexcept = nullptr;
  /// a = max(max|x|, 1e-5); q_i = clamp(rhe(x_i · (127 / a)), −128, 127), rhe = round half to even; *q_sum = Σ q_i.
  /// Returns a. Where an x_i is infinite or NaN the returned a is not finite and q is unspecified.
  float (*quantize_int8)(const float* x, std::int64_t n, std::int8_t* q, std::int32_t* q_sum) noexcept = nullptr;
  /// y_i = float(acc_i) · factor.
  void (*scale_int32)(const std::int32_t* acc, std::int64_t n, float factor, float* y) noexcept = nullptr;
  /// r = max(gate_i, 0); y_i = (r · r) · up_i. y may be gate or up.
  void (*relu2_mul)(const float* gate, const float* up, std::int64_t n, float* y) noexcept = nullptr;
  /// y_i = (gate_i / (1 + exp(−gate_i))) · up_i with core::exact_exp. y may be gate or up.
  void (*silu_mul)(const float* gate, const float* up, std::int64_t n, float* y) noexcept = nullptr;
  /// x_i += y_i.
  void (*add)(float* x, const float* y, std::int64_t n) noexcept = nullptr;
  /// Rotates one head in place, h = D/2: (x_i·cos_i − x_{i+h}·sin_i, x_{i+h}·cos_i + x_i·sin_i) for i < h; two products
  /// and one add each, no fma. cos, sin [h].
  void (*rope_halves)(float* x, const float* cos, const float* sin, std::int64_t head_size) noexcept = nullptr;
  /// Rounds to binary16 bits, half to even, subnormals kept.
  void (*f32_to_f16)(const float* x, std::int64_t n, std::uint16_t* y) noexcept = nullptr;
  /// Widens binary16 bits. A signalling NaN may come out quiet.
  void (*f16_to_f32)(const std::uint16_t* x, std::int64_t n, float* y) noexcept = nullptr;
  /// Widens bfloat16 bits.
  void (*bf16_to_f32)(const std::uint16_t* x, std::int64_t n, float* y) noexcept = nullptr;
  /// Rows of GGUF's blocked types, n a multiple of 32, widened by one product and one add in float, no fma. Blocks of
  /// 32: {f16 d, int8 q[32]} y = d · q; {f16 d, nibbles[16]} y = d · (q − 8); {f16 d, f16 m, nibbles[16]} y = d · q +
  /// m; of the nibbles, the low ones are values 0 … 15, the high ones 16 … 31.
  void (*q8_0_to_f32)(const std::uint8_t* row, std::int64_t n, float* y) noexcept = nullptr;
  void (*q4_0_to_f32)(const std::uint8_t* row, std::int64_t n, float* y) noexcept = nullptr;
  void (*q4_1_to_f32)(const std::uint8_t* row, std::int64_t n, float* y) noexcept = nullptr;
  /// The same of Q6_K (GGUF's type 14), n a multiple of 256: blocks of {nibbles[128], pairs[64], int8 scale[16], f16
  /// d}, y_i = (d · scale_{i/16}) · (q_i − 32). Each half of 128 values has 64 nibbles and 32 pairs; its values l, l +
  /// 32, l + 64, l + 96 (l < 32) take their low four bits from the low nibbles of bytes l and l + 32, then the high
  /// ones, and their high two from bits 0, 2, 4, 6 of pair l.
  void (*q6_k_to_f32)(const std::uint8_t* row, std::int64_t n, float* y) noexcept = nullptr;

  // ---- attention and loss -----------------------------------------------------------------------------------------

  /// Of each query: key blocks of 64 from position 0 in order, m = −infinity, l = 0, acc = 0 at first. Per block: z_j =
  /// dot(q, k_j) · c with the dot in lanes with fma; m' = max(m, max z); α = exp(m − m') (0 in the first block); p_j =
  /// exp(z_j − m'); Σp in lanes with adds (lane j % 16); l = fma(l, α, Σp); acc_i = acc_i · α; then for j ascending
  /// acc_i = fma(p_j, v_ji, acc_i). out_i = acc_i / l. exp = core::exact_exp.
  void (*attention_head)(const AttentionHead& a) noexcept = nullptr;
  /// Largest x (n ≥ 1; a zero comes out as +0) and Σ exp(x_i − largest) in lanes with adds.
  BlockSum (*sum_exp)(const float* x, std::int64_t n) noexcept = nullptr;

  // ---- quantising weights -----------------------------------------------------------------------------------------

  /// Σ|w_i| in 16 double lanes with adds, then the tree.
  double (*sum_abs_f32)(const float* w, std::int64_t n) noexcept = nullptr;
  double (*sum_abs_bf16)(const std::uint16_t* w, std::int64_t n) noexcept = nullptr;
  /// code_i = clamp(rhe(w_i · inv), −1, +1); 0 for a NaN.
  void (*ternary_codes_f32)(const float* w, std::int64_t n, float inv, std::int8_t* codes) noexcept = nullptr;
  void (*ternary_codes_bf16)(const std::uint16_t* w, std::int64_t n, float inv, std::int8_t* codes) noexcept = nullptr;

  // ---- training ---------------------------------------------------------------------------------------------------
  // Not part of the forward contract: conversions are exact or rounded as said and the same everywhere, the rest
  // differs between instruction sets by the order of its sums. Formulas: docs/forward.md, "Backward".

  /// dx_i += r·(gain_i·dy_i) − x_i·(r³/n)·Σ gain·dy·x and dgain_i += dy_i·(x_i·r), with r of rms_norm.
  void (*rms_norm_backward)(const float* x, const float* gain, const float* dy, std::int64_t n, float eps, float* dx,
                            float* dgain) noexcept = nullptr;
  /// With σ = 1 / (1 + exp(−gate_i)): dgate_i = σ·(1 + gate_i·(1 − σ))·up_i·dy_i and dup_i = gate_i·σ·dy_i. dgate and
  /// dup may be gate and up.
  void (*silu_mul_backward)(const float* gate, const float* up, const float* dy, std::int64_t n, float* dgate,
                            float* dup) noexcept = nullptr;
  /// relu2_mul, then rms_norm, backwards at once: of y = rms_norm(v, gain) with v_i = max(gate_i, 0)²·up_i. dgain is
  /// added to; dgate and dup are written, and may be gate and up.
  void (*relu2_norm_backward)(const float* gate, const float* up, const float* gain, const float* dy, std::int64_t n,
                              float eps, float* dgate, float* dup, float* dgain) noexcept = nullptr;
  /// Rotates back, in place: (dx_i·cos_i + dx_{i+h}·sin_i, dx_{i+h}·cos_i − dx_i·sin_i).
  void (*rope_halves_backward)(float* dx, const float* cos, const float* sin,
                               std::int64_t head_size) noexcept = nullptr;
  /// p = softmax of the row, s_tj = dout_t·v_j, δ_t = Σ_j p_tj·s_tj, ds_tj = p_tj·(s_tj − δ_t)·c for j ≤ t: dquery_t =
  /// Σ_j ds_tj·k_j; dkey_j += Σ_t ds_tj·q_t; dvalue_j += Σ_t p_tj·dout_t. Rounding keys and values to f16 counts as the
  /// identity.
  void (*attention_backward)(const AttentionBackward& a) noexcept = nullptr;
  /// The same where all factors but those of the scores are rounded to bfloat16 first, half to even: dout, v, q, k, p
  /// and ds. Sums are float32. D must be a multiple of 32.
  void (*attention_backward_bf16)(const AttentionBackward& a) noexcept = nullptr;
  /// Whether the processor multiplies bfloat16 itself, so that attention_backward_bf16 is the faster one.
  bool multiplies_bf16 = false;
  /// x_i = weight · exp(x_i − log_sum).
  void (*softmax_scaled)(float* x, std::int64_t n, float log_sum, float weight) noexcept = nullptr;
  /// y_i = bfloat16(weight · exp(x_i − log_sum)), rounded as by gradient_to_bf16; x may be overwritten.
  void (*softmax_to_bf16)(float* x, std::int64_t n, float log_sum, float weight, std::uint16_t* y) noexcept = nullptr;
  /// y_i = bfloat16(x_i · factor), half to even.
  void (*scale_to_bf16)(const float* x, std::int64_t n, float factor, std::uint16_t* y) noexcept = nullptr;
  /// plain_i = bfloat16(x_i) and scaled_i = bfloat16(x_i · factor), half to even; what is below the smallest normal
  /// number may become 0.
  void (*gradient_to_bf16)(const float* x, std::int64_t n, float factor, std::uint16_t* plain,
                           std::uint16_t* scaled) noexcept = nullptr;
  /// y_i = q_i; exact.
  void (*int8_to_bf16)(const std::int8_t* q, std::int64_t n, std::uint16_t* y) noexcept = nullptr;
  /// One row of K codes of the I2_S layout: y_k = code.
  void (*ternary2_to_int8)(const std::uint8_t* row, std::int64_t n, std::int8_t* y) noexcept = nullptr;
  /// The same as bfloat16; exact.
  void (*ternary2_to_bf16)(const std::uint8_t* row, std::int64_t n, std::uint16_t* y) noexcept = nullptr;
  /// column_i = max(column_i, |x_i · factor|); returns max |x_i|. NaN counts as the largest of all.
  float (*gradient_maxima)(const float* x, std::int64_t n, float factor, float* column) noexcept = nullptr;
  /// by_row_i = ⌊x_i · row_inverse + u_i⌋, by_column_i = ⌊x_i · factor · column_inverse_i + u_i⌋, both within ±127; u_i
  /// in [0, 1) of a hash of key and i, so that both are right on average.
  void (*gradient_codes)(const GradientCodes& a) noexcept = nullptr;
  /// y_i += float(acc_i) · factor.
  void (*add_scaled_int32)(const std::int32_t* acc, std::int64_t n, float factor, float* y) noexcept = nullptr;
  /// Σ x_i² in 16 double lanes.
  double (*sum_squares)(const float* x, std::int64_t n) noexcept = nullptr;
  void (*adamw)(const AdamwStep& a) noexcept = nullptr;
};

}  // namespace rpt::kernels
