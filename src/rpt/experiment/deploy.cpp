// SPDX-License-Identifier: MIT
#include "rpt/experiment/deploy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/evaluate/perplexity.h"
#include "rpt/evaluate/wikitext.h"
#include "rpt/experiment/deploy_files.h"
#include "rpt/experiment/deploy_report.h"
#include "rpt/experiment/measure.h"
#include "rpt/experiment/samples.h"
#include "rpt/model/export.h"
#include "rpt/prune/account.h"
#include "rpt/prune/apply.h"
#include "rpt/prune/snap.h"
#include "rpt/text/utf8.h"
#include "rpt/train/run_folder.h"
#include "rpt/train/token_stream.h"

namespace rpt::experiment {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// "5", "12.5": a dose in per cent.
std::string percent(double share) {
  return fmt::format("{:g}", std::round(share * 1e6) / 1e4);
}
/// The same within the name of a stage.
std::string level_name(double share) {
  std::string name = percent(share);
  std::replace(name.begin(), name.end(), '.', '-');
  return "level-" + name;
}

/// The lines that the reference trains on, one document each.
std::vector<train::Document> lines_of(const std::vector<train::Document>& documents) {
  std::vector<train::Document> lines;
  for (const train::Document& d : documents) {
    for (const std::string_view line : evaluate::legacy_lines(d.text)) {
      lines.push_back({.name = d.name, .text = std::string(line), .unk_is_unknown = d.unk_is_unknown});
    }
  }
  return lines;
}

/// One run of the pipeline.
class Pipeline {
 public:
  Pipeline(const model::Model& base, const DeployConfig& config, const Texts& texts, RunDirectory& run,
           const Surroundings& around)
      : base_(base), config_(config), texts_(texts), run_(run), around_(around) {}

  std::optional<DeployResult> go() {
    remove_unfinished(run_.folder());
    result_.model_sha256 = sha256_of(base_);
    result_.texts_sha256 = sha256_of(texts_);
    add("baseline", "baseline", run_.stage("baseline", [&] {
      StageFigures f = score(base_);
      f.numbers["codes_zero_share"] = prune::account(base_, base_).total.zero_share();
      return f;
    }));
    std::uint64_t number = 0;
    for (const double level : levels_to(config_.sparsity)) {
      if (!prune_to(level) || !tune(level, number++)) return std::nullopt;
    }
    if (is_legacy(config_)) {
      export_legacy();
    } else {
      export_all();
    }
    generate_texts();
    const std::string problem = write_deploy_report(run_, base_, config_, result_, losses_, around_);
    if (!problem.empty()) around_.say(problem);
    return std::move(result_);
  }

 private:
  const model::Model& current() const { return tuned_ ? *tuned_ : base_; }

  /// As scored(), and by the reference's protocol too where the run follows it.
  StageFigures score(const model::Model& model) const {
    StageFigures f = scored(model, texts_.test, {}, around_);
    if (is_legacy(config_)) {
      const evaluate::PerplexityResult r =
          evaluate::perplexity(model, texts_.test, {.protocol = evaluate::Protocol::legacy}, 0, *around_.progress);
      f.numbers["legacy_nll"] = r.mean_nll;
      f.numbers["legacy_perplexity"] = r.perplexity;
      f.numbers["legacy_tokens"] = static_cast<double>(r.scored_tokens);
    }
    return f;
  }

  /// The same with the account of what became of the base.
  StageFigures score_against_base(const model::Model& model) const {
    StageFigures f = score(model);
    add_account(f, prune::account(base_, model));
    return f;
  }

  bool add(const std::string& name, const std::string& stage, std::optional<StageFigures> found) {
    if (!found) return false;
    warn_of_other_machine(stage, *found, around_);
    around_.say(
        fmt::format("{}: NLL {:.4f}, perplexity {:.3f}", name, found->number("mean_nll"), found->number("perplexity")));
    result_.stages.push_back({name, stage, std::move(*found)});
    return true;
  }

