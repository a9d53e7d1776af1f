// SPDX-License-Identifier: MIT
#include "rpt/model/gauge.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "rpt/core/error.h"
#include "rpt/model/decoder.h"
#include "rpt/model/gate.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using tensor::DType;
using test::TinyModel;
using test::TinyShape;
using Sequences = std::vector<std::vector<std::int32_t>>;

/// The linear layers of a block, beside the norm that feeds them and their exponent.
struct Part {
  std::string name;
  LinearWeight BlockWeights::*linear;
  NormWeight BlockWeights::*gain;
  double TypeScales::*scale;
  std::function<int(const BlockGauge&)> exponent;
};

const std::vector<Part>& parts() {
  using B = BlockWeights;
  using S = TypeScales;
  using G = const BlockGauge&;
  static const std::vector<Part> all{
      {"attn_q", &B::attn_q, &B::attn_norm, &S::attn_q, [](G g) { return g.attention + g.query_key; }},
      {"attn_k", &B::attn_k, &B::attn_norm, &S::attn_k, [](G g) { return g.attention - g.query_key; }},
      {"attn_v", &B::attn_v, &B::attn_norm, &S::attn_v, [](G g) { return g.attention; }},
      {"attn_output", &B::attn_output, &B::attn_sub_norm, &S::attn_output, [](G g) { return g.attn_output; }},
      {"ffn_gate", &B::ffn_gate, &B::ffn_norm, &S::ffn_gate, [](G g) { return g.feed_forward; }},
      {"ffn_up", &B::ffn_up, &B::ffn_norm, &S::ffn_up, [](G g) { return g.feed_forward; }},
      {"ffn_down", &B::ffn_down, &B::ffn_sub_norm, &S::ffn_down, [](G g) { return g.ffn_down; }}};
  return all;
}

Gauge random_gauge(std::size_t blocks, int low, int high, std::uint64_t seed) {
  core::Random random(seed);
  const auto draw = [&] { return low + static_cast<int>(random.below(static_cast<std::uint64_t>(high - low + 1))); };
  Gauge gauge(blocks);
  for (BlockGauge& g : gauge) g = {draw(), draw(), draw(), draw(), 0};
  return gauge;
}

Gauge negated(Gauge gauge) {
  for (BlockGauge& g : gauge) g = {-g.attention, -g.attn_output, -g.feed_forward, -g.ffn_down, -g.query_key};
  return gauge;
}

Sequences gate_sequences(const Model& model, std::int64_t tokens = 64) {
  return {gate_ids(model.config, tokens)};
}

std::unique_ptr<Model> regauged(const Model& model, const Gauge& gauge) {
  return apply_gauge(model, gauge, calibrate(model, gate_sequences(model)));
}

/// As if a calibration had met nothing that could stand in the way.
GaugeCalibration nothing_seen(const Model& model) {
  GaugeCalibration seen;
  seen.blocks.resize(model.weights.blocks.size());
  return seen;
}

std::string hash_of(const Model& model) {
  return nll_sha256(gate_nlls(model));
}

std::string bytes_of(const LinearWeight& linear) {
  const tensor::StoredView v = linear.weight.stored_latents();
  return {reinterpret_cast<const char*>(v.data), v.bytes};
}

/// Latents of a bf16 model made up in memory, to be spoiled.
std::span<std::uint16_t> bf16_latents(LinearWeight& linear) {
  const tensor::StoredView v = linear.weight.stored_latents();
  return {reinterpret_cast<std::uint16_t*>(const_cast<std::byte*>(v.data)), v.bytes / 2};
}

/// Expects a ConfigError whose message holds every one of `words`.
template <typename Action>
void expect_refusal(Action&& action, const std::vector<std::string>& words) {
  try {
    action();
    FAIL() << "no refusal that says " << words.front();
  } catch (const ConfigError& e) {
    for (const std::string& word : words) {
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << word << " in: " << e.what();
    }
  }
}

