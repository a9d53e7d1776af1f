// SPDX-License-Identifier: MIT
#pragma once
#include <atomic>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

#include "rpt/core/float16.h"
#include "rpt/core/random.h"
#include "rpt/model/model.h"

namespace rpt::test {

/// A model to be made up: small, random, complete.
struct TinyShape {
  std::int64_t hidden = 256;
  std::int64_t feed_forward = 512;
  std::int64_t layers = 2;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  std::int64_t head_size = 0;  ///< 0: hidden / heads
  std::int64_t vocabulary = 300;
  std::int64_t context = 256;
  model::Activation activation = model::Activation::relu2;
  bool tied_head = true;
  bool llama = false;                        ///< no sub-norms, SiLU; else BitNet's blocks
  bool dense = false;                        ///< dense linear layers; only of llama
  tensor::DType type = tensor::DType::bf16;  ///< of latents, dense weights and embedding: f32, f16 or bf16
  std::uint64_t seed = 1;
};

/// Builds a model with random latents in memory, without a vocabulary.
class TinyModel {
 public:
  static std::unique_ptr<model::Model> make(const TinyShape& shape = {}) {
    TinyModel maker(shape);
    return std::move(maker.model_);
  }

 private:
  explicit TinyModel(const TinyShape& shape) : shape_(shape), random_(shape.seed) {
    model::Config& c = model_->config;
    c.name = "tiny";
    c.architecture = shape.activation == model::Activation::relu2 ? "bitnet-b1.58" : "bitnet";
    c.activation = shape.activation;
    if (shape.llama) {
      c.architecture = "llama";
      c.activation = model::Activation::silu;
      c.sub_norms = false;
    }
    c.hidden = shape.hidden;
    c.feed_forward = shape.feed_forward;
    c.layers = shape.layers;
    c.heads = shape.heads;
    c.kv_heads = shape.kv_heads;
    c.head_size = shape.head_size > 0 ? shape.head_size : shape.hidden / shape.heads;
    c.vocabulary = shape.vocabulary;
    c.context = shape.context;
    c.tied_head = shape.tied_head;
    model_->path = "tiny";
    model_->format = "memory";
    model_->weights.blocks.resize(static_cast<std::size_t>(shape.layers));
    model_->weights.sub_norms = c.sub_norms;
    if (!shape.tied_head) model_->weights.head.emplace();
    model::visit_weights(model_->weights, [&](const std::string& name, auto& weight) { fill(name, weight); });
  }

  tensor::StoredView random_matrix(std::int64_t rows, std::int64_t columns, double deviation) {
    const auto n = static_cast<std::size_t>(rows * columns);
    const auto size = static_cast<std::size_t>(tensor::element_size(shape_.type));
    auto bytes = std::make_shared<core::AlignedBuffer<std::byte>>(n * size);
    for (std::size_t i = 0; i < n; ++i) {
      const auto value = static_cast<float>(random_.normal() * deviation);
      if (shape_.type == tensor::DType::f32) {
        std::memcpy(bytes->data() + i * size, &value, size);
      } else {
        const std::uint16_t bits =
            shape_.type == tensor::DType::f16 ? core::float_to_f16(value) : core::float_to_bf16(value);
        std::memcpy(bytes->data() + i * size, &bits, size);
      }
    }
    const tensor::StoredView view{bytes->data(), bytes->size(), shape_.type, rows, columns};
    model_->storage.push_back(std::move(bytes));
    return view;
  }

  void fill(const std::string& name, model::EmbeddingWeight& weight) {
    weight = model::EmbeddingWeight({"tiny", name, 0}, random_matrix(shape_.vocabulary, shape_.hidden, 0.5));
  }
  void fill(const std::string& name, model::NormWeight& weight) {
    const auto [rows, columns] = model::expected_shape(name, model_->config);
    weight.origin = {"tiny", name, 0};
    for (std::int64_t i = 0; i < columns; ++i) {
      const auto gain = static_cast<float>(1.0 + 0.1 * random_.normal());
      weight.gain.push_back(core::bf16_to_float(core::float_to_bf16(gain)));
    }
    weight.stored_type = tensor::DType::bf16;
  }
  void fill(const std::string& name, model::LinearWeight& weight) {
    const auto [rows, columns] = model::expected_shape(name, model_->config);
    const tensor::StoredView values = random_matrix(rows, columns, 0.05);
    if (shape_.dense) {
      weight.dense.emplace(model::Origin{"tiny", name, 0}, values);
    } else {
      weight.weight = model::TernaryWeight::latent({"tiny", name, 0}, values, false);
    }
  }

  TinyShape shape_;
  core::Random random_;
  std::unique_ptr<model::Model> model_ = std::make_unique<model::Model>();
};

/// A folder of its own below the system's temporary one, removed at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() /
            ("rpt-test-" + std::to_string(getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace rpt::test
