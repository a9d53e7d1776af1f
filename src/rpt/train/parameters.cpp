// SPDX-License-Identifier: MIT
#include "rpt/train/parameters.h"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "rpt/core/parallel.h"
#include "rpt/core/random.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/ops.h"

namespace rpt::train {
namespace {

/// Values that a thread takes at a time.
constexpr std::int64_t kPiece = 1 << 14;

constexpr std::array<std::pair<MasterType, std::string_view>, 3> kNames{
    {{MasterType::f32, "f32"},
     {MasterType::bf16_nearest, "bf16-nearest"},
     {MasterType::bf16_stochastic, "bf16-stochastic"}}};

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
tensor::StoredView latents_of(const std::string& name, const model::LinearWeight& weight) {
  const auto latents = weight.weight.latents();
  if (!latents) throw ConfigError(fmt::format("{}: holds codes, not latents: there is nothing to train on", name));
  return *latents;
}
std::vector<float> values_of(const std::string& name, const model::LinearWeight& weight) {
  return tensor::widen(latents_of(name, weight));
}

tensor::StoredView stored(const Parameter& p) {
  return {reinterpret_cast<const std::byte*>(p.rounded.data()), static_cast<std::uint64_t>(p.size()) * 2,
          tensor::DType::bf16, p.rows, p.columns};
}

void point_at(const Parameter& p, model::EmbeddingWeight& weight, bool) {
  weight = model::EmbeddingWeight({"the model in training", p.name, 0}, stored(p));
}
void point_at(const Parameter& p, model::NormWeight& weight, bool) {
  weight.stored_type = tensor::DType::bf16;
  weight.gain = tensor::widen(stored(p));
}
void point_at(const Parameter& p, model::LinearWeight& weight, bool snapped) {
  weight.weight = model::TernaryWeight::latent({"the model in training", p.name, 0}, stored(p), snapped);
}

/// Gives a parameter its first values; those of bfloat16 masters are rounded half to even.
void assign(Parameter& p, const std::vector<float>& values) {
  RPT_CHECK(std::cmp_equal(values.size(), p.size()), "{}", p.name);
  if (p.has_master()) {
    std::copy(values.begin(), values.end(), p.master.data());
  } else {
    kernels::active().scale_to_bf16(values.data(), p.size(), 1.0F, p.rounded.data());
  }
}

}  // namespace

std::string_view name(MasterType type) {
  for (const auto& [value, text] : kNames) {
    if (value == type) return text;
  }
  return {};
}

MasterType parse_masters(std::string_view type_name) {
  for (const auto& [value, text] : kNames) {
    if (text == type_name) return value;
  }
  throw ConfigError(fmt::format("unknown masters \"{}\"; there are f32, bf16-nearest, bf16-stochastic", type_name));
}

void require_latents(const model::Model& model) {
  model::visit_weights(model.weights, [&](const std::string& name, const auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, model::LinearWeight>) latents_of(name, weight);
  });
}

Parameters::Parameters(std::unique_ptr<model::Model> model, MasterType masters)
    : model_(std::move(model)), masters_(masters) {
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
    if (masters == MasterType::f32) p.master.resize(size);
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

std::unique_ptr<Parameters> Parameters::of_model(std::unique_ptr<model::Model> model, MasterType masters) {
  std::unique_ptr<Parameters> made(new Parameters(std::move(model), masters));
  std::size_t next = 0;
  model::visit_weights(made->model_->weights, [&](const std::string& name, const auto& weight) {
    assign(made->parameters_[next++], values_of(name, weight));
  });
  made->publish();
  made->model_->storage.clear();  // nothing points into the file any more
  return made;
}

std::unique_ptr<Parameters> Parameters::random(std::unique_ptr<model::Model> shell, double deviation,
                                               std::uint64_t seed, MasterType masters) {
  std::unique_ptr<Parameters> made(new Parameters(std::move(shell), masters));
  const core::Random root(seed);
  for (std::size_t i = 0; i < made->parameters_.size(); ++i) {
    Parameter& p = made->parameters_[i];
    std::vector<float> values(static_cast<std::size_t>(p.size()), 1.0F);
    const core::Random of_parameter = root.split(i);
    if (p.kind != ParameterKind::norm) {
      core::parallel_for(p.size(), kPiece, [&](std::int64_t begin, std::int64_t end) {
        core::Random random = of_parameter;
        random.seek(2 * static_cast<std::uint64_t>(begin));  // a normal number takes two words
        for (std::int64_t j = begin; j < end; ++j)
          values[static_cast<std::size_t>(j)] = static_cast<float>(deviation * random.normal());
      });
    }
    assign(p, values);
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
    if (p.has_master()) {
      core::parallel_for(p.size(), kPiece, [&](std::int64_t begin, std::int64_t end) {
        round(p.master.data() + begin, end - begin, 1.0F, p.rounded.data() + begin);
      });
    }
    if (hook_) hook_->published(p.trained_weight(), p.rounded.span());
  }
  std::size_t next = 0;
  const bool snapped = hook_ && hook_->publishes_scales();
  model::visit_weights(model_->weights,
                       [&](const std::string&, auto& weight) { point_at(parameters_[next++], weight, snapped); });
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

namespace {

void zero(Parameter& p) {
  core::parallel_for(p.size(), kPiece, [&](std::int64_t begin, std::int64_t end) {
    std::fill(p.gradient.data() + begin, p.gradient.data() + end, 0.0F);
  });
}

}  // namespace

void Parameters::zero_gradients() {
  for (Parameter& p : parameters_) zero(p);
}

void Parameters::zero_added_gradients() {
  for (Parameter& p : parameters_) {
    const bool is_input = p.gradient.data() == gradients_.token_embd.data;
    if (p.kind == ParameterKind::norm || (is_input && gradients_.head)) zero(p);
  }
}

}  // namespace rpt::train
