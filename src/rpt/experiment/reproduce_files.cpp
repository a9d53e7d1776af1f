// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "rpt/core/atomic_file.h"
#include "rpt/experiment/deploy_files.h"
#include "rpt/experiment/reproduce_report.h"
#include "rpt/report/escape.h"

namespace rpt::experiment {
namespace {

double seconds_of(const StageFigures& found) {
  double sum = 0;
  for (const auto& [work, kind] : kWorks) {
    const auto at = found.numbers.find(fmt::format("seconds_{}", kind));
    if (at != found.numbers.end()) sum += at->second;
  }
  return sum;
}

/// Whether the stage says what each kind of its work took; a fine-tune that was interrupted does not.
bool is_timed(const ReproduceConfig& config, const ReproduceCell& cell, const StageFigures& found) {
  const WorkAmounts amounts = work_of(cell, config);
  return std::all_of(kWorks.begin(), kWorks.end(), [&](const auto& kind) {
    return amounts[kind.first] <= 0 || found.numbers.contains(fmt::format("seconds_{}", kind.second));
  });
}

/// How the estimate that stood after the first stages, a tenth of the time, did.
std::string estimate_line(const ReproduceConfig& config, const ReproduceResult& result) {
  std::vector<const std::pair<ReproduceCell, StageFigures>*> timed;
  double total = 0;
  for (const auto& entry : result.cells) {
    if (!is_timed(config, entry.first, entry.second)) continue;
    timed.push_back(&entry);
    total += seconds_of(entry.second);
  }
  WorkAmounts guess;
  for (const auto& [work, kind] : kWorks) {
    guess[work] = result.cells.front().second.number(fmt::format("guess_{}", kind));
  }
  TimeEstimate estimate(guess);
  WorkAmounts left;
  double spent = 0;
  for (const auto* entry : timed) {
    const auto& [cell, found] = *entry;
    if (spent < total / 10) {
      learn(estimate, cell, config, found);
      spent += seconds_of(found);
      continue;
    }
    const WorkAmounts more = work_of(cell, config);
    for (std::size_t w = 0; w < left.of.size(); ++w) left.of[w] += more.of[w];
  }
  const double estimated = spent + estimate.seconds(left);
  std::string line = fmt::format(
      "Stages took {:.0f} s together, by what each measured of its own work, which is less than the time that passed; "
      "after the first tenth of them {:.0f} s were estimated ({:+.0f} %).",
      total, estimated, total > 0 ? 100 * (estimated / total - 1) : 0.0);
  if (timed.size() < result.cells.size()) {
    line +=
        fmt::format(" Not in these sums: {} of {} stages, which were interrupted and do not know all that they took.",
                    result.cells.size() - timed.size(), result.cells.size());
  }
  return line;
}

/// Whether an earlier program's figures of one of the bases were known when arms were chosen: docs/results.md had them.
bool has_earlier_results(const ReproduceConfig& config) {
  const std::set<std::string> known{"micro-1", "micro-2", "micro-3", "micro-4", "micro-5"};
  return std::any_of(config.bases.begin(), config.bases.end(), [&](const std::string& base) {
    return known.contains(std::filesystem::path(base).filename().string());
  });
}

/// What the protocol of our experiments asks for and no arm of the run answers.
std::vector<std::string> not_asked(const ReproduceConfig& config) {
  std::vector<std::string> issues;
  issues.push_back(fmt::format(
      "One fine-tune text, one test text of its kind, and one size of fine-tune. No arm learns from 0.1, 1 and 10 MB "
      "of the text, so that nothing says whether pruning helps where data are scarce. {}",
      config.full ? "How far the fine-tune is from a plateau is asked of no pruning and of the declared arm only, four "
                    "times as long."
                  : "Nothing says how far the fine-tune is from a plateau."));
  for (const std::string& text : {config.test, config.retention}) {
    if (!text.starts_with("wikitext-2:")) continue;
    issues.push_back(
        fmt::format("{} is scored as it is tokenised, its <unk> giving no loss; the raw text is not scored "
                    "beside it.",
                    text));
  }
  issues.push_back(fmt::format(
      "The reference prunes level by level and fine-tunes after each; {}",
      config.full ? "of the arms here only magnitude per tensor at 10 % does so too (5 %, then 10 %, against two "
                    "fine-tunes without pruning); no other level, and no legacy threshold."
                  : "every arm here is pruned once, from the base. Magnitude per tensor at 5 %, then 10 %, is a full "
                    "run's."));
  issues.push_back(fmt::format(
      "{} No pruning at the scales max|w|, refit and learned is no arm. Random masks matched on the scales of "
      "magnitude, and scales and factors set by hand, are scored without training only.",
      config.full ? "Of other scale rules than online there are frozen scales and scales quantised twice, and these "
                    "without pruning only."
                  : "Every model is trained and read with online scales; no pruning at frozen scales and at scales "
                    "quantised twice is a full run's."));
  return issues;
}

std::string readme(const ReproduceConfig& config) {
  return fmt::format(
      "# A run of `rpt reproduce`\n\n"
      "    {}\n\n"
      "goes on with this run where anything is missing, and makes it again in an empty folder. `--full` in the same "
      "folder adds the arms, levels and seeds that a quick run leaves out.\n\n"
      "| file | what |\n|---|---|\n"
      "| `report.html`, `report.md`, `tables.tex` | the report for people |\n"
      "| `report.json` | every contrast with effect, interval, documents, bases, seeds and verdict; every model with "
      "hashes; all tables |\n"
      "| `tracking.md` | every stage and what it took |\n"
      "| `run.json`, `stages/` | configuration, and what each stage found, NLL by document included |\n"
      "| `KNOWN_ISSUES.md`, `CITATION.cff` | what does not hold; how to cite |\n",
      reproduce_command(config, "FOLDER"));
}

}  // namespace

std::string stages_done(const ReproduceResult& result, const ReproduceConfig& config) {
  return fmt::format("{} of {} stages", result.cells.size(), plan_cells(config).size());
}

std::string reproduce_command(const ReproduceConfig& config, const std::string& folder) {
  const train::TrainConfig& t = config.tune;
  std::string command = "rpt reproduce " + report::shell_word(folder) + (config.full ? " --full" : " --quick");
  for (const std::string& base : config.bases) command += " --base " + report::shell_word(base);
  command += " --text " + report::shell_word(config.text);
  if (config.test != config.text + " (held out)") command += " --test " + report::shell_word(config.test);
  command += " --retention " + (config.retention.empty() ? "none" : report::shell_word(config.retention));
  return command + fmt::format(" --steps {} --batch {} --context {} --lr {} --stride {} --seeds {} --seed {}", t.steps,
                               t.batch, t.context, t.optimiser.lr, config.stride, config.seeds, config.seed);
}

std::string reproduce_tracking(const ReproduceConfig& config, const ReproduceResult& result,
                               const std::string& machine) {
  report::Table table({{"stage"},
                       {"base"},
                       report::number_column("NLL", 4),
                       report::number_column("seconds", 1),
                       {"nll_sha256"},
                       {"masks_sha256"}});
  for (const auto& [cell, found] : result.cells) {
    table.add_row({cell.stage(), config.bases[cell.base], found.number("mean_nll"), seconds_of(found),
                   found.text("nll_sha256").substr(0, 16), found.text("masks_sha256").substr(0, 16)});
  }
  std::set<std::string> machines{machine};
  for (const auto& [cell, found] : result.cells) machines.insert(found.text("machine"));
  return fmt::format("# Tracking log\n\nOn {}. {}\n\n{}", fmt::join(machines, "; "), estimate_line(config, result),
                     table.to_markdown());
}

std::string reproduce_known_issues(const ReproduceConfig& config, const ReproduceResult& result,
                                   const Findings& findings) {
  std::string text;
  const auto add = [&](const std::string& issue) { text += (text.empty() ? "" : "\n\n") + issue; };
  if (!is_complete(result, config)) {
    add(
        fmt::format("{}: means are of the models that are there, contrasts of arms without all their bases are left "
                    "out, and p-values are adjusted for the contrasts that are there, fewer than the whole run has.",
                    stages_done(result, config)));
  }
  for (const StageFailure& f : result.failures) {
    add(
        fmt::format("Failed: stage {}: {}. Its model is in no mean, and contrasts that need it are left out; the same "
                    "command tries it again.",
                    f.stage, f.message));
  }
  if (config.bases.size() < kMinBases) {
    add(
        fmt::format("{} of at least {} bases: no intervals across bases, no p-values, and every verdict is "
                    "undecided. What is said holds for these models only.",
                    config.bases.size(), kMinBases));
  }
  for (const Comparison& c : findings.comparisons) {
    if (std::cmp_greater_equal(c.contrast.documents, evaluate::kMinUnits)) continue;
    add(fmt::format("Contrasts on the {} text have {} of at least {} documents: no intervals, and undecided.",
                    c.retention ? "retention" : "test", c.contrast.documents, evaluate::kMinUnits));
    break;
  }
  if (config.seeds < 2) add("One fine-tune of each arm: what its seed does is not told apart from the base.");
  if (!config.full) {
    add("A quick run: one dose; the arms Wanda, matched random, legacy threshold and frozen zeros are scored without "
        "training only.");
  }
  for (const ExactCheck& check : findings.checks) {
    if (!check.passed()) {
      add(fmt::format("Failed: {} ({} of {}).", check.name, check.equal, check.pairs));
    }
  }
  add("The bases are small models, pre-trained on little text. Nothing here is a measurement of the reference's 2B "
      "model, and none of its figures is comparable: the table says why, figure by figure.");
  for (const std::string& issue : not_asked(config)) add(issue);
  add(fmt::format(
      "The declared contrast and the margin are fixed in the program, whatever is run. {}The intervals "
      "printed are not adjusted for their number, the p-values and verdicts are.",
      has_earlier_results(config)
          ? "The arms are not all older than the first figures of micro-1 … micro-5: after an earlier run "
            "on them arms of full runs were added (fine-tunes four times as long, pruning level by level, 30 %, "
            "no pruning at frozen scales and at scales quantised twice), and temperatures are fitted on the end of the "
            "training text instead of its beginning. "
          : ""));
  return text;
}

std::string reproduce_citation(const ReproduceConfig& config) {
  return fmt::format(
      "cff-version: 1.2.0\n"
      "message: \"If you use these figures, please cite the program that made them, and say which bases and texts.\"\n"
      "title: \"rpt reproduce: pruning of ternary language models and its controls\"\n"
      "type: dataset\n"
      "authors:\n  - name: \"The rpt developers\"\n"
      "version: \"{}\"\n"
      "license: MIT\n"
      "abstract: \"{} bases, {} fine-tune(s) of each arm, {} steps; scored without and with pruning in two gauges.\"\n",
      RPT_VERSION, config.bases.size(), config.seeds, config.tune.steps);
}

bool holds_fuller_report(const std::filesystem::path& folder, const ReproduceResult& result, const Findings& findings) {
  const std::filesystem::path file = folder / "report.json";
  if (!std::filesystem::exists(file)) return false;
  const auto report = nlohmann::json::parse(core::read_file(file), nullptr, false);  // a damaged one keeps nothing
  const auto entries = [&](const char* list) {
    const bool there = report.contains("figures") && report["figures"].contains(list);
    return there ? report["figures"][list].size() : std::size_t{0};
  };
  return entries("cells") > result.cells.size() || entries("contrasts") > findings.comparisons.size();
}

std::string write_reproduce_report(RunDirectory& run, const ReproduceConfig& config, const ReproduceResult& result,
                                   const Findings& findings, const Surroundings& around) {
  const std::filesystem::path& folder = run.folder();
  core::write_file_atomic(folder / "tracking.md", reproduce_tracking(config, result, around.machine));
  core::write_file_atomic(folder / "KNOWN_ISSUES.md",
                          "# Known issues\n\n" + reproduce_known_issues(config, result, findings) + "\n");
  write_own(run, "CITATION.cff", "citation", reproduce_citation(config), around.say);
  write_own(run, "README.md", "card", readme(config), around.say);
  return report::write_report(folder, reproduce_report(config, result, findings));
}

}  // namespace rpt::experiment
