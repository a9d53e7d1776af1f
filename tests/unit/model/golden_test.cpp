// SPDX-License-Identifier: MIT
// Parity with transformers: tests/golden holds what it computes in float64 and float32, see the README there.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rpt/core/atomic_file.h"
#include "rpt/io/safetensors.h"
#include "rpt/kernels/isa.h"
#include "rpt/model/decoder.h"
#include "rpt/model/model.h"
#include "rpt/ternary/layouts.h"
#include "tests/shared_data.h"

namespace rpt::model {
namespace {

using tensor::DType;

/// A golden.safetensors with typed access.
class Golden {
 public:
  explicit Golden(const std::filesystem::path& folder)
      : file_(io::SafetensorsFile::open(folder / "golden.safetensors")) {}

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }

  template <typename T>
  std::vector<T> get(const std::string& name) const {
    const io::SafetensorsTensor* t = file_.find(name);
    if (t == nullptr) throw std::runtime_error("no golden " + name);
    std::vector<T> out(t->data.size() / sizeof(T));
    std::memcpy(out.data(), t->data.data(), t->data.size());
    return out;
  }

  std::vector<std::int64_t> shape(const std::string& name) const { return file_.find(name)->shape; }

  std::vector<std::string> names_ending(const std::string& suffix) const {
    std::vector<std::string> out;
    for (const auto& t : file_.tensors()) {
      if (t.name.ends_with(suffix)) out.push_back(t.name.substr(0, t.name.size() - suffix.size()));
    }
    return out;
  }

 private:
  io::SafetensorsFile file_;
};

tensor::Tensor matrix(const std::vector<float>& values, std::int64_t rows) {
  tensor::Tensor out(rows, static_cast<std::int64_t>(values.size()) / rows);
  std::copy(values.begin(), values.end(), out.data());
  return out;
}

/// Layers that share their input store it once.
std::string input_owner(std::string name) {
  const auto replace = [&](const std::string& from, const std::string& to) {
    if (name.ends_with(from)) name.replace(name.size() - from.size(), from.size(), to);
  };
  replace("attn_k", "attn_q");
  replace("attn_v", "attn_q");
  replace("ffn_up", "ffn_gate");
  return name;
}

class Transformers : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    model_ = open_model(test::source_dir() / "tests/golden" / GetParam());
    golden_ = std::make_unique<Golden>(test::source_dir() / "tests/golden" / GetParam());
  }

  const LinearWeight* linear(const std::string& name) const {
    const LinearWeight* found = nullptr;
    visit_weights(model_->weights, [&](const std::string& n, const auto& w) {
      if constexpr (std::is_same_v<std::decay_t<decltype(w)>, LinearWeight>) {
        if (n == name) found = &w;
      }
    });
    return found;
  }
  const NormWeight* norm(const std::string& name) const {
    const NormWeight* found = nullptr;
    visit_weights(model_->weights, [&](const std::string& n, const auto& w) {
      if constexpr (std::is_same_v<std::decay_t<decltype(w)>, NormWeight>) {
        if (n == name) found = &w;
      }
    });
    return found;
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Golden> golden_;
};