TEST(Gauge, RandomPowersOfTwoChangeNoBitOfTheOutput) {
  const std::vector<TinyShape> shapes{
      {},
      {.activation = Activation::silu, .tied_head = false, .seed = 2},
      {.type = DType::f32, .seed = 3},
      {.hidden = 192, .feed_forward = 200, .heads = 4, .kv_heads = 1, .head_size = 64, .seed = 4},
      {.type = DType::f16, .seed = 5}};
  for (const TinyShape& shape : shapes) {
    const auto model = TinyModel::make(shape);
    const std::string hash = hash_of(*model);
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      // Small latents in f16 are subnormal there, so that only larger ones are sure to be exact.
      const Gauge gauge = random_gauge(2, shape.type == DType::f16 ? 0 : -8, 14, 10 * shape.seed + seed);
      const auto other = regauged(*model, gauge);
      EXPECT_EQ(hash_of(*other), hash) << tensor::name(shape.type) << ", seed " << seed;
      for (std::size_t i = 0; i < gauge.size(); ++i) {
        for (const Part& p : parts()) {
          const int j = p.exponent(gauge[i]);
          EXPECT_EQ((other->weights.blocks[i].*p.linear).weight.codes().scale,
                    std::ldexp((model->weights.blocks[i].*p.linear).weight.codes().scale, j));
          EXPECT_EQ((other->weights.blocks[i].*p.gain).gain[5],
                    std::ldexp((model->weights.blocks[i].*p.gain).gain[5], -j));
        }
      }
    }
  }
}

/// The test above can fail: half as much again is no power of two.
TEST(Gauge, AnotherFactorFailsTheGate) {
  const auto model = TinyModel::make();
  const auto other = TinyModel::make();
  BlockWeights& block = other->weights.blocks[1];
  for (std::uint16_t& w : bf16_latents(block.ffn_down)) w = core::float_to_bf16(core::bf16_to_float(w) * 1.5F);
  for (float& g : block.ffn_sub_norm.gain) g = core::bf16_to_float(core::float_to_bf16(g / 1.5F));
  EXPECT_THROW(expect_identical(*model, *other), CheckError);
}

/// Nor does a latent or a gain alone do.
TEST(Gauge, HalfOfAGaugeFailsTheGate) {
  const auto model = TinyModel::make();
  const auto other = regauged(*model, {{.attention = 1}, {}});
  for (float& g : other->weights.blocks[0].attn_norm.gain) g *= 2;
  EXPECT_THROW(expect_identical(*model, *other), CheckError);
}

TEST(Gauge, ThereAndBackGivesTheSameBytes) {
  const auto model = TinyModel::make();
  const Gauge gauge = random_gauge(2, -5, 9, 1);
  const auto there = regauged(*model, gauge);
  const auto back = regauged(*there, negated(gauge));
  for (std::size_t i = 0; i < gauge.size(); ++i) {
    for (const Part& p : parts()) {
      EXPECT_EQ(bytes_of(back->weights.blocks[i].*p.linear), bytes_of(model->weights.blocks[i].*p.linear));
      EXPECT_EQ((back->weights.blocks[i].*p.gain).gain, (model->weights.blocks[i].*p.gain).gain);
    }
  }
}

TEST(Gauge, TowardsAModelFindsItsGauge) {
  const auto model = TinyModel::make();
  const Gauge gauge = random_gauge(2, -5, 9, 2);
  const auto other = regauged(*model, gauge);
  EXPECT_EQ(gauge_towards(*model, *other), gauge);
  EXPECT_EQ(gauge_towards(*other, *model), negated(gauge));
  EXPECT_EQ(gauge_towards(*model, *model), Gauge(2));
  expect_refusal([&] { gauge_towards(*model, *TinyModel::make({.feed_forward = 384})); }, {"feed-forward size"});
}

TEST(Gauge, TowardsScalesComesNearestInEveryGroup) {
  const auto start = TinyModel::make();
  const auto model = regauged(*start, random_gauge(2, -5, 9, 3));
  const TypeScales reversed = inverse(k2b4tScales);
  for (const TypeScales& targets : {k2b4tScales, reversed}) {
    const auto other = regauged(*model, gauge_towards(*model, targets));
    for (const BlockWeights& block : other->weights.blocks) {
      const auto distance = [&](std::initializer_list<std::size_t> group) {
        double sum = 0;
        for (const std::size_t p : group) {
          sum += std::log2(targets.*parts()[p].scale /
                           static_cast<double>((block.*parts()[p].linear).weight.codes().scale));
        }
        return std::fabs(sum / static_cast<double>(group.size()));
      };
      EXPECT_LE(distance({0, 1, 2}), 0.5);
      EXPECT_LE(distance({3}), 0.5);
      EXPECT_LE(distance({4, 5}), 0.5);
      EXPECT_LE(distance({6}), 0.5);
    }
    EXPECT_EQ(gauge_towards(*other, targets), Gauge(2)) << "already there";
  }
  EXPECT_THROW(gauge_towards(*model, TypeScales{.ffn_up = 0}), ConfigError);
}

