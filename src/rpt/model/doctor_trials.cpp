// SPDX-License-Identifier: MIT
#include "rpt/model/doctor_parts.h"

/// What the doctor tries: other readings of the same weights.
namespace rpt::model {
namespace {

using tensor::DType;

void add_scale_trials(const Model& model, const Treatment& treatment, bool online, std::vector<Trial>& trials) {
  struct Kind {
    ScaleChange change;
    const char* fault;
    const char* cause;
    const char* mend;
  };
  // A directory of latents has no scale to change: it follows from them.
  const bool mechanical =
      model.format != "llama2.c" && !(online && model.weights.blocks.front().attn_q.weight.latents().has_value());
  for (const Kind& k : {
           Kind{ScaleChange::halved, "doubled_scale", "every scale is twice what the model was trained with", "s / 2"},
           Kind{ScaleChange::doubled, "halved_scale", "every scale is half of what the model was trained with", "2 s"},
           Kind{ScaleChange::inverted, "inverted_scale",
                "every scale is the reciprocal: linear_class bitlinear divides by weight_scale, autobitlinear "
                "multiplies, and a converter took one for the other",
                "1 / s"},
           Kind{ScaleChange::by_density, "scale_without_density",
                "the model was trained with weights that were quantised twice, which makes s · density of s",
                "s · density"},
           Kind{ScaleChange::over_density, "scale_quantised_twice",
                "weights that were 0 and ±s already were quantised again, which made s · density of s", "s / density"},
       }) {
    Treatment t = treatment;
    t.scale = k.change;
    std::string mend = fmt::format("replace every scale s by {}", k.mend);
    if (!mechanical) mend = fmt::format("not mechanical: scales follow from latents here; with {} it would do", k.mend);
    trials.push_back({{.fault = k.fault,
                       .place = "the scale of every ternary layer",
                       .cause = k.cause,
                       .mend = std::move(mend),
                       .mechanical = mechanical},
                      t});
  }
}

void add_row_trials(const Model& model, const Treatment& treatment, std::vector<Trial>& trials) {
  for (const RowChange change : {RowChange::to_halves, RowChange::to_pairs}) {
    const bool halves = change == RowChange::to_halves;
    Treatment t = treatment;
    t.rows = change;
    trials.push_back(
        {{.fault = halves ? "permuted_qk" : "unpermuted_qk",
          .place = "attn_q and attn_k of every block",
          .cause = halves ? "the rows stand in rope pairs, as files of architecture llama have them, and are read in "
                            "halves"
                          : "the rows stand in halves, as Hugging Face has them, and are read as rope pairs",
          .mend = halves ? "put the rows of each head from pairs into halves"
                         : "put the rows of each head from halves into pairs",
          .mechanical = model.format != "llama2.c"},
         t});
  }
}

}  // namespace

std::vector<Trial> list_trials(const Model& model, const Treatment& treatment, DType stored, bool online) {
  std::vector<Trial> trials;
  const LinearWeight& first = model.weights.blocks.front().attn_q;
  if (first.ternary() && treatment.scale == ScaleChange::none) add_scale_trials(model, treatment, online, trials);
  if (treatment.rows == RowChange::none && model.config.head_size > 2) add_row_trials(model, treatment, trials);
  if (model.format == "gguf" && stored == DType::i2_s && treatment.reading.i2_s == ternary::I2sLayout::x86) {
    Treatment t = treatment;
    t.reading.i2_s = ternary::I2sLayout::arm;
    trials.push_back({{.fault = "arm_layout",
                       .place = "every i2_s tensor",
                       .cause = "the codes stand in blocks of 64, as bitnet.cpp packs them on Arm; on x86 they are "
                                "read in blocks of 128, and nothing in the file says which",
                       .mend = "write the codes in the x86 order (or read with --i2s-layout arm)",
                       .mechanical = true},
                      t});
  }
  if (model.config.sub_norms && !treatment.other_activation) {
    const bool silu = model.config.activation == Activation::silu;
    Treatment t = treatment;
    t.other_activation = true;
    trials.push_back(
        {{.fault = "wrong_architecture",
          .place = model.format == "gguf" ? "general.architecture" : "config.json: hidden_act",
          .cause = fmt::format("the file names the network with {} between gate and up, and the weights are of the one "
                               "with {}",
                               silu ? "SiLU" : "relu²", silu ? "relu²" : "SiLU"),
          .mend = model.format == "gguf"
                      ? fmt::format("general.architecture = \"{}\"", silu ? "bitnet-b1.58" : "bitnet")
                      : fmt::format("hidden_act = \"{}\"", silu ? "relu2" : "silu"),
          .mechanical = true},
         t});
  }
  return trials;
}

}  // namespace rpt::model
