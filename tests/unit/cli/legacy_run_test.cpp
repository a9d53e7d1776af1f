// SPDX-License-Identifier: MIT
// docs/experiments.md, "The reference's pipeline": the one that full runs of `rpt reproduce` hold is that of `rpt
// deploy`.
#include "rpt/experiment/legacy_run.h"

#include "rpt/cli/experiment_options.h"
#include "rpt/model/model.h"
#include "tests/unit/cli/deploy_testing.h"

namespace rpt::cli {
namespace {

TEST_F(Deploy, ReproduceRunsTheReferencesPipelineAsDeployDoes) {
  const std::string place = small_model();
  core::write_file_atomic(path("test.jsonl"), lines(30));
  auto all = words(place, "run");
  all.insert(all.end(), {"--protocol", "legacy", "--sparsity", "0.1"});
  const Json r = json(all);

  std::string test = path("test.jsonl");
  const experiment::Texts texts = load_experiment_texts(path("text.txt"), test, 0);
  train::TrainConfig tune = default_tune();
  tune.steps = 6;
  tune.batch = 2;
  tune.context = 32;
  complete_tune(tune, path("text.txt"), 0, "reproduce");
  const auto model = model::open_model(place);
  const experiment::DeployConfig config = experiment::legacy_config("small", *model, tune, test, texts);
  experiment::Surroundings around;
  around.machine = "a machine";
  const auto found = experiment::run_legacy(*model, config, texts, path("again"), around);
  ASSERT_TRUE(found);
  EXPECT_EQ(file("again/model.gguf"), file("run/model.gguf"));
  ASSERT_EQ(found->states.size(), r["states"].size());
  for (std::size_t i = 0; i < found->states.size(); ++i) {
    EXPECT_EQ(found->states[i].name, r["states"][i]["state"]);
    EXPECT_EQ(found->states[i].found.number("legacy_nll"), r["states"][i]["legacy_nll"]);
  }

  const report::CaptionedTable table = experiment::legacy_table({*found});
  EXPECT_NE(table.table.to_text().find("GGUF, scale max|w|"), std::string::npos);
  const auto records = experiment::legacy_records({*found});
  ASSERT_EQ(records.size(), found->states.size());
  around.interrupted = [] { return true; };
  EXPECT_FALSE(experiment::run_legacy(*model, config, texts, path("stopped"), around));
  experiment::DeployConfig sound = config;
  sound.recipe.protocol = prune::Protocol::sound;
  EXPECT_THROW(experiment::run_legacy(*model, sound, texts, path("sound"), around), LogicError);
}

}  // namespace
}  // namespace rpt::cli