TEST(Gauge, InverseReversesTheOrderWithinTheSameRange) {
  const TypeScales r = inverse(k2b4tScales);
  EXPECT_DOUBLE_EQ(r.attn_q, k2b4tScales.attn_v);
  EXPECT_DOUBLE_EQ(r.attn_v, k2b4tScales.attn_q);
  for (const Part& p : parts()) {
    EXPECT_DOUBLE_EQ(r.*p.scale * k2b4tScales.*p.scale, 0.79 * 4.2);
    EXPECT_DOUBLE_EQ(inverse(r).*p.scale, k2b4tScales.*p.scale);
  }
}

TEST(Gauge, NativeBringsGainsToOne) {
  const auto model = TinyModel::make();  // gains 1 ± 0.1
  EXPECT_EQ(native_gauge(*model), Gauge(2));
  const Gauge gauge = random_gauge(2, -5, 9, 4);
  const auto other = regauged(*model, gauge);
  EXPECT_EQ(native_gauge(*other), negated(gauge));
  for (float& g : other->weights.blocks[1].ffn_norm.gain) g = 0;
  EXPECT_EQ(native_gauge(*other)[1].feed_forward, 0);
}

TEST(Gauge, WithinTakesTheNearestPowerOfTwo) {
  const auto start = TinyModel::make();
  const auto model = regauged(*start, random_gauge(2, -5, 9, 5));
  for (const auto& [low, high] : {std::pair{1.0, 4.0}, {0.01, 0.05}, {1.0, 2.0}, {1e-3, 1e3}}) {
    const Gauge gauge = gauge_within(*model, low, high);
    const auto other = regauged(*model, gauge);
    for (std::size_t i = 0; i < gauge.size(); ++i) {
      for (const Part& p : parts()) {
        const auto scale = static_cast<double>((other->weights.blocks[i].*p.linear).weight.codes().scale);
        EXPECT_GE(scale, low);
        EXPECT_LT(scale, high);
      }
    }
    EXPECT_EQ(gauge_within(*other, low, high), Gauge(2)) << "already there";
  }
  EXPECT_EQ(gauge_within(*model, 1e-3, 1e3), Gauge(2));
  // Both ends: a scale of exactly `low` stays, one of exactly `high` does not.
  const auto scale = static_cast<double>(model->weights.blocks[0].ffn_down.weight.codes().scale);
  EXPECT_EQ(gauge_within(*model, scale, 64 * scale)[0].ffn_down, 0);
  EXPECT_EQ(gauge_within(*model, scale / 64, scale)[0].ffn_down, -1);
  for (const auto& [low, high] : {std::pair{1.0, 1.9}, {0.0, 4.0}, {-1.0, 4.0}, {1.0, HUGE_VAL}, {NAN, 4.0}}) {
    EXPECT_THROW(gauge_within(*model, low, high), ConfigError) << low << " " << high;
  }
}

TEST(Gauge, WithinNamesTheGroupThatDoesNotFit) {
  const auto model = TinyModel::make();
  for (std::uint16_t& w : bf16_latents(model->weights.blocks[1].attn_v)) w = static_cast<std::uint16_t>(w + (3 << 7));
  EXPECT_NO_THROW(gauge_within(*model, 1, 32));
  expect_refusal([&] { gauge_within(*model, 1, 4); }, {"blk.1.attn_norm", "[1, 4)"});
}

TEST(Gauge, ScalesStayWhereEveryFormHoldsThem) {
  const auto model = TinyModel::make();  // scales of 0.04
  EXPECT_EQ(hash_of(*regauged(*model, {{.attn_output = -9}, {}})), hash_of(*model));
  expect_refusal([&] { regauged(*model, {{.attn_output = -10}, {}}); }, {"blk.0.attn_output", "scale", "2^-10"});
  const auto seen = nothing_seen(*model);
  EXPECT_NO_THROW(apply_gauge(*model, {{}, {.feed_forward = 20}}, seen));
  expect_refusal([&] { apply_gauge(*model, {{}, {.feed_forward = 21}}, seen); }, {"blk.1.ffn_gate", "scale"});
  expect_refusal([&] { apply_gauge(*model, {{}, {.ffn_down = 5000}}, seen); }, {"blk.1.ffn_down", "inf"});
  // Where the scale's own floor was in force it would not follow the latents.
  const auto zero = TinyModel::make();
  for (std::uint16_t& w : bf16_latents(zero->weights.blocks[0].ffn_down)) w = 0;
  expect_refusal([&] { apply_gauge(*zero, {{.ffn_down = 4}, {}}, seen); }, {"blk.0.ffn_down", "scale"});
  EXPECT_NO_THROW(apply_gauge(*zero, {{.attention = 4}, {}}, seen)) << "what does not move is not refused";
}

