// SPDX-License-Identifier: MIT
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "rpt/core/progress.h"
#include "rpt/model/model.h"
#include "rpt/report/record.h"

namespace rpt::cli {

/// Wrong usage that the parser could not see. Exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The options that every command takes.
struct CommonOptions {
  int threads = 0;
  std::string isa;
  std::uint64_t seed = 0;
  std::string json;  ///< file, "-" for standard output, empty for none
  bool quiet = false;
  bool verbose = false;
  std::string scale = "declared";  ///< how a directory of 0 and ±s is read, or "stored"
  std::string i2s_layout = "x86";  ///< of I2_S tensors, or "arm"
};

/// What a command works with: its streams, the common options, and the way results and messages take.
class Context {
 public:
  Context(std::istream& in, std::ostream& out, std::ostream& err) : in_(in), out_(out), err_(err) {}

  CommonOptions common;

  std::istream& in() const { return in_; }
  /// Results for people; swallowed where JSON goes to standard output.
  std::ostream& out() const;
  /// A message for people on standard error, a line; not with --quiet.
  void say(const std::string& line) const;
  /// The same, with --quiet too: of what was asked for, something was not done.
  void say_always(const std::string& line) const;
  /// The same, only with --verbose.
  void detail(const std::string& line) const;
  /// A bar on standard error where that is a terminal and the work takes over two seconds.
  core::ProgressSink& progress();

  /// Adds command, version and environment to a record and writes it where --json says.
  void write_json(const std::string& command, const std::string& model, const report::Record& figures) const;

  /// Sets threads and instruction set. Throws UsageError for an unknown instruction set, EnvironmentError for one that
  /// the processor lacks.
  void apply() const;

 private:
  std::istream& in_;
  std::ostream& out_;
  std::ostream& err_;
  std::unique_ptr<core::ProgressSink> progress_;
};

/// A command: its parser (which may stand below another one's, as `tokenizer train`) and what runs it. run() returns
/// the exit code.
struct Command {
  CLI::App* app = nullptr;
  std::function<int(Context&)> run;
  bool reads_any_form = false;  ///< takes the options of how a model is to be read
};

/// Adds the options that every command takes.
void add_common_options(CLI::App& app, CommonOptions& options);

/// Adds the options of how a model is to be read.
void add_open_options(CLI::App& app, CommonOptions& options);

/// Messages come from files as well: the text with a space for each character that must not reach a terminal.
std::string one_line(std::string text);

/// A check of option values: a whole number from 0 to 2^63 − 1, nothing else.
std::string check_whole_number(const std::string& text);
/// A check of option values: a number in [low, high]. (CLI::Range lets NaN pass.)
std::function<std::string(const std::string&)> between(double low, double high);
/// A check of option values: some text.
std::string check_not_empty(const std::string& text);

/// Folders in which embedded models and texts are looked for: $RPT_DATA, <prefix>/share/rpt, the source tree.
std::vector<std::filesystem::path> data_roots();

/// What MODEL means: a path, or the folder of an embedded model of that name.
std::filesystem::path find_model(const std::string& name_or_path);

/// What the options of add_open_options say of a model's reading.
model::OpenOptions open_options(const CommonOptions& common);

/// Refuses an output that is one of the inputs, a folder that holds one, or a file in one (but for a GGUF, which no
/// folder is read for): what is there would be replaced. Inputs that are no file or folder do not count. Throws:
/// UsageError.
void require_apart(std::initializer_list<std::filesystem::path> inputs, const std::filesystem::path& out);

/// Opens MODEL: a path, or the name of an embedded model; says the file's warnings.
std::unique_ptr<model::Model> open_model(const std::string& name_or_path, const Context& context);

/// The same of a model with BitNet's blocks, as `what` ("pruning") needs it. Throws: ConfigError for another one.
std::unique_ptr<model::Model> open_bitnet_model(const std::string& name_or_path, std::string_view what,
                                                const Context& context);

/// Rounds a model's head to the type of an option --head: f16, q8_0, q6_k or q4 (model/head.h).
void round_head(model::Model& model, const std::string& type, Context& context);

/// Processor, instruction set and threads in force, as one line.
std::string describe_machine();

/// Each command adds itself to the program's parser.
Command add_inspect(CLI::App& program);
Command add_tokenize(CLI::App& program);
Command add_generate(CLI::App& program);
Command add_chat(CLI::App& program);
Command add_perplexity(CLI::App& program);
Command add_compare(CLI::App& program);
Command add_export(CLI::App& program);
Command add_train(CLI::App& program);
Command add_finetune(CLI::App& program);
Command add_tokenizer_train(CLI::App& program);
Command add_gauge(CLI::App& program);
Command add_prune(CLI::App& program);
Command add_snap(CLI::App& program);
Command add_bench_train(CLI::App& program);
Command add_deploy(CLI::App& program);
Command add_reproduce(CLI::App& program);
Command add_doctor(CLI::App& program);

}  // namespace rpt::cli
