// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "rpt/experiment/contrast.h"
#include "rpt/experiment/reproduce.h"
#include "rpt/experiment/verdict.h"

/// What follows from the stages of `rpt reproduce`.
namespace rpt::experiment {

/// A contrast of the run, judged.
struct Comparison {
  std::string name;     ///< "magnitude per tensor, 10 %, fine-tuned, gauge own"
  std::string against;  ///< "no pruning, fine-tuned, gauge own"
  std::string arm;      ///< its title
  std::string gauge;
  bool fine_tuned = false;
  bool retention = false;  ///< scored on the retention text
  bool declared = false;   ///< beforehand; all others are judged as one family
  std::size_t seeds = 0;   ///< fine-tunes of each base in the arm
  Contrast contrast;
  Judgement judgement;
  std::vector<BaseEffect> by_base;
};

/// Something that must hold to the last bit.
struct ExactCheck {
  std::string name;
  std::size_t pairs = 0;  ///< that were compared
  std::size_t equal = 0;
  bool expected = true;  ///< false: where the gauge is expected to change something
  bool passed() const { return !expected || equal == pairs; }
};

struct Findings {
  std::vector<Comparison> comparisons;  ///< the declared one first, where its stages are done
  std::vector<ExactCheck> checks;
  std::optional<Share> fine_tune_share;  ///< of the declared arm's effect on the untouched base
};

/// The scores of an arm, all bases, for contrast(): of its fine-tunes those that every base has. Nothing where a base
/// is missing, or has no fine-tune that all others have.
std::optional<Arm> arm_of(const ReproduceResult& result, const ReproduceConfig& config, BaseGauge gauge,
                          const TreatmentArm& arm, bool fine_tuned, bool retention = false);

/// The models of an arm whose base and fine-tune another arm has too.
Arm shared_with(const Arm& other, Arm arm);

/// Every arm against its baseline: without training, the untouched base; fine-tuned, the fine-tune of 0 %. Besides: the
/// fine-tune of 0 % against the untouched base, and arms in the second gauge against themselves in the first; and on
/// the retention text fine-tuned arms, in the first gauge, against the fine-tune of 0 %, and that against the bases.
/// Fine-tuned arms are compared by the fine-tunes that both have, which matters while a run is at its second ones.
/// Contrasts whose scores are the same bits in both gauges stand here once, under the first.
Findings findings_of(const ReproduceResult& result, const ReproduceConfig& config);

}  // namespace rpt::experiment