TEST(Gauge, RowsAtTheFloorOfTheQuantiserAreRefused) {
  const auto model = TinyModel::make();
  const GaugeCalibration seen = calibrate(*model, gate_sequences(*model));
  const float smallest = seen.blocks[1].ffn_down;
  EXPECT_GT(smallest, 0.5F);
  EXPECT_LT(smallest, 20.0F);
  const int last = static_cast<int>(std::floor(std::log2(static_cast<double>(smallest) / 1e-5)));
  EXPECT_EQ(hash_of(*apply_gauge(*model, {{}, {.ffn_down = last}}, seen)), hash_of(*model));
  const Gauge beyond{{}, {.ffn_down = last + 1}};
  expect_refusal([&] { apply_gauge(*model, beyond, seen); }, {"blk.1.ffn_sub_norm", "floor"});
  // And rightly so.
  EXPECT_THROW(expect_identical(*model, *apply_gauge(*model, beyond, nothing_seen(*model))), CheckError);
  // A model that is at its floor already cannot move away from it.
  const auto low = apply_gauge(*model, beyond, nothing_seen(*model));
  expect_refusal([&] { regauged(*low, negated(beyond)); }, {"blk.1.ffn_sub_norm", "floor"});
}

TEST(Gauge, QueriesAndKeysMoveWithinTheNormalRangeOfF16) {
  const auto model = TinyModel::make();
  const Sequences few = gate_sequences(*model, 4);
  const GaugeCalibration seen = calibrate(*model, few);
  const BlockRanges& r = seen.blocks[0];
  EXPECT_GT(r.smallest_key, 0x1p-14F);
  EXPECT_LT(r.largest_key, 100.0F);
  const int last = static_cast<int>(std::floor(std::log2(static_cast<double>(r.smallest_key)) + 14));
  ASSERT_GE(last, 1);
  for (const int j : {last, 1, -1, -8}) {
    const auto other = apply_gauge(*model, {{.query_key = j}, {}}, seen);
    EXPECT_EQ(expect_identical(seen.nlls, *other, few), nll_sha256(seen.nlls)) << j;
    EXPECT_NE(bytes_of(other->weights.blocks[0].attn_q), bytes_of(model->weights.blocks[0].attn_q));
  }
  // Together with the gain's group.
  const auto both = apply_gauge(*model, {{.attention = 6, .query_key = -2}, {}}, seen);
  EXPECT_EQ(expect_identical(seen.nlls, *both, few), nll_sha256(seen.nlls));
  EXPECT_EQ(both->weights.blocks[0].attn_k.weight.codes().scale,
            std::ldexp(model->weights.blocks[0].attn_k.weight.codes().scale, 8));

  const Gauge beyond{{.query_key = last + 1}, {}};
  expect_refusal([&] { apply_gauge(*model, beyond, seen); }, {"blk.0.attn_k", "|k|", "f16"});
  // And rightly so: where keys become subnormal, bits are lost.
  const auto lossy = apply_gauge(*model, {{.query_key = 9}, {}}, nothing_seen(*model));
  EXPECT_THROW(expect_identical(seen.nlls, *lossy, few), CheckError);

  GaugeCalibration other = seen;
  other.blocks[0].largest_key = 40000;
  EXPECT_NO_THROW(apply_gauge(*model, {{.query_key = 1}, {}}, other));
  expect_refusal([&] { apply_gauge(*model, {{.query_key = -1}, {}}, other); }, {"blk.0.attn_k", "40000"});
  other = seen;
  other.blocks[0].smallest_key = 0x1p-15F;  // rounded as a subnormal before
  expect_refusal([&] { apply_gauge(*model, {{.query_key = -4}, {}}, other); }, {"blk.0.attn_k"});
}

