// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "rpt/core/random.h"
#include "rpt/train/adamw.h"
#include "tests/tiny_model.h"

namespace rpt::test {

constexpr train::StateType kStates[] = {train::StateType::f32, train::StateType::bf16, train::StateType::int8};
constexpr train::MasterType kMasters[] = {train::MasterType::f32, train::MasterType::bf16_nearest,
                                          train::MasterType::bf16_stochastic};

/// How a run stores masters and moments.
struct Storage {
  train::MasterType masters = train::MasterType::f32;
  train::StateType state = train::StateType::f32;

  std::string text() const { return std::string(name(masters)) + "/" + std::string(name(state)); }
};

inline std::vector<Storage> every_storage() {
  std::vector<Storage> list;
  for (const auto masters : kMasters) {
    for (const auto state : kStates) list.push_back({masters, state});
  }
  return list;
}

/// Shape of a model of few weights, whose embedding has more than one piece of the optimiser and a broken last block.
inline TinyShape small_shape() {
  TinyShape shape;
  shape.hidden = 64;
  shape.feed_forward = 128;
  shape.heads = 2;
  shape.kv_heads = 1;
  shape.vocabulary = 301;
  shape.context = 32;
  return shape;
}

/// Normal numbers times a size that differs from value to value by e^±spread or so.
inline void fill_gradients(train::Parameters& parameters, std::uint64_t seed, double spread) {
  core::Random random(seed);
  for (train::Parameter& p : parameters.all()) {
    for (float& g : p.gradient.span()) g = static_cast<float>(random.normal() * std::exp(spread * random.normal()));
  }
}

/// Everything that an optimiser and its parameters hold, by name.
inline std::vector<std::pair<std::string, std::string>> contents(train::Parameters& parameters,
                                                                 train::Adamw& optimiser) {
  std::vector<std::pair<std::string, std::string>> list;
  const auto add = [&](const std::string& name, const void* data, std::size_t bytes) {
    list.emplace_back(name, std::string(static_cast<const char*>(data), bytes));
  };
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const train::Parameter& p = parameters.all()[i];
    add(p.name, p.rounded.data(), p.rounded.size() * 2);
    if (p.has_master()) add(p.name + " master", p.master.data(), p.master.size() * 4);
    for (auto* moments : {&optimiser.first(), &optimiser.second()}) {
      for (const auto& b : (*moments)[i].stored(p.name)) add(b.name, b.data, b.bytes());
    }
  }
  return list;
}

}  // namespace rpt::test
