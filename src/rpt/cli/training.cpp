// SPDX-License-Identifier: MIT
#include "rpt/cli/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "rpt/cli/conversations.h"
#include "rpt/cli/scoring.h"
#include "rpt/cli/stop_signals.h"
#include "rpt/cli/watch.h"
#include "rpt/core/atomic_file.h"
#include "rpt/core/memory.h"
#include "rpt/core/timer.h"
#include "rpt/evaluate/score.h"
#include "rpt/model/export.h"
#include "rpt/model/gate.h"
#include "rpt/train/cost.h"
#include "rpt/train/run.h"
#include "rpt/train/run_folder.h"

namespace rpt::cli {
namespace {

namespace fs = std::filesystem;

report::Record figures_of(const train::Evaluation& e) {
  report::Record r;
  r.set("text", e.text);
  r.set("mean_nll", e.mean_nll);
  r.set("bits_per_byte", e.bits_per_byte);
  r.set("tokens", e.tokens);
  r.set("nll_sha256", e.nll_sha256);
  return r;
}

/// What is written into a folder beside what train::run_training writes.
const std::string kBest = "best";
const std::string kModel = "model";
const std::string kHeldOut = "held_out.jsonl";

/// All of it, and what of it appears behind the last step.
const std::array<std::string, 3> kOutputs{kBest, kModel, kHeldOut};
const std::array<std::string, 2> kAtEnd{kModel, kHeldOut};

/// Whether two files can be read and hold the same.
bool same_bytes(const fs::path& a, const fs::path& b) {
  constexpr std::streamsize kPart = 1 << 20;
  std::ifstream first(a, std::ios::binary), second(b, std::ios::binary);
  std::vector<char> one(kPart), other(kPart);
  while (first && second) {
    first.read(one.data(), kPart);
    second.read(other.data(), kPart);
    const std::streamsize size = first.gcount();
    if (size != second.gcount() || !std::equal(one.begin(), one.begin() + size, other.begin())) return false;
  }
  return first.eof() && second.eof();
}

/// Refuses what stands in the place of a model and cannot be what this run wrote there: other files, and with `same`
/// other bytes than those in `made`, for at its end a run writes what it has written there before. Throws: OutputError.
void require_own(const fs::path& place, const fs::path& made, bool same) {
  if (train::is_vacant(place)) return;
  const auto refuse = [&](const fs::path& at) {
    throw OutputError(
        fmt::format("{}: expected what this run wrote there, found something else: move {} away, and --resume writes "
                    "it again",
                    at.string(), place.string()));
  };
  std::error_code none;
  if (!fs::is_directory(place, none)) refuse(place);
  if (const auto other = core::find_foreign(place, core::names_in(made))) refuse(*other);
  if (!same) return;
  for (const fs::directory_entry& file : fs::directory_iterator(made)) {
    const fs::path there = place / file.path().filename();
    if (!same_bytes(there, file.path())) refuse(there);
  }
}

/// Writes a Hugging Face directory of latents, in the place of one that this run wrote; with `same` only of the same
/// one. The gate's hash.
std::string save_model(const model::Model& model, const fs::path& folder, bool same) {
  train::remove_leftovers(folder);
  model::ExportOptions options;
  options.replace_folder = true;
  options.add_files = [&](const fs::path& made) { require_own(folder, made, same); };
  return model::export_huggingface(model, folder, model::HfForm::latents, options);
}

/// The model of the step that read the held-out text best. It is written as soon as that is known, its hash only with
/// the next checkpoint: where the run is killed in between and goes on with other arithmetic, that step may not come
/// again, and what is there is of another one. Where nothing is there any more, model/ of a run that had ended is it.
/// Throws: ConfigError where it is another one; as model::open_model.
std::unique_ptr<model::Model> open_best(const fs::path& out, const train::RunResult& result, const Context& context) {
  fs::path place = out / kBest;
  for (const std::string& name : {kBest, kModel}) train::remove_leftovers(out / name);  // one of them may come back
  if (train::is_vacant(place) && !train::is_vacant(out / kModel)) {
    context.say(fmt::format("warning: {}: expected the model of step {}, found nothing: {} is looked at instead",
                            place.string(), result.best_step, (out / kModel).string()));
    place = out / kModel;
  }
  auto opened = model::open_model(place);
  const std::string found = model::nll_sha256(model::gate_nlls(*opened));
  if (found == result.best_sha256) return opened;
  throw ConfigError(
      fmt::format("{}: expected the model of step {}, whose gate gives {:.16}…, found one that gives {:.16}…: it is "
                  "not what the run read the held-out text best with",
                  place.string(), result.best_step, result.best_sha256, found));
}

/// Time, memory and disk before anything is done.
int dry_run(const TrainingJob& job, const model::Model& model, const train::TokenStream& stream, const Watch& watch,
            Context& context) {
  const train::TrainConfig& c = job.config;
  const model::Config& shape = model.config;
  train::require_trainable(c, model, stream);
  const double tokens = static_cast<double>(c.steps) * static_cast<double>(c.batch * c.accumulation * c.context);
  const double peak = train::measure_product_rate(c.step.backward);
  const double seconds = tokens * train::guess_seconds_per_token(shape, c, peak);
  const std::int64_t scoring = watch.bytes() > 0 ? evaluate::kBatchTokens : 0;
  const std::uint64_t masks = job.held_bytes(model);
  const train::RunMemory memory = train::run_memory(shape, c,
                                                    {.stream_tokens = stream.tokens.size(),
                                                     .watched_bytes = watch.bytes(),
                                                     .largest_bytes = watch.largest_bytes(),
                                                     .part_bytes = watch.largest_part_bytes(),
                                                     .scoring_tokens = scoring,
                                                     .mask_bytes = masks});
  const std::uint64_t models = c.stop_on_overfitting ? 2 : 1;  // the best one beside the last
  const std::uint64_t disk = train::checkpoint_bytes(shape, c) * static_cast<std::uint64_t>(c.keep_checkpoints + 1) +
                             models * static_cast<std::uint64_t>(train::parameter_count(shape)) * 2;
  context.out() << fmt::format(
      "{} parameters; {} training tokens ({} of them to be predicted) in {} documents; {:.0f} tokens to read, {:.2f} "
      "times the text\n"
      "time    about {:.0f} s ({:.0f} GFLOP/s measured)\n"
      "memory  {:.2f} GB: weights {:.2f}, activations {:.2f}, scratch {:.2f}, scoring {:.2f}, texts {:.2f}, "
      "program {:.2f}\n"
      "disk    {:.2f} GB\n",
      train::parameter_count(shape), stream.tokens.size(), stream.targets, stream.documents, tokens,
      tokens / static_cast<double>(stream.tokens.size()), seconds, peak / 1e9,
      static_cast<double>(memory.total()) / 1e9, static_cast<double>(memory.weights) / 1e9,
      static_cast<double>(memory.activations) / 1e9, static_cast<double>(memory.scratch) / 1e9,
      static_cast<double>(memory.scoring) / 1e9, static_cast<double>(memory.texts) / 1e9,
      static_cast<double>(memory.program) / 1e9, static_cast<double>(disk) / 1e9);
  report::Record r;
  r.set("parameters", train::parameter_count(shape));
  r.set("training_tokens", stream.tokens.size());
  r.set("training_targets", stream.targets);
  r.set("tokens_to_read", tokens);
  r.set("seconds", seconds);
  r.set("memory_bytes", memory.total());
  r.set("memory_weights_bytes", memory.weights);
  r.set("memory_activations_bytes", memory.activations);
  r.set("memory_scratch_bytes", memory.scratch);
  r.set("memory_scoring_bytes", memory.scoring);
  r.set("memory_texts_bytes", memory.texts);
  r.set("memory_program_bytes", memory.program);
  r.set("disk_bytes", disk);
  r.set("product_gflops", peak / 1e9);
  context.write_json(job.command, job.model, r);
  return 0;
}

/// What is trained on, and what is held out of that.
struct Texts {
  train::TokenStream stream;
  std::vector<train::Document> held_out;
  bool are_conversations = false;
};

/// Loads what a job learns from and watches.
class TextLoader {
 public:
  TextLoader(const TrainingJob& job, const model::Model& model) : job_(job), model_(model) {}