  /// Masks for a level, and the model under them; nothing is done at level 0.
  bool prune_to(double level) {
    pruned_.reset();
    if (level == 0) return true;
    const std::string stage = level_name(level) + "-prune";
    const fs::path file = run_.stage_folder(stage) / "masks.safetensors";
    train::remove_leftovers(file);
    if (!run_.finished(stage) || !fs::exists(file)) model::write_masks(file, masks_of(level));
    masks_ = model::read_masks(file, base_.config);
    pruned_ = prune::apply_masks(current(), *masks_);
    return add(percent(level) + " % pruned", stage, run_.stage(stage, [&] {
      StageFigures f = score_against_base(*pruned_);
      f.texts["masks_sha256"] = model::sha256_of(*masks_);
      return f;
    }));
  }

  model::Masks masks_of(double level) const {
    prune::Recipe recipe = config_.recipe;
    std::optional<prune::Calibration> calibration;
    if (recipe.protocol == prune::Protocol::legacy) {
      recipe.percent = 100 * level;
      return prune::make_masks(current(), recipe);
    }
    recipe.selection.sparsity = level;
    if (prune::needs_calibration(recipe.score)) {
      std::vector<std::string> documents;
      for (const train::Document& d : texts_.train) documents.push_back(d.text);
      const prune::CalibrationText& from = *recipe.calibration;
      calibration =
          prune::calibrate(current(), prune::calibration_sequences(current(), documents, from.length, from.tokens),
                           recipe.score == prune::Score::code ? prune::Moments::inputs : prune::Moments::squares);
    }
    const prune::Progress progress{&base_, masks_ ? &*masks_ : nullptr};
    return prune::make_masks(current(), recipe, calibration ? &*calibration : nullptr, masks_ ? &progress : nullptr);
  }

  /// Trains on from the level's pruned model, every level with a fresh optimiser and an order of its own.
  bool tune(double level, std::uint64_t number) {
    train::TrainConfig tune = config_.tune;
    tune.seed += number;
    const std::string stage = level_name(level) + "-tune";
    const fs::path folder = run_.stage_folder(stage);
    if (const auto before = run_.finished(stage)) require_weights(folder / "model", *before);
    if (stream_.tokens.empty()) {
      const text::Tokenizer& vocabulary = base_.vocabulary();
      stream_ = is_legacy(config_)
                    ? train::encode_documents(lines_of(texts_.train), vocabulary, {})
                    : train::encode_documents(texts_.train, vocabulary, train::separators_of(vocabulary));
    }
    auto start = pruned_ ? std::move(pruned_) : prune::apply_masks(base_, model::full_masks(base_.config));
    tuned_ = fine_tune(std::move(start), masks_ ? &*masks_ : nullptr, tune, stream_, folder, around_,
                       is_legacy(config_) ? legacy_scales() : FixedScales());
    if (!tuned_) return false;
    losses_.emplace_back(percent(level) + " %", step_losses(folder));
    add(percent(level) + " % fine-tuned", stage, run_.stage(stage, [&] {
      StageFigures f = score_against_base(*tuned_);
      f.texts["weights_sha256"] = file_sha256(folder / "model" / kWeightsFile).value_or("");
      return f;
    }));
    const std::vector<DeployStage> last(result_.stages.end() - 2, result_.stages.end());
    for (const std::string& line : diverged_fine_tunes(last)) around_.say("warning: " + line);
    return true;
  }

  FixedScales legacy_scales() const { return {&base_, train::FixedScaleReading::twice}; }

  void export_all() {
    write_forms(current(), current());
    verify("GGUF", last_stage(result_, "-tune").text("nll_sha256"));
  }

  /// The reference's end: latents become {0, ±s0}, s0 the base's scales. A directory of those is quantised online once
  /// more, which shrinks every scale by the density of its codes, as in the fine-tunes; the GGUF that its converter
  /// makes holds s0.
  void export_legacy() {
    const auto twice = legacy_scales().snap(current());
    const auto once = prune::snap(current(), prune::SnapRule::frozen, {.base = &base_}).model;
    const std::string stage(kSnapStage);
    add("snapped, quantised online again", stage, run_.stage(stage, [&] {
      StageFigures f = score_against_base(*twice);
      f.texts["once_sha256"] = scored(*once, texts_.test, {}, around_).text("nll_sha256");
      return f;
    }));
    write_forms(*once, *twice);
    verify("GGUF, scale max|w|", last_stage(result_, kSnapStage).text("once_sha256"));
  }

