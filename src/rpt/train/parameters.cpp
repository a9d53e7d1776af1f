// SPDX-License-Identifier: MIT
#include "rpt/train/parameters.h"

#include <algorithm>
#include <type_traits>

#include "rpt/core/parallel.h"
#include "rpt/core/random.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/ops.h"

namespace rpt::train {
namespace {

/// Values that a thread takes at a time.
constexpr std::int64_t kPiece = 1 << 14;

ParameterKind kind_of(const model::EmbeddingWeight&) {
  return ParameterKind::embedding;
}
ParameterKind kind_of(const model::NormWeight&) {
  return ParameterKind::norm;
}
ParameterKind kind_of(const model::LinearWeight&) {
  return ParameterKind::linear;
}

std::vector<float> values_of(const std::string&, const model::EmbeddingWeight& weight) {
  const tensor::StoredView& v = weight.values();
  if (tensor::element_size(v.type) > 0) return tensor::widen(v);
  std::vector<float> values(static_cast<std::size_t>(v.rows * v.columns));
  for (std::int64_t r = 0; r < v.rows; ++r) {
    tensor::read_row(
        v, r, std::span(values).subspan(static_cast<std::size_t>(r * v.columns), static_cast<std::size_t>(v.columns)));
  }
  return values;
}
std::vector<float> values_of(const std::string&, const model::NormWeight& weight) {
  return weight.gain;
}
std::vector<float> values_of(const std::string& name, const model::LinearWeight& weight) {
  const auto latents = weight.weight.latents();
  if (!latents) throw ConfigError(fmt::format("{}: holds codes, not latents: there is nothing to train on", name));
  return tensor::widen(*latents);
}

tensor::StoredView stored(const Parameter& p) {
  return {reinterpret_cast<const std::byte*>(p.rounded.data()), static_cast<std::uint64_t>(p.size()) * 2,
          tensor::DType::bf16, p.rows, p.columns};
}

void point_at(const Parameter& p, model::EmbeddingWeight& weight) {
  weight = model::EmbeddingWeight({"the model in training", p.name, 0}, stored(p));
}
void point_at(const Parameter& p, model::NormWeight& weight) {
  weight.stored_type = tensor::DType::bf16;
  weight.gain = tensor::widen(stored(p));
}
void point_at(const Parameter& p, model::LinearWeight& weight) {
  weight.weight = model::TernaryWeight::latent({"the model in training", p.name, 0}, stored(p), false);
}

}  // namespace

Parameters::Parameters(std::unique_ptr<model::Model> model) : model_(std::move(model)) {
  model::Weights& weights = model_->weights;
  weights.blocks.resize(static_cast<std::size_t>(model_->config.layers));
  if (!model_->config.tied_head && !weights.head) weights.head.emplace();
  model::visit_weights(weights, [&](const std::string& name, const auto& weight) {
    const auto [rows, columns] = model::expected_shape(name, model_->config);
    Parameter p;
    p.name = name;
    p.kind = kind_of(weight);
    p.rows = rows;
    p.columns = columns;
    const auto size = static_cast<std::size_t>(p.size());
    p.master.resize(size);
    p.rounded.resize(size);
    p.gradient.resize(size);
    parameters_.push_back(std::move(p));
  });
  connect_gradients();
}

void Parameters::connect_gradients() {
  gradients_.blocks.resize(model_->weights.blocks.size());
  if (model_->weights.head) gradients_.head.emplace();
  std::size_t next = 0;
  model::visit_weights(gradients_, [&](const std::string&, tensor::MutableMatrix& gradient) {
    Parameter& p = parameters_[next++];
    gradient = {p.gradient.data(), p.rows, p.columns};
  });
}

std::unique_ptr<Parameters> Parameters::of_model(std::unique_ptr<model::Model> model) {
  std::unique_ptr<Parameters> made(new Parameters(std::move(model)));
  std::size_t next = 0;
  model::visit_weights(made->model_->weights, [&](const std::string& name, const auto& weight) {
    const std::vector<float> values = values_of(name, weight);
    Parameter& p = made->parameters_[next++];
    RPT_CHECK(std::cmp_equal(values.size(), p.size()), "{}", name);
    std::copy(values.begin(), values.end(), p.master.data());
  });
  made->publish();
  made->model_->storage.clear();  // nothing points into the file any more
  return made;
}

std::unique_ptr<Parameters> Parameters::random(std::unique_ptr<model::Model> shell, double deviation,
                                               std::uint64_t seed) {
  std::unique_ptr<Parameters> made(new Parameters(std::move(shell)));
  const core::Random root(seed);
  for (std::size_t i = 0; i < made->parameters_.size(); ++i) {
    Parameter& p = made->parameters_[i];
    if (p.kind == ParameterKind::norm) {
      std::fill_n(p.master.data(), p.size(), 1.0F);
      continue;
    }
    const core::Random of_parameter = root.split(i);
    core::parallel_for(p.size(), kPiece, [&](std::int64_t begin, std::int64_t end) {
      core::Random random = of_parameter;
      random.seek(2 * static_cast<std::uint64_t>(begin));  // a normal number takes two words
      for (std::int64_t j = begin; j < end; ++j)
        p.master[static_cast<std::size_t>(j)] = static_cast<float>(deviation * random.normal());
    });
  }
  made->publish();
  return made;
}

std::int64_t Parameters::count() const {
  std::int64_t sum = 0;
  for (const Parameter& p : parameters_) sum += p.size();
  return sum;
}

void Parameters::publish() {
  const auto round = kernels::active().scale_to_bf16;
  for (Parameter& p : parameters_) {
    core::parallel_for(p.size(), kPiece, [&](std::int64_t begin, std::int64_t end) {
      round(p.master.data() + begin, end - begin, 1.0F, p.rounded.data() + begin);
    });
    if (hook_) hook_->published(p.trained_weight(), p.rounded.span());
  }
  std::size_t next = 0;
  model::visit_weights(model_->weights,
                       [&](const std::string&, auto& weight) { point_at(parameters_[next++], weight); });
}

void Parameters::set_hook(std::shared_ptr<model::WeightHook> hook) {
  if (hook) {
    for (const Parameter& p : parameters_) hook->moved(p.trained_weight(), 0);
  }
  hook_ = std::move(hook);
  publish();
}

void Parameters::finish_gradients() {
  if (!hook_) return;
  for (Parameter& p : parameters_) hook_->gradient(p.trained_weight(), p.gradient.span());
}

void Parameters::moved(std::int64_t steps) {
  if (hook_) {
    for (const Parameter& p : parameters_) hook_->moved(p.trained_weight(), steps);
  }
  publish();
}

void Parameters::zero_gradients() {
  for (Parameter& p : parameters_) {
    core::parallel_for(p.size(), kPiece, [&](std::int64_t begin, std::int64_t end) {
      std::fill(p.gradient.data() + begin, p.gradient.data() + end, 0.0F);
    });
  }
}

}  // namespace rpt::train
