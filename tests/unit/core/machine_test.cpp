// SPDX-License-Identifier: MIT
#include "rpt/core/machine.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace rpt::core {
namespace {

TEST(Machine, SaysHowMuchMemoryItHas) {
  std::ifstream info("/proc/meminfo");
  std::string name;
  std::uint64_t kilobytes = 0;
  if (!(info >> name >> kilobytes) || name != "MemTotal:") GTEST_SKIP() << "the system does not say";
  EXPECT_EQ(physical_memory() / 1024, kilobytes);
}

}  // namespace
}  // namespace rpt::core
