// SPDX-License-Identifier: MIT
#include "rpt/io/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "rpt/core/error.h"

namespace rpt::io {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* action) {
  const int error = errno;
  throw IoError(fmt::format("{}: cannot {}: {}", path.string(), action, std::strerror(error)));
}

/// Closes on every way out: a mapping outlives its descriptor.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  // O_NONBLOCK: a named pipe without a writer would otherwise hang the open; it is refused below.
  const Descriptor file{::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail(path_, "open");
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) fail(path_, "stat");
  if (S_ISDIR(status.st_mode)) throw IoError(fmt::format("{}: is a directory, expected a file", path_.string()));
  if (!S_ISREG(status.st_mode)) throw IoError(fmt::format("{}: is no regular file", path_.string()));
  if (status.st_size == 0) return;  // mmap refuses length 0

  const auto size = static_cast<std::size_t>(status.st_size);
  void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (memory == MAP_FAILED) fail(path_, "map");
  data_ = static_cast<const std::byte*>(memory);
  size_ = size;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::advise(int advice) const {
  // A hint that the system does not take changes nothing but speed: its result is of no interest.
  if (data_ != nullptr) static_cast<void>(::madvise(const_cast<std::byte*>(data_), size_, advice));
}

void MappedFile::advise_sequential() const {
  advise(MADV_SEQUENTIAL);
}
void MappedFile::advise_random() const {
  advise(MADV_RANDOM);
}
void MappedFile::advise_willneed() const {
  advise(MADV_WILLNEED);
}

}  // namespace rpt::io
