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
  ASSERT_TRUE(info >> name >> kilobytes);
  ASSERT_EQ(name, "MemTotal:");
  EXPECT_EQ(physical_memory() / 1024, kilobytes);
}

}  // namespace
}  // namespace rpt::core
