// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rpt/core/progress.h"
#include "rpt/model/model.h"
#include "rpt/tensor/dtype.h"

namespace rpt::model {

struct ExportOptions {
  /// Accept a form that cannot hold a scale or an embedding exactly; the gate is not passed then.
  bool lossy = false;
  /// Replace an existing folder that is not empty, if it holds nothing but files of the names that are written here
  /// (require_replaceable); a file is always replaced.
  bool replace_folder = false;
  /// Told of every tensor written; nothing where null.
  core::ProgressSink* progress = nullptr;
  /// Adds files of its own to a Hugging Face directory before it appears; not called for a GGUF file.
  std::function<void(const std::filesystem::path& folder)> add_files = {};
  /// Sees the written model once it has passed the gate, before it appears; what it throws prevents that. Not called
  /// where `lossy`.
  std::function<void(const Model& written)> check = {};
};

/// Refuses a folder that export_huggingface may not replace, before anything is spent on what it would write: any that
/// is not empty without `replace`, else one that holds what is no file of a model as it is written here, nor one of
/// `added`, which add_files writes. Throws: OutputError naming what would be lost.
void require_replaceable(const std::filesystem::path& target, bool replace, const std::vector<std::string>& added = {});

/// What export_gguf asks of a model's shape, before anything is spent on it. Throws: ConfigError where the rows of a
/// linear layer do not divide into blocks of `type`.
void require_gguf_rows(const Config& config, tensor::DType type);

/// How the linear layers stand in a Hugging Face directory.
enum class HfForm : std::uint8_t {
  latents,  ///< as floats: quantization_mode online, only for models that still have latents; or dense layers
  packed,   ///< quantization_mode offline; only ternary layers
};

/// Writes a GGUF file with ternary weights as `type`: i2_s, tq1_0, tq2_0, or, of BitNet's architectures, f16, bf16, f32
/// holding 0 and ±s; and with dense linear layers as f16, bf16 or f32. Without a type, ternary weights become i2_s and
/// dense ones stay as they are stored. Embeddings become F16 where what the forward reads is exact in it, else F32;
/// those of blocked types stay. Before the file appears it is read again and passes the gate, whose hash is returned;
/// empty where `lossy`. Throws: ConfigError where the form cannot hold a tensor exactly (named; `lossy` allows it) or
/// not at all; CheckError where the gate fails; IoError.
std::string export_gguf(const Model& model, const std::filesystem::path& target, std::optional<tensor::DType> type,
                        const ExportOptions& options);

/// Writes a Hugging Face directory that transformers loads: config.json, model.safetensors, tokenizer files. Dense
/// layers of blocked types become f16 where that is exact, else f32. Before the folder appears it is read again and
/// passes the gate. Throws: as export_gguf and require_replaceable.
std::string export_huggingface(const Model& model, const std::filesystem::path& target, HfForm form,
                               const ExportOptions& options);

/// Whether the values that the forward reads are exact in `type` (f32, f16 or bf16). Cost: one pass over the weights.
bool exact_in(const DenseWeight& weight, tensor::DType type);

}  // namespace rpt::model