  Texts load() {
    train::HoldOutSplit split = load_training_texts(job_.config, job_.base);
    const text::Tokenizer& vocabulary = model_.vocabulary();
    const bool conversations = std::any_of(split.train.begin(), split.train.end(), train::is_conversation);
    return {train::encode_documents(split.train, vocabulary, train::separators_of(vocabulary),
                                    conversations ? encoder() : train::ConversationEncoder()),
            std::move(split.held_out), conversations};
  }

  Watch watch(const std::vector<train::Document>& held_out) {
    Watch watch(job_.config.evaluate_tokens, job_.config.seed);
    if (!held_out.empty()) add(watch, "held out", held_out);
    for (const std::string& name : job_.config.also_evaluate) {
      const fs::path below = find_path(name, job_.base);
      const std::string found = fs::exists(below) ? below.string() : name;
      if (const std::vector<train::Document> conversations = load_conversations(found); !conversations.empty()) {
        add(watch, name, conversations);
      } else {
        watch.add(name, text::load_corpus(find_text(found)));
      }
    }
    return watch;
  }

  /// Whether there were conversations.
  bool used_template() const { return encoder_ != nullptr; }

 private:
  const train::ConversationEncoder& encoder() {
    if (!encoder_) {
      const std::string& file = job_.config.chat_template;
      encoder_ = conversation_encoder(model_, file.empty() ? fs::path() : find_path(file, job_.base));
    }
    return encoder_;
  }

