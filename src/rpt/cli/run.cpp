// SPDX-License-Identifier: MIT
#include "rpt/cli/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <new>

#include "rpt/cli/context.h"
#include "rpt/core/error.h"

namespace rpt::cli {
namespace {

enum ExitCode : int { kDone = 0, kCheckFailed = 1, kWrongUsage = 2, kBadInput = 3, kEnvironment = 4 };

int fail(std::ostream& err, int code, const std::string& message) {
  err << "rpt: " << one_line(message) << '\n';
  return code;
}

/// What the parser says about wrong usage, or the help that was asked for.
int report_parse(const CLI::App& program, const CLI::ParseError& e, std::ostream& out, std::ostream& err) {
  if (e.get_exit_code() == 0) {
    program.exit(e, out, err);
    out.flush();
    return out ? kDone : fail(err, kEnvironment, "standard output cannot be written");
  }
  return fail(err, kWrongUsage, fmt::format("{} (rpt --help, or rpt COMMAND --help)", e.what()));
}

}  // namespace

int run(int argc, const char* const* argv, std::istream& in, std::ostream& out, std::ostream& err) {
  Context context(in, out, err);
  CLI::App program("rpt: sparse ternary language models on CPUs", "rpt");
  program.set_version_flag("--version", std::string("rpt ") + RPT_VERSION);
  program.require_subcommand(1);
  program.failure_message(CLI::FailureMessage::simple);

  const std::vector<Command> commands{
      add_inspect(program),         add_tokenize(program),    add_generate(program), add_chat(program),
      add_perplexity(program),      add_compare(program),     add_export(program),   add_gauge(program),
      add_prune(program),           add_snap(program),        add_train(program),    add_finetune(program),
      add_tokenizer_train(program), add_bench_train(program), add_deploy(program),   add_reproduce(program),
      add_doctor(program)};
  for (const Command& command : commands) {
    add_common_options(*command.app, context.common);
    if (command.reads_any_form) add_open_options(*command.app, context.common);
  }
  try {
    const std::string first = argc > 1 ? argv[1] : "";
    if (!first.empty() && first.front() != '-' &&
        program.get_subcommands([&](const CLI::App* c) { return c->get_name() == first; }).empty()) {
      throw UsageError(fmt::format("unknown command \"{}\" (rpt --help lists them)", first));
    }
    program.parse(argc, argv);
    const auto chosen =
        std::find_if(commands.begin(), commands.end(), [](const Command& c) { return c.app->parsed(); });
    context.apply();
    const int code = chosen->run(context);
    out.flush();
    if (!out) throw OutputError("standard output cannot be written");
    return code;
  } catch (const CLI::ParseError& e) {
    return report_parse(program, e, out, err);
  } catch (const UsageError& e) {
    return fail(err, kWrongUsage, e.what());
  } catch (const CheckError& e) {
    return fail(err, kCheckFailed, e.what());
  } catch (const EnvironmentError& e) {
    return fail(err, kEnvironment, e.what());
  } catch (const OutputError& e) {
    return fail(err, kEnvironment, e.what());
  } catch (const Error& e) {
    return fail(err, kBadInput, e.what());
  } catch (const LogicError& e) {
    return fail(err, kCheckFailed, fmt::format("a mistake within rpt: {}", e.what()));
  } catch (const std::filesystem::filesystem_error& e) {
    return fail(err, kEnvironment, fmt::format("{}: {}", e.path1().string(), e.code().message()));
  } catch (const std::bad_alloc&) {
    return fail(err, kEnvironment, "there is not enough memory");
  } catch (const std::exception& e) {
    return fail(err, kCheckFailed, fmt::format("a mistake within rpt: {}", e.what()));
  }
}

}  // namespace rpt::cli
