// SPDX-License-Identifier: MIT
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace rpt::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kSanitized = false;  ///< speeds mean nothing in a build with sanitizers
#endif

/// The folder of data that may not be shipped: $RPT_SHARED, or ../shared beside the project.
inline std::filesystem::path shared_dir() {
  if (const char* dir = std::getenv("RPT_SHARED")) return dir;
  return std::filesystem::path(RPT_SOURCE_DIR).parent_path() / "shared";
}

/// A file or folder below shared_dir().
inline std::filesystem::path shared(const std::string& relative) {
  return shared_dir() / relative;
}

/// The root of the source tree.
inline std::filesystem::path source_dir() {
  return RPT_SOURCE_DIR;
}

}  // namespace rpt::test

/// Skips the test where the shared data are absent; with CI=true their absence fails it.
#define RPT_NEEDS_SHARED(relative)                                                        \
  do {                                                                                    \
    if (!std::filesystem::exists(rpt::test::shared(relative))) {                          \
      if (const char* ci = std::getenv("CI"); ci != nullptr && std::string(ci) == "true") \
        FAIL() << "CI needs the shared file " << rpt::test::shared(relative);             \
      GTEST_SKIP() << "no shared data at " << rpt::test::shared(relative);                \
    }                                                                                     \
  } while (false)
