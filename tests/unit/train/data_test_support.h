// SPDX-License-Identifier: MIT
#pragma once
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <numeric>
#include <string>
#include <utility>

#include "rpt/core/atomic_file.h"
#include "rpt/text/tokenizer.h"
#include "rpt/train/documents.h"
#include "rpt/train/token_stream.h"
#include "tests/shared_data.h"

namespace rpt::test {

/// The vocabulary of the embedded model: 4,096 tokens, BOS 0, end 1.
inline const text::Tokenizer& seedling_tokenizer() {
  static const text::Tokenizer tokenizer = [] {
    const std::filesystem::path path = source_dir() / "models/seedling/tokenizer.json";
    return text::Tokenizer::from_tokenizer_json(core::read_file(path), path.string());
  }();
  return tokenizer;
}

inline train::Document document(std::string text, std::int64_t repeat = 1) {
  train::Document out;
  out.name = "test";
  out.text = std::move(text);
  out.repeat = repeat;
  return out;
}

/// A stream whose token at place i is i, so that a window shows where it was taken; all may be targets.
inline train::TokenStream counting_stream(std::int32_t tokens) {
  train::TokenStream stream;
  stream.tokens.resize(static_cast<std::size_t>(tokens));
  std::iota(stream.tokens.begin(), stream.tokens.end(), 0);
  stream.is_target.assign(stream.tokens.size(), 1);
  return stream;
}

/// A folder that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_(std::filesystem::temp_directory_path() / ("rpt-train-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  /// Writes a file below the folder; its path.
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    core::write_file_atomic(path_ / name, text);
    return (path_ / name).string();
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace rpt::test
