// SPDX-License-Identifier: MIT
#include "rpt/cli/context.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>

#include "rpt/cli/terminal_progress.h"
#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/core/timer.h"
#include "rpt/kernels/isa.h"
#include "rpt/model/head.h"

namespace rpt::cli {
namespace {

namespace fs = std::filesystem;

/// The processor's name as the kernel tells it.
std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    if (line.starts_with("model name")) {
      const auto colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "unknown";
}

/// What a file that Context::write_json() wrote begins with.
constexpr std::string_view kFirstOfFigures = "{\n  \"command\": ";

/// Refuses a file of somebody's own as the target of --json. Throws UsageError.
void require_figures(const fs::path& file) {
  std::error_code none;
  if (!fs::is_regular_file(file, none) || fs::file_size(file, none) == 0) return;
  std::string first(kFirstOfFigures.size(), ' ');
  std::ifstream(file, std::ios::binary).read(first.data(), static_cast<std::streamsize>(first.size()));
  if (first == kFirstOfFigures) return;
  throw UsageError(
      fmt::format("--json {}: the file is there and holds no figures of rpt; write to another name", file.string()));
}

/// Swallows what is written to it.
std::ostream& nowhere() {
  static std::ostream stream(nullptr);
  return stream;
}

}  // namespace

std::ostream& Context::out() const {
  return common.json == "-" ? nowhere() : out_;
}

void Context::say(const std::string& line) const {
  if (!common.quiet) err_ << line << '\n';
}

void Context::say_always(const std::string& line) const {
  err_ << line << '\n';
}

void Context::detail(const std::string& line) const {
  if (common.verbose) err_ << line << '\n';
}

core::ProgressSink& Context::progress() {
  if (common.quiet || &err_ != &std::cerr) return core::null_progress();
  if (!progress_) progress_ = make_terminal_progress();
  return *progress_;
}

void Context::write_json(const std::string& command, const std::string& model, const report::Record& figures) const {
  if (common.json.empty()) return;
  report::Record environment;
  environment.set("processor", processor_name());
  environment.set("instruction_set", std::string(kernels::active().name));
  environment.set("threads", std::int64_t{core::threads()});
  report::Record whole;
  whole.set("command", command);
  whole.set("model", model);
  whole.set("version", std::string(RPT_VERSION));
  whole.set("environment", environment);
  whole.append(figures);
  const std::string text = whole.to_json() + "\n";
  if (common.json == "-") {
    out_ << text;
  } else {
    core::write_file_atomic(common.json, text);
  }
}

std::string describe_machine() {
  return fmt::format("{}, {}, {} threads", processor_name(), kernels::active().name, core::threads());
}

void Context::apply() const {
  if (!common.json.empty() && common.json != "-") {
    // Better now than after the work.
    const fs::path folder = fs::absolute(common.json).parent_path();
    if (access(folder.c_str(), W_OK) != 0) throw OutputError(fmt::format("{}: cannot be written", common.json));
    require_figures(common.json);
  }
  core::set_threads(common.threads);
  try {
    if (common.isa.empty()) {
      kernels::active();
    } else {
      kernels::force_isa(common.isa);
    }
  } catch (const ConfigError& e) {
    throw UsageError(e.what());
  }
}

std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return text;
}

std::string check_whole_number(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && value >= 0;
  return whole ? std::string() : fmt::format("{} is no whole number from 0 to 2^63 - 1", text);
}

std::function<std::string(const std::string&)> between(double low, double high) {
  return [low, high](const std::string& text) -> std::string {
    double value = 0;
    if (CLI::detail::lexical_cast(text, value) && value >= low && value <= high) return "";
    return fmt::format("{} is no number from {} to {}", text, low, high);
  };
}

std::string check_not_empty(const std::string& text) {
  return text.empty() ? "an empty name" : "";
}

void add_common_options(CLI::App& app, CommonOptions& options) {
  app.add_option("--threads", options.threads, "Threads to use (0: every core)")->check(CLI::Range(0, 1024));
  app.add_option("--isa", options.isa,
                 "Instruction set to force: reference, avx2, avx512 (default: $RPT_ISA, else the best)");
  app.add_option("--seed", options.seed, "Seed of everything random")->check(check_whole_number)->capture_default_str();
  app.add_option("--json", options.json, "Write the figures as JSON to this file; - is standard output")
      ->type_name("FILE");
  app.add_flag("--quiet", options.quiet, "No messages and no progress on standard error");
  app.add_flag("--verbose", options.verbose, "More messages on standard error");
}

