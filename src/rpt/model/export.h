// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>

#include "rpt/core/progress.h"
#include "rpt/model/model.h"
#include "rpt/tensor/dtype.h"

namespace rpt::model {

struct ExportOptions {
  /// Accept a form that cannot hold a scale or an embedding exactly; the gate is not passed then.
  bool lossy = false;
  /// Replace an existing folder that is not empty; a file is always replaced.
  bool replace_folder = false;
  /// Told of every tensor written; nothing where null.
  core::ProgressSink* progress = nullptr;
  /// Adds files of its own to a Hugging Face directory before it appears; not called for a GGUF file.
  std::function<void(const std::filesystem::path& folder)> add_files = {};
  /// Sees the written model once it has passed the gate, before it appears; what it throws prevents that. Not called
  /// where `lossy`.
  std::function<void(const Model& written)> check = {};
};

/// What export_gguf asks of a model's shape, before anything is spent on it. Throws: ConfigError where the rows of a
/// linear layer do not divide into blocks of `type`.
void require_gguf_rows(const Config& config, tensor::DType type);

/// How the ternary weights stand in a Hugging Face directory.
enum class HfForm : std::uint8_t {
  latents,  ///< quantization_mode online; only for models that still have latents
  packed,   ///< quantization_mode offline
};

/// Writes a GGUF file with ternary weights as `type`: i2_s, tq1_0, tq2_0, or f16, bf16, f32 holding 0 and ±s.
/// Embeddings become F16 where what the forward reads is exact in it, else F32; q8_0 and q6_k stay. Before the file
/// appears it is read again and passes the gate, whose hash is returned; empty where `lossy`. Throws: ConfigError where
/// the form cannot hold a tensor exactly (named; `lossy` allows it) or not at all; CheckError where the gate fails;
/// IoError.
std::string export_gguf(const Model& model, const std::filesystem::path& target, tensor::DType type,
                        const ExportOptions& options);

/// Writes a Hugging Face directory that transformers loads: config.json, model.safetensors, tokenizer files. Before the
/// folder appears it is read again and passes the gate. Throws: as export_gguf.
std::string export_huggingface(const Model& model, const std::filesystem::path& target, HfForm form,
                               const ExportOptions& options);

/// Whether the forward reads embedding values that f16 holds exactly. Cost: one pass over the embedding.
bool exact_in_f16(const EmbeddingWeight& embedding);

}  // namespace rpt::model
