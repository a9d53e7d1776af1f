// SPDX-License-Identifier: MIT
#include "rpt/evaluate/saved_logits.h"

#include <bit>
#include <limits>
#include <string_view>

#include "rpt/core/checked.h"
#include "rpt/core/error.h"

namespace rpt::evaluate {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "RPTLOGIT";
constexpr std::uint32_t kVersion = 1;

std::uint32_t checked_vocabulary(std::int64_t vocabulary) {
  if (vocabulary < 1 || vocabulary > std::numeric_limits<std::int32_t>::max()) {
    throw ConfigError(fmt::format("logits of a vocabulary of {} cannot be saved", vocabulary));
  }
  return static_cast<std::uint32_t>(vocabulary);
}

}  // namespace

LogitsWriter::LogitsWriter(const std::filesystem::path& path, std::int64_t vocabulary, std::uint64_t count)
    : file_(path), vocabulary_(checked_vocabulary(vocabulary)), left_(count) {
  const auto size = static_cast<std::uint32_t>(vocabulary_);
  file_.write(kMagic);
  file_.write(&kVersion, sizeof kVersion);
  file_.write(&size, sizeof size);
  file_.write(&count, sizeof count);
}

void LogitsWriter::add(std::int32_t target, std::span<const float> logits) {
  RPT_CHECK(left_ > 0, "more tokens than were announced");
  if (logits.size() != vocabulary_) {
    throw ShapeError(fmt::format("saved logits: a row of {} for a vocabulary of {}", logits.size(), vocabulary_));
  }
  file_.write(&target, sizeof target);
  file_.write(logits.data(), logits.size_bytes());
  --left_;
}

void LogitsWriter::commit() {
  RPT_CHECK(left_ == 0, "{} tokens are missing", left_);
  file_.commit();
}

std::optional<std::uint64_t> saved_logits_bytes(std::int64_t vocabulary, std::uint64_t count) {
  constexpr std::uint64_t kHeader = 24;
  const auto row = core::multiply(checked_vocabulary(vocabulary), sizeof(float));
  const auto rows = core::multiply(*row + sizeof(std::int32_t), count);
  return rows ? core::add(*rows, kHeader) : std::nullopt;
}

}  // namespace rpt::evaluate
