// SPDX-License-Identifier: MIT
#include "rpt/model/doctor.h"

#include <fmt/format.h>

#include <iostream>

#include "rpt/cli/context.h"
#include "rpt/cli/scoring.h"
#include "rpt/core/error.h"

namespace rpt::cli {
namespace {

struct DoctorOptions {
  std::string model;
  std::string text;
  std::string fix;
  bool force = false;
};

/// The documents of TEXT, one after another; the built-in paragraph where none is named.
std::string trial_text(const DoctorOptions& options) {
  if (options.text.empty()) return std::string(model::kTrialText);
  std::string text;
  for (const std::string& document : text::load_corpus(find_text(options.text)).documents) text += document;
  return text;
}

std::string nll_text(const std::optional<double>& nll) {
  return nll ? fmt::format("{:.4f}", *nll) : std::string("not scored");
}

void print(const model::Diagnosis& d, std::ostream& out) {
  for (const model::Fault& f : d.faults) {
    out << fmt::format("{}: {}\n  cause: {}\n  mend:  {}\n", f.fault, one_line(f.place), one_line(f.cause),
                       one_line(f.mend));
    if (f.nll_before || f.nll_after) {
      out << fmt::format("  NLL:   {} before, {} after, nats a token\n", nll_text(f.nll_before), nll_text(f.nll_after));
    }
  }
  for (const std::string& note : d.notes) out << "note: " << one_line(note) << '\n';
  if (d.faults.empty()) out << "nothing found\n";
}

std::vector<report::Record> to_records(const std::vector<model::Fault>& faults) {
  std::vector<report::Record> records;
  for (const model::Fault& f : faults) {
    report::Record r;
    r.set("fault", f.fault);
    r.set("place", f.place);
    r.set("cause", f.cause);
    r.set("mend", f.mend);
    r.set("mechanical", f.mechanical);
    r.set("nll_before", f.nll_before);
    r.set("nll_after", f.nll_after);
    records.push_back(std::move(r));
  }
  return records;
}

/// Refuses a target that would cost somebody something, before a minute is spent. Throws: UsageError, OutputError.
void check_target(const std::filesystem::path& model, const DoctorOptions& options) {
  require_apart({model, text_path(options.text)}, options.fix);
  std::error_code none;
  if (!std::filesystem::exists(options.fix, none)) return;
  const bool folder = std::filesystem::is_directory(options.fix, none);
  if (folder != std::filesystem::is_directory(model, none)) {
    throw OutputError(fmt::format("{}: exists and is {}", options.fix, folder ? "a folder" : "no folder"));
  }
  if (!options.force && !(folder && std::filesystem::is_empty(options.fix, none)))
    throw OutputError(fmt::format("{}: exists; --force replaces it", options.fix));
  if (folder) model::require_replaceable(options.fix, options.force);
}

/// Writes the mended file; says what changed, or why nothing was written.
void fix(const std::filesystem::path& path, const model::Diagnosis& d, const std::string& text,
         const DoctorOptions& options, Context& context, report::Record& figures) {
  const std::string& target = options.fix;
  figures.set("output", nullptr);
  if (d.faults.empty()) {
    context.out() << fmt::format("{} was not written: there is nothing to mend\n", target);
    return;
  }
  std::optional<double> nll;
  model::ExportOptions how;
  how.replace_folder = options.force;
  how.progress = &context.progress();
  how.check = [&](const model::Model& written) {
    if (written.tokenizer) nll = model::trial_score(written, text).nll;
  };
  std::string hash;
  try {
    hash = model::mend(path, d, target, how);
  } catch (const ConfigError& e) {
    context.out() << fmt::format("{} was not written: {}\n", target, one_line(e.what()));
    figures.set("refused", std::string(e.what()));
    return;
  }
  context.out() << fmt::format("{} written and read again (gate {:.16}…); changed:\n", target, hash);
  for (const model::Fault& f : d.faults) context.out() << fmt::format("  {}: {}\n", f.fault, one_line(f.mend));
  if (nll) context.out() << fmt::format("NLL of the text now {:.4f} nats a token\n", *nll);
  figures.set("output", target);
  figures.set("nll_sha256", hash);
  figures.set("nll_written", nll);
}

int run_doctor(const DoctorOptions& options, Context& context) {
  const std::filesystem::path path = find_model(options.model);
  if (!options.fix.empty()) check_target(path, options);
  const std::string text = trial_text(options);
  const model::Diagnosis d = model::diagnose(path, text, context.progress());
  print(d, context.out());
  report::Record figures;
  figures.set("faults", to_records(d.faults));
  figures.set("notes", d.notes);
  figures.set("nll", d.nll);
  figures.set("tokens", d.tokens);
  figures.set("tried", d.tried);
  if (!options.fix.empty()) fix(path, d, text, options, context, figures);
  context.write_json("doctor", options.model, figures);
  return d.faults.empty() ? 0 : 1;
}

}  // namespace

Command add_doctor(CLI::App& program) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* app = program.add_subcommand("doctor", "Find out why a model file babbles or does not load");
  app->add_option("FILE", options->model,
                  "Hugging Face directory, .gguf file, llama2.c checkpoint, or name of an embedded model")
      ->required();
  app->add_option("--text", options->text, "Text that other readings are tried on (default: an English paragraph)")
      ->check(check_not_empty);
  app->add_option("--fix", options->fix, "Write the mended model here, where every fault can be mended mechanically")
      ->check(check_not_empty);
  app->add_flag("--force", options->force,
                "Let --fix replace what exists: a file by a file, a directory by a directory");
  app->footer(
      "Exit code 0: nothing found. 1: a fault was found, mended or not. 3: the file cannot be read at all.\n"
      "Example:\n  rpt doctor broken.gguf --fix mended.gguf");
  return {app, [options](Context& context) { return run_doctor(*options, context); }};
}

}  // namespace rpt::cli