void add_open_options(CLI::App& app, CommonOptions& options) {
  app.add_option("--scale", options.scale,
                 "Of a Hugging Face directory of 0 and ±s that declares online: declared, which quantises again, or "
                 "stored, which takes s for the scale")
      ->check(CLI::IsMember({"declared", "stored"}))
      ->capture_default_str();
  app.add_option("--i2s-layout", options.i2s_layout, "Order of the codes in the I2_S tensors of a GGUF file: x86, arm")
      ->check(CLI::IsMember({"x86", "arm"}))
      ->capture_default_str();
}

std::vector<fs::path> data_roots() {
  std::vector<fs::path> roots;
  if (const char* data = std::getenv("RPT_DATA"); data != nullptr && *data != '\0') roots.emplace_back(data);
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) roots.push_back(program.parent_path().parent_path() / "share" / "rpt");
  roots.emplace_back(RPT_SOURCE_ROOT);
  return roots;
}

fs::path find_model(const std::string& name_or_path) {
  std::error_code error;
  if (!fs::exists(name_or_path, error) && name_or_path.find('/') == std::string::npos) {
    for (const fs::path& root : data_roots()) {
      const fs::path embedded = root / "models" / name_or_path;
      if (fs::exists(embedded / "config.json", error)) return embedded;
    }
  }
  return name_or_path;
}

namespace {

/// Whether the file or folder is in the folder, or is it. Both canonical.
bool is_within(const fs::path& inner, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), inner.begin(), inner.end()).first == folder.end();
}

}  // namespace

void require_apart(std::initializer_list<fs::path> inputs, const fs::path& out) {
  std::error_code none;
  fs::path target = fs::weakly_canonical(out, none);
  if (!target.has_filename()) target = target.parent_path();  // "folder/"
  for (const fs::path& input : inputs) {
    if (!fs::exists(input, none)) continue;  // none given, or something that is found to be missing later
    const fs::path source = fs::weakly_canonical(input, none);
    if (fs::equivalent(input, out, none)) {
      throw UsageError(fmt::format("{} is an input; write to another name", out.string()));
    }
    if (is_within(source, target)) {
      throw UsageError(fmt::format("{} holds {}, which is read; write to another name", out.string(), input.string()));
    }
    if (is_within(target, source) && fs::is_regular_file(out, none) && target.extension() != ".gguf") {
      throw UsageError(
          fmt::format("{} is a file of {}, which is read; write to another name", out.string(), input.string()));
    }
  }
}

model::OpenOptions open_options(const CommonOptions& common) {
  model::OpenOptions how;
  if (common.scale == "stored") how.scale = model::ScaleReading::stored;
  if (common.i2s_layout == "arm") how.i2_s = ternary::I2sLayout::arm;
  return how;
}

std::unique_ptr<model::Model> open_model(const std::string& name_or_path, const Context& context) {
  const fs::path path = find_model(name_or_path);
  const core::Stopwatch watch;
  auto opened = model::open_model(path, open_options(context.common));
  context.detail(fmt::format("opened {} ({}) in {:.1f} ms; {} with {} threads", path.string(), opened->format,
                             1e3 * watch.seconds(), kernels::active().name, core::threads()));
  for (const std::string& warning : opened->warnings) context.say("warning: " + warning);
  return opened;
}

void round_head(model::Model& model, const std::string& type, Context& context) {
  using tensor::DType;
  static const std::map<std::string, DType> types{
      {"f16", DType::f16}, {"q8_0", DType::q8_0}, {"q6_k", DType::q6_k}, {"q4", DType::q4_0}};
  model::round_head(model, types.at(type), context.progress());
}

std::unique_ptr<model::Model> open_bitnet_model(const std::string& name_or_path, std::string_view what,
                                                const Context& context) {
  auto opened = open_model(name_or_path, context);
  model::require_bitnet_blocks(*opened, what);
  return opened;
}

}  // namespace rpt::cli
