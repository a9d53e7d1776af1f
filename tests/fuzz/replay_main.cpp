// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Runs one seed whole and cut at 16 places; false where anything escapes.
bool replay(const std::filesystem::path& path) {
  const auto seed = read_file(path);
  for (std::size_t part = 0; part <= 16; ++part) {
    // A vector of its own for each length, so that a sanitizer sees a read behind the cut.
    const std::vector<std::uint8_t> input(seed.begin(),
                                          seed.begin() + static_cast<std::ptrdiff_t>(seed.size() * part / 16));
    try {
      LLVMFuzzerTestOneInput(input.data(), input.size());
    } catch (const std::exception& error) {
      fmt::print(stderr, "{} cut to {} bytes: {}\n", path.string(), input.size(), error.what());
      return false;
    }
  }
  return true;
}

}  // namespace

/// Runs every file of a folder through the fuzz target. Fails where the folder is empty or an exception escapes.
int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: {} <folder of seeds>\n", argv[0]);
    return 2;
  }
  std::vector<std::filesystem::path> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    if (entry.is_regular_file()) seeds.push_back(entry.path());
  }
  std::sort(seeds.begin(), seeds.end());
  const auto failed = std::count_if(seeds.begin(), seeds.end(), [](const auto& seed) { return !replay(seed); });
  fmt::print("{} seeds, {} failed\n", seeds.size(), failed);
  return seeds.empty() || failed > 0 ? 1 : 0;
}