/// rms difference from float64 at most four times that of transformers' own float32 run, logits and NLLs.
TEST_P(Transformers, WholeModel) {
  const auto ids = golden_->get<std::int32_t>("ids");
  Decoder decoder(model_->config, model_->weights);
  KvCache cache(model_->config, static_cast<std::int64_t>(ids.size()));
  tensor::Tensor hidden, logits(static_cast<std::int64_t>(ids.size()), model_->config.vocabulary);
  decoder.forward(ids, cache, hidden);
  decoder.logits(hidden.view(), logits.view());

  const auto positions = golden_->get<std::int32_t>("logit_positions");
  const auto exact = golden_->get<double>("logits_float64");
  const auto vocabulary = static_cast<std::size_t>(model_->config.vocabulary);
  double squares = 0;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    for (std::size_t v = 0; v < vocabulary; ++v) {
      const double d = static_cast<double>(logits.view().row(positions[i])[v]) - exact[i * vocabulary + v];
      squares += d * d;
    }
  }
  const double rms = std::sqrt(squares / static_cast<double>(exact.size()));
  EXPECT_LE(rms, 4 * golden_->get<double>("logits_rms_difference").front());
  EXPECT_GT(rms, 0);

  std::vector<std::int32_t> targets(ids.begin() + 1, ids.end());
  targets.push_back(-1);
  std::vector<double> nll(ids.size());
  decoder.score(hidden.view(), targets, nll);
  const auto exact_nll = golden_->get<double>("nll_float64");
  squares = 0;
  for (std::size_t i = 0; i < exact_nll.size(); ++i) squares += (nll[i] - exact_nll[i]) * (nll[i] - exact_nll[i]);
  EXPECT_LE(std::sqrt(squares / static_cast<double>(exact_nll.size())),
            4 * golden_->get<double>("nll_rms_difference").front());

  const auto top = golden_->get<std::int32_t>("top");
  const auto margin = golden_->get<double>("margin");
  for (std::size_t t = 0; t < top.size(); ++t) {
    if (margin[t] < 1e-3) continue;
    EXPECT_EQ(tensor::arg_max({logits.view().row(static_cast<std::int64_t>(t)), vocabulary}), top[t])
        << "position " << t;
  }
}

/// On identical input: codes equal except within 1e-4 of a rounding tie, outputs within (K + 4) · 2⁻²⁴ · Σ|x·w|.
TEST_P(Transformers, BitLinears) {
  for (const std::string& name : golden_->names_ending(".output")) {
    const LinearWeight* weight = linear(name);
    if (weight == nullptr) continue;
    const std::string owner = input_owner(name);
    const std::int64_t rows = golden_->shape(name + ".output").front();
    const tensor::Tensor x = matrix(golden_->get<float>(owner + ".input"), rows);
    const auto expected = golden_->get<double>(name + ".output");
    const auto codes = golden_->get<std::int8_t>(owner + ".codes");
    const auto amax = golden_->get<float>(owner + ".amax");
    EXPECT_EQ(weight->weight.codes().scale, golden_->get<float>(name + ".scale").front()) << name;

    tensor::QuantisedRows q;
    ASSERT_EQ(tensor::quantise_rows(x.view(), q), -1);
    const std::int64_t inputs = x.columns();
    for (std::int64_t t = 0; t < rows; ++t) {
      EXPECT_EQ(q.amax[static_cast<std::size_t>(t)], amax[static_cast<std::size_t>(t)]) << name;
      for (std::int64_t k = 0; k < inputs; ++k) {
        const int ours = q.q[static_cast<std::size_t>(t * q.stride + k)];
        const int theirs = codes[static_cast<std::size_t>(t * inputs + k)];
        if (ours == theirs) continue;
        const double real =
            static_cast<double>(x.view().row(t)[k]) * 127.0 / static_cast<double>(amax[static_cast<std::size_t>(t)]);
        EXPECT_LE(std::abs(real - std::floor(real) - 0.5), 1e-4) << name << " row " << t << " column " << k;
      }
    }
    tensor::Tensor y(rows, weight->weight.rows());
    BitLinear(*weight, name).forward(q, y.view());
    const auto weights = ternary::unpack(weight->weight.codes());
    const double scale = static_cast<double>(weight->weight.codes().scale);
    for (std::int64_t t = 0; t < rows; ++t) {
      for (std::int64_t n = 0; n < y.columns(); ++n) {
        double sum = 0;
        for (std::int64_t k = 0; k < inputs; ++k) {
          sum += std::abs(static_cast<double>(x.view().row(t)[k]) * scale *
                          weights[static_cast<std::size_t>(n * inputs + k)]);
        }
        const double bound = static_cast<double>(inputs + 4) * std::ldexp(1.0, -24) * sum;
        const double difference =
            static_cast<double>(y.view().row(t)[n]) - expected[static_cast<std::size_t>(t * y.columns() + n)];
        ASSERT_LE(std::abs(difference), bound) << name << " row " << t << " output " << n;
      }
    }
  }
}

