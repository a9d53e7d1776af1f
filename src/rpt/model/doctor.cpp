// SPDX-License-Identifier: MIT
#include "rpt/model/doctor.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rpt/io/llama2c.h"
#include "rpt/model/doctor_parts.h"
#include "rpt/model/gate.h"
#include "rpt/model/token_rows.h"
#include "rpt/ternary/detect.h"
#include "rpt/ternary/statistics.h"

namespace rpt::model {
namespace {

using tensor::DType;

constexpr std::size_t kMostTextBytes = 4096;
constexpr std::size_t kMostWindow = 512;
constexpr int kRounds = 3;          ///< of trials: a file may have one fault behind another
constexpr double kNoZeros = 0.01;   ///< share of code 0 below which codes come from latents
constexpr double kClustered = 0.9;  ///< share of latents at 0 and ±s from which they are snapped ones
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The score, or nothing where the model cannot be run under this reading. An NLL that is no number is infinite.
std::optional<TrialScore> try_score(const Model& model, std::string_view text) {
  if (!model.tokenizer) return std::nullopt;
  try {
    TrialScore score = trial_score(model, text);
    if (std::isnan(score.nll)) score.nll = score.total = kInfinity;
    return score;
  } catch (const NumericError&) {
    return TrialScore{kInfinity, kInfinity, 0};
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<TrialScore> try_treatment(const std::filesystem::path& path, const Treatment& treatment,
                                        std::string_view text) {
  try {
    return try_score(*open_treated(path, treatment), text);
  } catch (const IoError&) {
    throw;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<double> nll_of(const std::optional<TrialScore>& score) {
  return score ? std::optional(score->nll) : std::nullopt;
}

/// One visit to a file.
class Doctor {
 public:
  Doctor(const std::filesystem::path& path, std::string_view text, core::ProgressSink& progress)
      : path_(path), text_(text), progress_(progress) {}

  Diagnosis run() {
    Findings findings = examine_records();
    d_.faults = std::move(findings.faults);
    d_.notes = std::move(findings.notes);
    d_.treatment = findings.treatment;
    if (!findings.loadable) {
      d_.notes.emplace_back("the weights were not looked at: the model cannot be loaded");
      settle_names(findings.open);
      return std::move(d_);
    }
    const bool structural = !d_.faults.empty();
    choose(findings.open);
    try {
      model_ = open_treated(path_, d_.treatment);
    } catch (const Error& e) {
      if (!structural) throw;
      d_.notes.push_back(fmt::format("the weights were not looked at: {}", e.what()));
      return std::move(d_);
    }
    examine_weights();
    untried_faults_ = d_.faults.size();
    untried_ = d_.treatment;
    run_trials();
    return std::move(d_);
  }

 private:
  Findings examine_records() const {
    std::error_code error;
    if (std::filesystem::is_directory(path_, error)) return examine_huggingface(path_);
    if (!std::filesystem::exists(path_, error)) throw IoError(path_.string() + ": no such file or directory");
    if (io::is_llama2c(path_)) return {};
    return examine_gguf(path_);
  }

  /// Without a trial the first choice counts.
  void settle_names(const std::vector<Findings::Open>& open) {
    for (const auto& o : open) name_choice(o, o.choices.front());
  }
  void name_choice(const Findings::Open& open, const Choice& choice) {
    std::string& mend = d_.faults[open.fault].mend;
    if (const auto at = mend.find("{}"); at != std::string::npos) mend.replace(at, 2, choice.name);
  }

  /// Picks, among all combinations of open choices, the one under which the text is likeliest.
  void choose(const std::vector<Findings::Open>& open) {
    if (open.empty()) return;
    const auto before = nll_of(try_treatment(path_, {}, text_));
    std::size_t combinations = 1;
    for (const auto& o : open) combinations *= o.choices.size();
    std::size_t best = 0;
    std::optional<TrialScore> best_score;
    progress_.begin(combinations, "readings", "trying");
    for (std::size_t c = 0; c < combinations; ++c) {
      const auto score = try_treatment(path_, combined(open, c), text_);
      // By the whole text: the number of tokens depends on the pre-tokenizer.
      if (score && (!best_score || score->total < best_score->total)) {
        best_score = score;
        best = c;
      }
      progress_.advance(1);
    }
    progress_.finish();
    d_.treatment = combined(open, best);
    for (const auto& o : open) {
      name_choice(o, o.choices[best % o.choices.size()]);
      best /= o.choices.size();
      d_.faults[o.fault].nll_before = before;
      d_.faults[o.fault].nll_after = nll_of(best_score);
    }
  }

  Treatment combined(const std::vector<Findings::Open>& open, std::size_t combination) const {
    Treatment t = d_.treatment;
    for (const auto& o : open) {
      o.choices[combination % o.choices.size()].apply(t);
      combination /= o.choices.size();
    }
    return t;
  }

  template <typename Visit>
  void visit_linear(Visit&& visit) const {
    visit_weights(model_->weights, [&](const std::string& name, const auto& weight) {
      if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, LinearWeight>) visit(name, weight);
    });
  }

  /// What the weights tell without being run.
  void examine_weights() {
    stored_ = model_->weights.blocks.front().attn_q.stored_type();
    look_for_snapped();
    look_at_codes();
    look_at_head();
  }

  bool online_directory() const {
    const LinearWeight& first = model_->weights.blocks.front().attn_q;
    return model_->format == "huggingface" && first.ternary() && first.weight.stored_latents().data != nullptr;
  }

  /// Latents that are 0 and ±s already, or nearly, in a directory that has them quantised again.
  void look_for_snapped() {
    if (!online_directory()) return;
    std::vector<std::string> snapped, clustered;
    std::size_t count = 0;
    visit_linear([&](const std::string& name, const LinearWeight& linear) {
      ++count;
      const tensor::StoredView& latents = linear.weight.stored_latents();
      if (const auto s = ternary::find_stored_scale(latents)) {
        if (*s != 0) snapped.push_back(name);
      } else if (share_at_three_values(latents) > kClustered) {
        clustered.push_back(name);
      }
    });
    if (!snapped.empty()) report_snapped(snapped, snapped.size() == count);
    if (!clustered.empty()) {
      d_.faults.push_back({.fault = "snapped_twice",
                           .place = list_some(clustered),
                           .cause = "the latents cluster at 0 and ±s: they were snapped before, and what declares "
                                    "online has them quantised again, which shrinks the scale",
                           .mend =
                               "not mechanical, since they are not exactly 0 and ±s: take the latents from before, or "
                               "rpt snap with --scale frozen"});
    }
  }

  void report_snapped(const std::vector<std::string>& snapped, bool all) {
    Fault fault{.fault = "snapped_online",
                .place = list_some(snapped),
                .cause =
                    "the weights are 0 and ±s already, but the directory declares online: every reader quantises "
                    "them again and shrinks s to s · density",
                .mend = all ? "write the codes packed, quantization_mode = \"offline\""
                            : "not mechanical: other layers still hold latents; take the directory from before",
                .mechanical = all};
    fault.nll_before = nll_of(try_score(*model_, text_));
    Treatment stored = d_.treatment;
    stored.reading.scale = ScaleReading::stored;
    fault.nll_after = nll_of(try_treatment(path_, stored, text_));
    if (all) {
      d_.treatment = stored;
      model_ = open_treated(path_, stored);
    }
    d_.faults.push_back(std::move(fault));
  }

  /// The share of latents that are 0 or within 1 to 2 % of the commonest other magnitude.
  static double share_at_three_values(const tensor::StoredView& latents) {
    const auto bins = ternary::magnitude_histogram(latents);
    const auto top = static_cast<std::size_t>(std::max_element(bins.begin() + 1, bins.end()) - bins.begin());
    std::uint64_t total = 0;
    for (const std::uint64_t n : bins) total += n;
    std::uint64_t near = bins[0];
    constexpr std::size_t kBins = 2;  // to each side; one is 0.4 to 0.8 % wide
    for (std::size_t i = top - std::min(top - 1, kBins); i <= std::min(top + kBins, bins.size() - 1); ++i) {
      near += bins[i];
    }
    return total == 0 ? 0 : static_cast<double>(near) / static_cast<double>(total);
  }

  /// Codes that no quantiser makes.
  void look_at_codes() {
    std::vector<std::string> without_zeros;
    std::string damaged;
    const auto check = [&](const std::string& name, const auto& weight) {
      using Weight = std::decay_t<decltype(weight)>;
      if constexpr (std::is_same_v<Weight, EmbeddingWeight>) {
        weight.values();
      } else if constexpr (std::is_same_v<Weight, LinearWeight>) {
        if (!weight.ternary()) {
          weight.dense->values();
        } else if (weight.weight.stored_latents().data == nullptr) {
          if (ternary::code_statistics(weight.weight.codes()).zero_share() < kNoZeros) without_zeros.push_back(name);
        } else {
          weight.weight.codes();
        }
      }
    };
    visit_weights(model_->weights, [&](const std::string& name, const auto& weight) {
      try {
        check(name, weight);
      } catch (const FormatError& e) {
        if (damaged.empty()) damaged = e.what();
      }
    });
    if (!damaged.empty()) {
      d_.faults.push_back({.fault = "damaged_weights",
                           .place = path_.string(),
                           .cause = damaged,
                           .mend = "not mechanical: fetch or convert the file again"});
    }
    if (!without_zeros.empty()) {
      d_.faults.push_back({.fault = "latents_as_codes",
                           .place = list_some(without_zeros),
                           .cause = "hardly any code is 0: latents were written without being quantised first, so that "
                                    "every weight became ±max|w| (llama-quantize does that)",
                           .mend = "not mechanical, the latents are gone: convert again from the checkpoint, snapped "
                                   "first (rpt export does both)"});
    }
  }

  /// A head of its own that repeats the embedding, or is the embedding in another type. Whether another one is meant at
  /// all is for a trial to say (try_tied_head).
  void look_at_head() {
    if (!model_->weights.head) return;
    const tensor::StoredView& head = model_->weights.head->unchecked();
    const tensor::StoredView& embedding = model_->weights.token_embd.unchecked();
    const bool same = head.type == embedding.type && head.bytes == embedding.bytes &&
                      std::equal(head.data, head.data + head.bytes, embedding.data);
    if (same) {
      d_.faults.push_back({.fault = "second_head",
                           .place = "output.weight",
                           .cause = fmt::format("repeats the embedding: {} bytes to read for every token", head.bytes),
                           .mend = "leave it out; the head is tied",
                           .mechanical = model_->format != "llama2.c"});
      d_.treatment.embedding_is_head = true;
    } else if (head.type != embedding.type &&
               relative_difference(head, embedding) < std::max(rounding_of(head.type), rounding_of(embedding.type))) {
      d_.faults.push_back({.fault = "second_head",
                           .place = "output.weight",
                           .cause = fmt::format("says the same as the embedding in other bits ({} beside {})",
                                                tensor::name(head.type), tensor::name(embedding.type)),
                           .mend = "not mechanical: it is not identical, and which of the two is meant is not in the "
                                   "file"});
    }
  }

  void run_trials() {
    if (!model_->tokenizer) {
      d_.notes.emplace_back(
          "trials on a text were skipped: the file has no vocabulary" +
          (model_->tokenizer_fault.empty() ? "" : " that can be read (" + model_->tokenizer_fault + ")"));
      return;
    }
    if (has("damaged_weights")) {
      d_.notes.emplace_back("trials on a text were skipped: the weights cannot be read");
      return;
    }
    run_rounds();
    if (model_->weights.head && !has("second_head")) try_tied_head();
  }

  void run_rounds() {
    model_ = open_treated(path_, d_.treatment);
    const TrialScore base = try_score(*model_, text_).value_or(TrialScore{kInfinity, kInfinity, 0});
    double nll = base.nll;
    for (int round = 0; round < kRounds && run_round(nll); ++round) {
    }
    d_.nll = nll;
    d_.tokens = base.tokens;
  }

  /// Whether the embedding does better than a head of its own. The own one is judged with every other mend: broken by
  /// another fault the model babbles with either head, and the difference says nothing. Where the embedding wins, what
  /// the trials found with the wrong head is not worth anything, and they run again.
  void try_tied_head() {
    const double own = *d_.nll;
    const Diagnosis with_own = d_;
    const auto promises = [&](Treatment tied) {
      tied.embedding_is_head = true;
      return does_better(nll_of(try_treatment(path_, tied, text_)), own);
    };
    if (!promises(d_.treatment) && !promises(untried_)) return;
    d_.faults.resize(untried_faults_);
    d_.treatment = untried_;
    d_.treatment.embedding_is_head = true;
    run_rounds();
    if (!does_better(d_.nll, own)) {
      d_ = with_own;
      return;
    }
    d_.faults.insert(
        d_.faults.begin() + static_cast<std::ptrdiff_t>(untried_faults_),
        {.fault = "second_head",
         .place = "output.weight",
         .cause = "the head is tied: the embedding does better than this tensor, which bitnet.cpp ignores and others "
                  "read",
         .mend = "leave it out; the head is tied",
         .mechanical = model_->format != "llama2.c",
         .nll_before = own,
         .nll_after = d_.nll});
  }

  /// By the margin, and better than guessing: a model that babbles as before with flatter logits is no better.
  bool does_better(const std::optional<double>& nll, double than) const {
    return nll && std::isfinite(*nll) && std::isfinite(than) && *nll < than - kTrialMargin &&
           *nll < std::log(static_cast<double>(model_->config.vocabulary));
  }

  bool has(std::string_view fault) const {
    return std::any_of(d_.faults.begin(), d_.faults.end(), [&](const Fault& f) { return f.fault == fault; });
  }

  /// Tries every other reading; the best one becomes a fault where it does better by the margin.
  bool run_round(double& nll) {
    const std::vector<Trial> trials = list_trials(*model_, d_.treatment, stored_, online_directory());
    progress_.begin(trials.size(), "readings", "trying");
    const Trial* best = nullptr;
    // What does no better than guessing proves nothing.
    double lowest = std::min(nll - kTrialMargin, std::log(static_cast<double>(model_->config.vocabulary)));
    for (const Trial& trial : trials) {
      const auto score = try_treatment(path_, trial.treatment, text_);
      if (score && score->nll < lowest) {
        lowest = score->nll;
        best = &trial;
      }
      if (std::find(d_.tried.begin(), d_.tried.end(), trial.fault.fault) == d_.tried.end()) {
        d_.tried.push_back(trial.fault.fault);
      }
      progress_.advance(1);
    }
    progress_.finish();
    if (best == nullptr) return false;
    d_.faults.push_back(best->fault);
    d_.faults.back().nll_before = nll;
    d_.faults.back().nll_after = lowest;
    d_.treatment = best->treatment;
    model_ = open_treated(path_, d_.treatment);
    nll = lowest;
    return true;
  }

  const std::filesystem::path& path_;
  std::string_view text_;
  core::ProgressSink& progress_;
  Diagnosis d_;
  std::size_t untried_faults_ = 0;  ///< how many were found before the trials
  Treatment untried_;               ///< and what mends them
  std::unique_ptr<Model> model_;
  DType stored_ = DType::f32;  ///< of the first linear layer in the file
};

}  // namespace

TrialScore trial_score(const Model& model, std::string_view text) {
  std::size_t size = std::min(text.size(), kMostTextBytes);
  while (size < text.size() && size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  const std::vector<std::int32_t> ids = model.vocabulary().encode(text.substr(0, size));
  require_rows(model, ids);
  const bool bos = model.adds_bos && model.bos_id;
  const auto window = std::min(kMostWindow, static_cast<std::size_t>(model.config.context));
  std::vector<std::vector<std::int32_t>> sequences;
  for (std::size_t i = 0; i < ids.size();) {
    std::vector<std::int32_t> sequence;
    if (bos) sequence.push_back(*model.bos_id);
    const std::size_t take = std::min(ids.size() - i, window - sequence.size());
    if (take == 0) break;  // a context of one token
    sequence.insert(sequence.end(), ids.begin() + static_cast<std::ptrdiff_t>(i),
                    ids.begin() + static_cast<std::ptrdiff_t>(i + take));
    if (sequence.size() > 1) sequences.push_back(std::move(sequence));
    i += take;
  }
  if (sequences.empty()) throw ConfigError(fmt::format("{}: the text has too few tokens", model.path.string()));
  const std::vector<double> nlls = sequence_nlls(model, sequences);
  TrialScore score;
  std::size_t at = 0;
  for (const auto& sequence : sequences) {
    // The last one of a sequence expects its first token again: not text.
    for (std::size_t i = 0; i + 1 < sequence.size(); ++i) score.total += nlls[at + i];
    at += sequence.size();
    score.tokens += static_cast<std::int64_t>(sequence.size()) - 1;
  }
  score.nll = score.total / static_cast<double>(score.tokens);
  return score;
}

Diagnosis diagnose(const std::filesystem::path& path, std::string_view text, core::ProgressSink& progress) {
  return Doctor(path, text, progress).run();
}

std::string mend(const std::filesystem::path& path, const Diagnosis& diagnosis, const std::filesystem::path& target,
                 const ExportOptions& options) {
  if (diagnosis.faults.empty()) throw ConfigError(path.string() + ": nothing was found that could be mended");
  for (const Fault& f : diagnosis.faults) {
    if (f.mechanical) continue;
    throw ConfigError(
        fmt::format("{}: {} ({}) cannot be mended mechanically: {}", path.string(), f.fault, f.place, f.mend));
  }
  return write_treated(path, diagnosis.treatment, target, options);
}

}  // namespace rpt::model