  /// model.gguf of one model, packed/ of another, latents/ of what was trained: what of them is not there.
  void write_forms(const model::Model& gguf, const model::Model& packed) {
    const fs::path folder = run_.folder();
    result_.gguf = folder / "model.gguf";
    const auto before = run_.finished("export");
    // Without its hash nobody knows whether a GGUF is whole; a folder may hold what people have added, and stays
    // wherever it can.
    const bool has_gguf = before && file_sha256(result_.gguf) == before->text("gguf_sha256");
    const bool has_packed = gives_the_same(folder / "packed", packed);
    const bool has_latents = gives_the_same(folder / "latents", current());
    if (before && has_gguf && has_packed && has_latents) {
      result_.gguf_sha256 = before->text("gguf_sha256");
      return;
    }
    if (!has_gguf) require_own_gguf(result_.gguf, gguf, before.has_value());
    // What was found in an old file is not known of a new one. "export" goes last: where this is killed between them,
    // the others are gone already.
    for (const char* stage : {"generate", "verify", "export"}) run_.forget(stage);
    const auto exported = run_.stage("export", [&] {
      if (!has_gguf) {
        model::ExportOptions options;
        options.progress = around_.progress;
        model::export_gguf(gguf, result_.gguf, tensor::DType::i2_s, options);
      }
      if (!has_packed) write_directory(packed, folder / "packed", model::HfForm::packed, around_.progress);
      if (!has_latents) write_directory(current(), folder / "latents", model::HfForm::latents, around_.progress);
      StageFigures f;
      f.texts["gguf_sha256"] = file_sha256(result_.gguf).value_or("");
      return f;
    });
    result_.gguf_sha256 = exported->text("gguf_sha256");
  }

  /// Reads the GGUF again: it must give what the model that it was made of gave.
  void verify(const std::string& name, std::string expected) {
    const auto written = model::open_model(result_.gguf);
    add(name, "verify", run_.stage("verify", [&] {
      StageFigures f = score(*written);
      f.numbers["ternary_share"] = ternary_share(*written);
      return f;
    }));
    result_.gate_sha256 = result_.stages.back().found.text("nll_sha256");
    if (result_.gate_sha256 != expected) {
      throw CheckError(
          fmt::format("{}: its likelihoods of the test text are not those of the model it was made of ({} for {})",
                      result_.gguf.string(), result_.gate_sha256, expected));
    }
  }

  void generate_texts() {
    const StageFigures found = *run_.stage("generate", [&] {
      const auto written = model::open_model(result_.gguf);
      StageFigures f;
      for (std::size_t i = 0; i < config_.prompts.size(); ++i) {
        f.texts[fmt::format("text {:03}", i)] = generated(*written, config_.prompts[i], config_.generated_tokens);
      }
      return f;
    });
    for (const auto& [name, text] : found.texts) result_.texts.push_back(text);
  }

  const model::Model& base_;
  const DeployConfig& config_;
  const Texts& texts_;
  RunDirectory& run_;
  const Surroundings& around_;
  train::TokenStream stream_;
  std::unique_ptr<model::Model> tuned_;   ///< after the last finished level
  std::unique_ptr<model::Model> pruned_;  ///< of the level under way
  std::optional<model::Masks> masks_;     ///< of all levels so far
  std::vector<LevelLosses> losses_;
  DeployResult result_;
};

}  // namespace

bool is_legacy(const DeployConfig& config) {
  return config.recipe.protocol == prune::Protocol::legacy;
}

void follow_reference(train::TrainConfig& tune) {
  tune.sampling = train::Sampling::legacy;
  train::AdamwOptions& o = tune.optimiser;
  o.lr = 5e-4;
  o.relative = false;
  o.clipping = train::Clipping::global;
  o.beta1 = 0.9;
  o.beta2 = 0.999;
  o.eps = 1e-8;
  o.weight_decay = 0.01;
  o.state = train::StateType::bf16;
}

