// SPDX-License-Identifier: MIT
// tools/check_deployed.sh with programs that only say what they were asked.
#include "rpt/core/atomic_file.h"
#include "tests/unit/cli/cli_testing.h"
#include "tests/unit/cli/program_testing.h"

namespace rpt::cli {
namespace {

class CheckDeployed : public CommandTest {
 protected:
  void program(const std::string& name, const std::string& body) const {
    core::write_file_atomic(path(name), "#!/bin/sh\n" + body + "\n");
    std::filesystem::permissions(path(name), std::filesystem::perms::owner_all);
  }

  /// The exit code of the tool, what it says in "said".
  int check() const {
    const std::string tool = (test::source_dir() / "tools/check_deployed.sh").string();
    return wait_for(start_program("/usr/bin/env",
                                  {"RPT=" + path("rpt"), "PYTHON=" + path("python"), "bash", tool, path("run"),
                                   path("peer"), path("text.txt")},
                                  path("said")))
        .status;
  }
};

TEST_F(CheckDeployed, AsksForTheDirectoriesThatTheRunLeft) {
  core::write_file_atomic(path("text.txt"), "A text.");
  program("peer", "echo 'Final estimate: PPL = 10.000 +/- 0.1'");
  program("rpt", "echo '  \"perplexity\": 10.01,'");
  program("python", "for word; do echo \"$word\"; done > '" + path("asked") + "'");
  EXPECT_EQ(check(), 0) << core::read_file(path("said"));
  const std::string asked = core::read_file(path("asked"));
  for (const std::string& words :
       {"--directory\n" + path("run/latents") + "\nhf\n", "--directory\n" + path("run/packed") + "\nhf-packed\n"}) {
    EXPECT_NE(asked.find(words), std::string::npos) << asked;
  }
  EXPECT_EQ(asked.find("--model"), std::string::npos) << "what is exported again is not what the run left";

  program("rpt", "echo '  \"perplexity\": 10.03,'");
  EXPECT_NE(check(), 0) << "0.3 % apart";
  program("rpt", "echo '  \"perplexity\": 10.01,'");
  program("python", "exit 1");
  EXPECT_NE(check(), 0);
}

}  // namespace
}  // namespace rpt::cli