  void add(Watch& watch, const std::string& name, const std::vector<train::Document>& documents) {
    if (!train::is_conversation(documents.front())) return watch.add(name, train::corpus_of(documents));
    std::uint64_t bytes = 0;
    for (const train::Document& d : documents) bytes += d.text.size();
    watch.add(name, encode_conversations(documents, encoder()), bytes);
  }

  const TrainingJob& job_;
  const model::Model& model_;
  train::ConversationEncoder encoder_;
};

void write_held_out(const std::vector<train::Document>& held_out, const fs::path& path) {
  std::string lines;
  for (const train::Document& d : held_out) {
    nlohmann::ordered_json line = {{"name", d.name}};
    if (train::is_conversation(d)) {
      line.update(nlohmann::ordered_json::parse(d.text));
    } else {
      line["text"] = d.text;
      if (d.unk_is_unknown) line[text::kUnkMark] = true;
    }
    lines += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  if (!train::is_vacant(path) && core::read_file(path) == lines) return;
  if (!train::is_vacant(path)) {
    throw OutputError(fmt::format(
        "{}: expected what this run wrote there, found something else: move it away, and --resume writes it again",
        path.string()));
  }
  core::write_file_atomic(path, lines);
}

}  // namespace

fs::path find_path(const std::string& path, const fs::path& base) {
  const fs::path below = base / path;
  return fs::exists(below) ? below : fs::path(path);
}

train::HoldOutSplit load_training_texts(const train::TrainConfig& config, const fs::path& base) {
  std::vector<train::Source> sources = config.data;
  for (train::Source& source : sources) {
    const fs::path found = find_path(source.text, base);
    if (fs::exists(found)) source.text = found.string();
  }
  const std::vector<fs::path> roots = text_roots();
  return train::hold_out(train::load_documents(sources, roots), {config.hold_out, config.seed});
}

int run_training_job(TrainingJob job, Context& context) {
  core::keep_freed_memory();
  if (!job.dry_run) {
    train::require_run_folder(job.out, job.config, job.resume, kOutputs, kAtEnd);
  }
  std::unique_ptr<model::Model> made = job.make_model();
  std::unique_ptr<train::Parameters> parameters;
  if (!job.dry_run) parameters = job.make_parameters(std::move(made));
  const model::Model& model = parameters ? parameters->model() : *made;
  const train::TrainConfig& config = job.config;
  TextLoader loader(job, model);
  const Texts texts = loader.load();
  const Watch watch = loader.watch(texts.held_out);
  if (!config.chat_template.empty() && !loader.used_template()) {
    throw ConfigError(fmt::format("{}: the texts hold no conversations to be rendered", config.chat_template));
  }
  context.say(fmt::format("{} parameters, {} training tokens in {} documents, {} held out",
                          train::parameter_count(model.config), texts.stream.tokens.size(), texts.stream.documents,
                          texts.held_out.size()));
  if (texts.are_conversations) {
    context.say(
        fmt::format("conversations: the loss is that of {} tokens in the assistant's answers", texts.stream.targets));
  }
  if (job.dry_run) return dry_run(job, model, texts.stream, watch, context);

  const double peak = train::measure_product_rate(config.step.backward);
  const double operations = train::operations_per_token(model.config, config.context);
  core::ProgressSink& progress = context.progress();
  double tokens = 0;
  double seconds = 0;
  bool begun = false;
  train::RunHooks hooks;
  hooks.step = [&](const train::StepRecord& r) {
    if (!begun) {
      progress.begin(static_cast<std::uint64_t>(config.steps - r.step + 1), "steps", "training");
      begun = true;
    }
    tokens += static_cast<double>(r.tokens);
    seconds += r.seconds;
    const double rate = static_cast<double>(r.tokens) / r.seconds;
    progress.note(fmt::format("{}, {:.0f} tokens/s, {:.0f} % of {:.0f} GFLOP/s", train::describe_loss(r.loss), rate,
                              100 * rate * operations / peak, peak / 1e9));
    progress.advance(1);
  };
  hooks.evaluate = [&](const model::Model& m) {
    std::vector<train::Evaluation> list = watch.score(m, false);
    if (!texts.held_out.empty()) list.front().is_held_out = true;
    return list;
  };
  const fs::path best = job.out / kBest;
  hooks.best = [&](const model::Model& m) { return save_model(m, best, false); };
  hooks.evaluated = [&](std::int64_t step, const std::vector<train::Evaluation>& list) {
    if (!list.empty()) context.say(fmt::format("step {}: {}", step, describe(list)));
  };
  hooks.interrupted = StopSignals::asked;
  hooks.warn = [&](const std::string& line) { context.say("warning: " + line); };

  train::RunResult result;
  {
    const StopSignals signals;
    result = train::run_training(config, *parameters, texts.stream, job.out, job.resume, describe_machine(), hooks);
  }
  progress.finish();
  core::return_freed_memory();  // the step's buffers: what comes now maps files and scores whole texts
  if (result.end == train::RunEnd::interrupted) {
    context.say(fmt::format("interrupted after step {}: --resume goes on", result.steps));
    return 1;
  }
  write_held_out(texts.held_out, job.out / kHeldOut);
  // Where the held-out text was read better before the end, that is the model.
  std::unique_ptr<model::Model> earlier;
  if (config.stop_on_overfitting && result.best_step >= 0 && result.best_step < result.steps) {
    earlier = open_best(job.out, result, context);
    context.say(fmt::format("the model is that of step {}, the best on the held-out text", result.best_step));
  }
  const model::Model& chosen = earlier ? *earlier : model;
  const std::string hash = save_model(chosen, job.out / kModel, true);
  const std::vector<train::Evaluation> evaluations = watch.score(chosen, true);

  const std::optional<double> rate = seconds > 0 ? std::optional(tokens / seconds) : std::nullopt;
  context.out() << fmt::format("{} steps{}", result.steps,
                               result.end == train::RunEnd::overfitting ? " (stopped: overfitting)" : "");
  if (result.last_loss) context.out() << ", last " << train::describe_loss(result.last_loss);
  if (rate) {
    context.out() << fmt::format(", {:.0f} tokens/s ({:.0f} % of {:.0f} GFLOP/s measured)", *rate,
                                 100 * *rate * operations / peak, peak / 1e9);
  }
  context.out() << '\n';
  if (!evaluations.empty()) context.out() << describe(evaluations) << '\n';
  context.out() << fmt::format("{}: passed the gate ({})\n", (job.out / kModel).string(), hash);

  report::Record r;
  r.set("steps", result.steps);
  r.set("last_loss", result.last_loss);
  r.set("tokens_per_second", rate);
  r.set("share_of_peak", rate ? std::optional(*rate * operations / peak) : std::nullopt);
  r.set("stopped_on_overfitting", result.end == train::RunEnd::overfitting);
  r.set("gate_sha256", hash);
  r.set("model_step", earlier ? result.best_step : result.steps);
  std::vector<report::Record> scored;
  for (const train::Evaluation& e : evaluations) scored.push_back(figures_of(e));
  r.set("evaluations", scored);
  context.write_json(job.command, job.model, r);
  return 0;
}

}  // namespace rpt::cli