const StageFigures* find_stage(const DeployResult& result, std::string_view suffix) {
  const auto found = std::find_if(result.stages.rbegin(), result.stages.rend(),
                                  [&](const DeployStage& s) { return s.stage.ends_with(suffix); });
  return found == result.stages.rend() ? nullptr : &found->found;
}

const StageFigures& last_stage(const DeployResult& result, std::string_view suffix) {
  const StageFigures* found = find_stage(result, suffix);
  RPT_CHECK(found != nullptr, "no stage {}", suffix);
  return *found;
}

std::vector<std::string> diverged_fine_tunes(const std::vector<DeployStage>& stages) {
  std::vector<std::string> lines;
  for (std::size_t i = 1; i < stages.size(); ++i) {
    if (!stages[i].stage.ends_with("-tune")) continue;
    const double before = stages[i - 1].found.number("mean_nll");
    const double after = stages[i].found.number("mean_nll");
    if (after <= before + kDivergedNats) continue;
    lines.push_back(
        fmt::format("{}: the fine-tune has diverged: NLL {:.4f} before it, {:.4f} behind it; a smaller learning rate "
                    "(--lr) may help",
                    stages[i].name, before, after));
  }
  return lines;
}

std::vector<double> levels_to(double sparsity) {
  std::vector<double> levels;
  const double last = std::round(sparsity * 1e6) / 1e6;
  for (const double level : {0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50}) {
    if (level < last) levels.push_back(level);
  }
  levels.push_back(last);
  return levels;
}

void require_usable(const model::Model& base, const DeployConfig& config, const Texts& texts) {
  model::require_gguf_rows(base.config, tensor::DType::i2_s);
  if (!is_legacy(config)) {  // its percentiles are of what is left
    prune::Selection last = config.recipe.selection;
    last.sparsity = config.sparsity;
    prune::require_alive(base, last, config.model);
  }
  for (const std::string& prompt : config.prompts) {
    if (!text::is_valid_utf8(prompt)) {
      throw ConfigError(fmt::format("the prompt \"{}\" is no UTF-8", text::for_message(prompt)));
    }
    require_prompt(base, prompt);
  }
  require_usable(base, texts, config.tune);
  if (!is_legacy(config)) return;
  require_enough(base, lines_of(texts.train), config.tune);
  evaluate::plan_scoring(texts.test, evaluate::text_model(base), {.protocol = evaluate::Protocol::legacy});
}

std::vector<std::string> default_prompts(const model::Model& model, const text::Corpus& corpus, std::size_t count,
                                         std::size_t words) {
  const text::Tokenizer& vocabulary = model.vocabulary();
  std::vector<std::string> prompts;
  for (const std::string& document : corpus.documents) {
    if (prompts.size() == count) break;
    std::istringstream in(document);
    std::string prompt, word;
    for (std::size_t i = 0; i < words && in >> word; ++i) prompt += (i == 0 ? "" : " ") + word;
    // A word may be a whole text, in languages that write no spaces.
    while (std::cmp_greater(vocabulary.encode(prompt).size(), model.config.context / 2)) {
      prompt.resize(text::valid_utf8_prefix(std::string_view(prompt).substr(0, prompt.size() / 2)));
    }
    if (!prompt.empty()) prompts.push_back(prompt);
  }
  return prompts;
}

std::string to_json(const DeployConfig& c, const model::Model& base, const Texts& texts) {
  Json j;
  j["format"] = "rpt-deploy-3";
  j["model"] = c.model;
  j["model_sha256"] = sha256_of(base);
  j["text"] = c.text;
  j["test"] = c.test;
  j["texts_sha256"] = sha256_of(texts);
  j["sparsity"] = c.sparsity;
  j["recipe"] = Json::parse(prune::to_json(c.recipe));
  j["tune"] = Json::parse(train::to_json(c.tune));
  j["prompts"] = c.prompts;
  j["generated_tokens"] = c.generated_tokens;
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);  // names of files may be no UTF-8
}

std::optional<DeployResult> deploy(const model::Model& base, const DeployConfig& config, const Texts& texts,
                                   RunDirectory& run, const Surroundings& around) {
  return Pipeline(base, config, texts, run, around).go();
}

}  // namespace rpt::experiment