/// r has a relative error of at most (n/16 + 8) · 2⁻²⁴ from the sum (16 lanes of n/16 fused steps and four levels of
/// the tree, then divide, add, sqrt, divide), halved by the root; two products follow.
TEST_P(Transformers, Norms) {
  for (const std::string& name : golden_->names_ending(".output")) {
    const NormWeight* weight = norm(name);
    if (weight == nullptr) continue;
    const std::int64_t rows = golden_->shape(name + ".output").front();
    const tensor::Tensor x = matrix(golden_->get<float>(name + ".input"), rows);
    const auto expected = golden_->get<double>(name + ".output");
    tensor::Tensor y(rows, x.columns());
    EXPECT_EQ(tensor::rms_norm(x.view(), weight->gain, model_->config.norm_epsilon, y.view()), -1);
    const double relative = (static_cast<double>(x.columns()) / 32 + 8) * std::ldexp(1.0, -24);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(y.data()[i]), expected[i], relative * std::abs(expected[i]) + 1e-30)
          << name << " " << i;
    }
  }
}

/// Three (relu²) or about eight (SiLU: exp, add, divide, product) roundings.
TEST_P(Transformers, FeedForwardActivations) {
  for (const std::string& name : golden_->names_ending(".gate")) {
    if (!name.ends_with("ffn_act")) continue;
    const std::int64_t rows = golden_->shape(name + ".gate").front();
    tensor::Tensor gate = matrix(golden_->get<float>(name + ".gate"), rows);
    const tensor::Tensor up = matrix(golden_->get<float>(name + ".up"), rows);
    const auto expected = golden_->get<double>(name + ".output");
    const bool silu = model_->config.activation == Activation::silu;
    tensor::gate_mul(silu ? tensor::Gating::silu : tensor::Gating::relu2, gate.view(), up.view(), gate.view());
    const double relative = (silu ? 8 : 3) * std::ldexp(1.0, -24);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(gate.data()[i]), expected[i], relative * std::abs(expected[i]) + 1e-35) << i;
    }
  }
}

TEST_P(Transformers, RopeAndItsTable) {
  if (!golden_->has("rope_cos")) return;
  const auto positions = golden_->get<std::int32_t>("record_positions");
  const auto cos = golden_->get<float>("rope_cos");
  const auto sin = golden_->get<float>("rope_sin");
  const std::int64_t d = model_->config.head_size;
  const std::int64_t half = d / 2;
  RopeTable table(model_->config.rope_theta, d);
  table.reserve(positions.back() + 1);
  for (std::size_t r = 0; r < positions.size(); ++r) {
    for (std::int64_t i = 0; i < half; ++i) {
      // Rounded from doubles that agree to a few ulp: equal, or neighbours where the double stands on a tie.
      const auto at = r * static_cast<std::size_t>(half) + static_cast<std::size_t>(i);
      ASSERT_NEAR(table.cos(positions[r])[i], cos[at], 6e-8);
      ASSERT_NEAR(table.sin(positions[r])[i], sin[at], 6e-8);
    }
  }
  for (const std::string name : {"blk.0.attn_rope_q", "blk.0.attn_rope_k"}) {
    if (!golden_->has(name + ".input")) continue;
    auto x = golden_->get<float>(name + ".input");
    const auto input = x;
    const auto expected = golden_->get<double>(name + ".output");
    const auto heads = static_cast<std::size_t>(golden_->shape(name + ".input")[1]);
    for (std::size_t r = 0; r < positions.size(); ++r) {
      for (std::size_t h = 0; h < heads; ++h) {
        float* head = x.data() + (r * heads + h) * static_cast<std::size_t>(d);
        kernels::active().rope_halves(head, table.cos(positions[r]), table.sin(positions[r]), d);
      }
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      // Two products and a sum of magnitudes up to |x_i| + |x_{i ± d/2}|.
      const std::size_t in_head = i % static_cast<std::size_t>(d);
      const std::size_t partner = in_head < static_cast<std::size_t>(half) ? i + static_cast<std::size_t>(half)
                                                                           : i - static_cast<std::size_t>(half);
      const double size = std::abs(static_cast<double>(input[i])) + std::abs(static_cast<double>(input[partner]));
      ASSERT_NEAR(static_cast<double>(x[i]), expected[i], 4 * std::ldexp(1.0, -24) * size) << name << " " << i;
    }
  }
}

