// SPDX-License-Identifier: MIT
#include "rpt/train/metrics.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "rpt/core/error.h"

namespace rpt::train {

Metrics::Metrics(const std::filesystem::path& path, std::uint64_t keep_bytes,
                 const std::function<void(const std::string&)>& warn)
    : path_(path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) fail();
  try {
    open(keep_bytes, warn);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

Metrics::~Metrics() {
  ::close(fd_);
}

void Metrics::open(std::uint64_t keep_bytes, const std::function<void(const std::string&)>& warn) {
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    throw ConfigError(fmt::format("{}: another run is writing to it", path_.string()));
  }
  struct stat status {};
  if (::fstat(fd_, &status) != 0) fail();
  const auto size = static_cast<std::uint64_t>(std::max<off_t>(status.st_size, 0));
  if (keep_bytes > 0 && size >= keep_bytes) {
    char last = 0;
    read(keep_bytes - 1, {&last, 1});
    if (last != '\n' && last != '\0') {
      throw ConfigError(
          fmt::format("{}: expected the end of a line behind {} bytes, where the checkpoint was saved, found other "
                      "text: this run did not write it; move it away",
                      path_.string(), keep_bytes));
    }
  }
  bytes_ = whole_lines(std::min(size, keep_bytes));
  if (bytes_ < keep_bytes && warn) {
    warn(
        fmt::format("{}: expected {} bytes of lines, as when the checkpoint was saved, found {}; the run goes on, its "
                    "lines before that are not complete",
                    path_.string(), keep_bytes, bytes_));
  }
  if (::ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) fail();
  if (::lseek(fd_, static_cast<off_t>(bytes_), SEEK_SET) < 0) fail();
}

void Metrics::read(std::uint64_t begin, std::span<char> bytes) const {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::pread(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(begin + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail();
    done += static_cast<std::size_t>(n);
  }
}

std::uint64_t Metrics::whole_lines(std::uint64_t end) const {
  std::array<char, 4096> buffer;
  while (end > 0) {
    const auto part = std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(end, buffer.size())));
    end -= part.size();
    read(end, part);
    const auto newline = std::find(part.rbegin(), part.rend(), '\n');
    if (newline != part.rend()) return end + static_cast<std::uint64_t>(part.rend() - newline);
  }
  return 0;
}

void Metrics::add(std::string_view line) {
  const std::string text = std::string(line) + "\n";
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(fd_, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail();
    done += static_cast<std::size_t>(n);
  }
  bytes_ += text.size();
}

void Metrics::sync() const {
  // Some file systems cannot sync and say EINVAL; there is nothing better to do on them.
  if (::fdatasync(fd_) != 0 && errno != EINVAL) fail();
}

void Metrics::fail() const {
  throw OutputError(fmt::format("{}: cannot be written: {}", path_.string(), std::strerror(errno)));
}

}  // namespace rpt::train