TEST(Gauge, CalibrationSeesKeysWherePositionsPlaceThem) {
  const auto model = TinyModel::make({.context = 512});
  const Sequences sequences{gate_ids(model->config, 300), gate_ids(model->config, 7)};
  const GaugeCalibration seen = calibrate(*model, sequences);
  EXPECT_EQ(seen.nlls.size(), 307U);
  EXPECT_EQ(seen.nlls, sequence_nlls(*model, sequences));
  // What the cache holds is what was seen, rounded.
  float largest = 0;
  for (const auto& ids : sequences) {
    Decoder decoder(model->config, model->weights);
    KvCache cache(model->config, 300);
    tensor::Tensor hidden;
    decoder.forward(ids, cache, hidden);
    for (std::int64_t head = 0; head < model->config.kv_heads; ++head) {
      const auto count = static_cast<std::int64_t>(ids.size()) * model->config.head_size;
      for (std::int64_t i = 0; i < count; ++i) {
        largest = std::max(largest, std::fabs(core::f16_to_float(cache.keys(1, head)[i])));
      }
    }
  }
  EXPECT_EQ(core::f16_to_float(core::float_to_f16(seen.blocks[1].largest_key)), largest);
}

TEST(Gauge, LatentsThatTheirTypeCannotHoldAreRefused) {
  const auto with_latent = [](std::uint16_t bits) {
    auto model = TinyModel::make();
    bf16_latents(model->weights.blocks[1].ffn_up)[513] = bits;
    return model;
  };
  const Gauge half{{}, {.feed_forward = -1}};
  const auto odd = with_latent(0x00ff);  // its last bit is the smallest subnormal
  expect_refusal([&] { regauged(*odd, half); }, {"blk.1.ffn_up", "row 2, column 1", "2^-1", "bf16"});
  EXPECT_EQ(hash_of(*regauged(*odd, negated(half))), hash_of(*odd));
  const auto even = with_latent(0x80fe);
  EXPECT_EQ(hash_of(*regauged(*even, half)), hash_of(*even)) << "a subnormal that loses nothing";
  const Gauge large{{}, {.feed_forward = 10}};
  const auto huge = with_latent(0x4780);  // 2^16, and the mean with it stays small
  EXPECT_EQ(hash_of(*regauged(*huge, large)), hash_of(*huge));

  const auto narrow = TinyModel::make({.type = DType::f16});
  expect_refusal([&] { regauged(*narrow, {{.ffn_down = -6}, {}}); }, {"blk.0.ffn_down", "f16"});  // subnormal
  auto* values = reinterpret_cast<std::uint16_t*>(
      const_cast<std::byte*>(narrow->weights.blocks[1].ffn_down.weight.stored_latents().data));
  values[0] = core::float_to_f16(1000);
  expect_refusal(
      [&] {
        apply_gauge(*narrow, {{}, {.ffn_down = 7}}, nothing_seen(*narrow));
      },
      {"blk.1.ffn_down", "1000", "row 0, column 0", "f16"});  // overflow
}

TEST(Gauge, GainsThatTheirTypeCannotHoldAreRefused) {
  const auto model = TinyModel::make();
  const auto seen = nothing_seen(*model);
  std::vector<float>& gain = model->weights.blocks[0].ffn_norm.gain;
  const Gauge twice{{.feed_forward = 1}, {}};
  gain[7] = 0x1p-133F;
  expect_refusal([&] { apply_gauge(*model, twice, seen); }, {"blk.0.ffn_norm", "at 7", "not exact"});
  model->weights.blocks[0].ffn_norm.stored_type = DType::f32;
  EXPECT_NO_THROW(apply_gauge(*model, twice, seen));
  gain[7] = 0x1p-149F;
  expect_refusal([&] { apply_gauge(*model, twice, seen); }, {"blk.0.ffn_norm", "not exact"});
  gain[7] = 0x1p121F;
  expect_refusal([&] { apply_gauge(*model, {{.feed_forward = -2}, {}}, seen); }, {"blk.0.ffn_norm", "overflow"});
  gain[7] = 0x1p127F;
  expect_refusal([&] { apply_gauge(*model, {{.feed_forward = -2}, {}}, seen); }, {"blk.0.ffn_norm", "not exact"});
  EXPECT_NO_THROW(apply_gauge(*model, Gauge(2), seen));
}