TEST_P(Transformers, Attention) {
  if (!golden_->has("blk.0.attn.q")) return;
  const auto q = golden_->get<float>("blk.0.attn.q");
  const auto k = golden_->get<float>("blk.0.attn.k");
  const auto v = golden_->get<float>("blk.0.attn.v");
  const auto expected = golden_->get<double>("blk.0.attn.output");
  const auto positions = golden_->get<std::int32_t>("record_positions");
  const std::int64_t d = model_->config.head_size;
  const std::int64_t heads = model_->config.heads;
  const std::int64_t groups = model_->config.kv_heads;
  std::vector<std::uint16_t> keys(k.size()), values(v.size());
  kernels::active().f32_to_f16(k.data(), static_cast<std::int64_t>(k.size()), keys.data());
  kernels::active().f32_to_f16(v.data(), static_cast<std::int64_t>(v.size()), values.data());
  std::vector<float> out(static_cast<std::size_t>(d));
  for (std::size_t r = 0; r < positions.size(); ++r) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t group = h / (heads / groups);
      const kernels::AttentionQuery query{q.data() + (static_cast<std::int64_t>(r) * heads + h) * d, out.data(),
                                          positions[r] + 1};
      kernels::AttentionHead a;
      a.queries = &query;
      a.count = 1;
      a.key = keys.data() + group * d;
      a.value = values.data() + group * d;
      a.stride = groups * d;
      a.head_size = d;
      a.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
      kernels::active().attention_head(a);
      // z has an error of at most (d + 2) · 2⁻²⁴ · Σ|q·k|·c, which moves every p by twice that much; the weighted mean
      // of values of at most max|v| moves by as much again, plus (keys + 8) roundings of its own.
      double zmax = 0;
      double vmax = 0;
      for (std::int64_t j = 0; j < query.keys; ++j) {
        double z = 0;
        for (std::int64_t i = 0; i < d; ++i) {
          z += std::abs(static_cast<double>(query.query[i]) *
                        static_cast<double>(k[static_cast<std::size_t>(j * groups * d + group * d + i)]));
          vmax = std::max(vmax,
                          std::abs(static_cast<double>(v[static_cast<std::size_t>(j * groups * d + group * d + i)])));
        }
        zmax = std::max(zmax, z * static_cast<double>(a.scale));
      }
      const double u = std::ldexp(1.0, -24);
      const double bound = vmax * u * (2 * static_cast<double>(d + 2) * zmax + static_cast<double>(query.keys) + 8);
      for (std::int64_t i = 0; i < d; ++i) {
        const double want = expected[static_cast<std::size_t>((static_cast<std::int64_t>(r) * heads + h) * d + i)];
        ASSERT_NEAR(static_cast<double>(out[static_cast<std::size_t>(i)]), want, bound)
            << "row " << r << " head " << h << " " << i;
      }
    }
  }
}

/// The records are about something: every kind was met in some directory.
TEST(TransformersGoldens, HoldEveryKindOfRecord) {
  std::size_t linears = 0, norms = 0, activations = 0, ropes = 0, attentions = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::source_dir() / "tests/golden")) {
    if (!std::filesystem::exists(entry.path() / "golden.safetensors")) continue;
    const Golden golden(entry.path());
    linears += golden.names_ending(".scale").size();
    activations += golden.names_ending("ffn_act.gate").size();
    ropes += golden.has("rope_cos") ? 1 : 0;
    attentions += golden.has("blk.0.attn.q") ? 1 : 0;
    for (const auto& name : golden.names_ending("_norm.output")) norms += name.empty() ? 0 : 1;
  }
  EXPECT_GE(linears, 14U);
  EXPECT_GE(norms, 5U);
  EXPECT_GE(activations, 2U);
  EXPECT_GE(ropes, 1U);
  EXPECT_GE(attentions, 1U);
}

INSTANTIATE_TEST_SUITE_P(Goldens, Transformers,
                         ::testing::Values("online-h64-gqa", "online-h32-gqa-silu", "offline-h64-gqa",
                                           "offline-h32-mha", "offline-h64-mha", "offline-h32-gqa-deep",
                                           "llama-f32-gqa-tied", "llama-bf16-mha-untied", "llama-bitlinear", "one-bit"),
                         [](const auto& i) {
                           std::string name = i.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace rpt::model
