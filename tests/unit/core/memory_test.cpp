// SPDX-License-Identifier: MIT
#include "rpt/core/memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <numeric>
#include <vector>

#include "rpt/core/aligned_buffer.h"

namespace rpt::core {
namespace {

TEST(Memory, HugePagesKeepWhatIsThere) {
  std::vector<int> values(3 << 20);
  std::iota(values.begin(), values.end(), 0);
  advise_huge_pages(values.data(), values.size() * sizeof(int));
  advise_huge_pages(values.data(), 0);
  advise_huge_pages(values.data() + 1, 17);
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], static_cast<int>(i));
}

TEST(Memory, LargeBuffersAreZeroed) {
  AlignedBuffer<std::uint8_t> buffer(9'000'001);
  for (const std::uint8_t v : buffer.span()) ASSERT_EQ(v, 0);
}

// Page faults of freeing and allocating a touched block of 8 MiB a few times; 2,048 a time where it is mapped anew.
long faults_of_reuse() {
  const auto touch = [] {
    const std::unique_ptr<char[]> block(new char[8 << 20]);
    for (std::size_t i = 0; i < (8 << 20); i += 4096) const_cast<volatile char*>(block.get())[i] = 1;
  };
  touch();
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  for (int i = 0; i < 8; ++i) touch();
  getrusage(RUSAGE_SELF, &after);
  return after.ru_minflt - before.ru_minflt;
}

std::int64_t resident_bytes() {
  std::int64_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(Memory, FreedMemoryIsKeptUntilItIsReturned) {
#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "another allocator";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
  GTEST_SKIP() << "another allocator";
#endif
#endif
  keep_freed_memory();
  EXPECT_LT(faults_of_reuse(), 2048);
  const std::int64_t kept = resident_bytes();  // the block of 8 MiB among them
  return_freed_memory();
  EXPECT_LT(resident_bytes(), kept - (6 << 20));
}

}  // namespace
}  // namespace rpt::core