TEST(Gauge, WritesWhatItChecked) {
  const auto model = TinyModel::make({.tied_head = false});
  const test::ScratchFolder folder;
  const Gauge gauge = random_gauge(2, -5, 9, 6);
  const Sequences sequences{gate_ids(model->config), gate_ids(model->config, 20)};
  const GaugeReport r = write_in_gauge(*model, gauge, sequences, folder / "other", {});
  const auto written = open_huggingface(folder / "other");
  EXPECT_EQ(r.nll_sha256, nll_sha256(sequence_nlls(*model, sequences)));
  EXPECT_EQ(r.tokens, 84U);
  EXPECT_EQ(hash_of(*written), hash_of(*model));
  EXPECT_EQ(gauge_towards(*model, *written), gauge);
  ASSERT_EQ(r.tensors.size(), 14U);
  double before = 0;
  double after = 0;
  double all = 0;
  for (std::size_t n = 0; n < r.tensors.size(); ++n) {
    const GaugedTensor& t = r.tensors[n];
    const Part& p = parts()[n % 7];
    EXPECT_EQ(t.name, fmt::format("blk.{}.{}", n / 7, p.name));
    EXPECT_EQ(t.exponent, p.exponent(gauge[n / 7]));
    EXPECT_EQ(t.scale_after, (written->weights.blocks[n / 7].*p.linear).weight.codes().scale);
    EXPECT_EQ(t.scale_after, std::ldexp(t.scale_before, t.exponent));
    const TernaryWeight& w = (model->weights.blocks[n / 7].*p.linear).weight;
    const auto count = static_cast<double>(w.rows() * w.columns());
    before += count * t.smallest_share_before;
    after += count * t.smallest_share_after;
    all += count;
  }
  EXPECT_NEAR(before / all, GaugeReport::kSmallestShare, 0.005);
  EXPECT_NEAR(after / all, GaugeReport::kSmallestShare, 0.005);
  EXPECT_GT(r.moved_share, 0.2);
  EXPECT_LT(r.moved_share, 1.0);
  EXPECT_GT(r.smallest_maximum, 1e-5F);
  EXPECT_FALSE(r.smallest_maximum_at.empty());
  EXPECT_EQ(write_in_gauge(*model, Gauge(2), sequences, folder / "same", {}).moved_share, 0);
}

TEST(Gauge, AFailedCheckLeavesNothing) {
  const auto model = TinyModel::make();
  const test::ScratchFolder folder;
  ExportOptions options;
  options.check = [](const Model&) { throw CheckError("no"); };
  EXPECT_THROW(write_in_gauge(*model, Gauge(2), gate_sequences(*model), folder / "other", options), CheckError);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Gauge, ModelsOfCodesAreRefused) {
  const auto model = TinyModel::make();
  const test::ScratchFolder folder;
  export_huggingface(*model, folder / "packed", HfForm::packed, {});
  const auto packed = open_huggingface(folder / "packed");
  const std::vector<std::string> words{"packed", "blk.0.attn_q", "codes"};
  expect_refusal([&] { gauge_towards(*packed, k2b4tScales); }, words);
  expect_refusal([&] { gauge_towards(*packed, *model); }, words);
  expect_refusal([&] { gauge_within(*packed, 1, 4); }, words);
  expect_refusal([&] { apply_gauge(*packed, Gauge(2), nothing_seen(*packed)); }, words);
  EXPECT_EQ(gauge_towards(*model, *packed), Gauge(2)) << "as a target codes will do";
}

TEST(Gauge, SeedlingIsTheSameInEveryGaugeAndForm) {
  const auto model = open_huggingface(test::source_dir() / "models/seedling");
  const std::string hash = hash_of(*model);
  const test::ScratchFolder folder;
  const std::vector<std::pair<std::string, Gauge>> gauges{{"2b", gauge_towards(*model, k2b4tScales)},
                                                          {"inverse", gauge_towards(*model, inverse(k2b4tScales))},
                                                          {"native", native_gauge(*model)},
                                                          {"within", gauge_within(*model, 1, 4)},
                                                          {"random", random_gauge(4, -7, 10, 7)}};
  for (const auto& [name, gauge] : gauges) {
    const GaugeReport r = write_in_gauge(*model, gauge, gate_sequences(*model), folder / name, {});
    EXPECT_EQ(r.nll_sha256, hash) << name;
    EXPECT_GT(r.moved_share, 0.01) << name;
    const auto written = open_huggingface(folder / name);
    EXPECT_EQ(export_huggingface(*written, folder / (name + "-packed"), HfForm::packed, {}), hash);
    for (const DType type : {DType::i2_s, DType::tq1_0, DType::tq2_0}) {
      EXPECT_EQ(export_gguf(*written, folder / (name + ".gguf"), type, {}), hash) << name << " " << tensor::name(type);
    }
  }
}

}  // namespace
}  // namespace rpt::model
