// SPDX-License-Identifier: MIT
#include "rpt/core/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <tuple>
#include <utility>

#include "rpt/core/error.h"

namespace rpt::core {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBuffer = std::size_t{1} << 20;
constexpr int kAttempts = 1000;  // temporary names tried before giving up

[[noreturn]] void throw_output(const fs::path& path, const char* what, int error) {
  throw OutputError(fmt::format("{}: {}: {}", path.string(), what, std::strerror(error)));
}

[[noreturn]] void throw_io(const fs::path& path, const char* what, int error) {
  throw IoError(fmt::format("{}: {}: {}", path.string(), what, std::strerror(error)));
}

template <typename Call>
auto retry(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// The place that a rename should hit: symbolic links resolved, no trailing slash.
fs::path resolve(const fs::path& target) {
  const fs::path named = target.has_filename() ? target : target.parent_path();
  std::error_code error;
  if (!fs::is_symlink(named, error)) return named;
  const fs::path real = fs::canonical(named, error);
  if (error) throw_output(target, "cannot follow the link", error.value());
  return real;
}

/// Calls create(name), which returns −1 and sets errno on failure, with unused names beside the target until one works.
/// The process id alone would not do: one process may write a target twice, and two machines may share the folder.
template <typename Create>
std::pair<fs::path, int> create_beside(const fs::path& target, Create create) {
  for (int n = 0;; ++n) {
    fs::path name = target;
    name += fmt::format(".tmp.{}.{}", ::getpid(), n);
    const int result = retry([&] { return create(name.c_str()); });
    if (result >= 0) return {std::move(name), result};
    if (errno != EEXIST || n == kAttempts) throw_output(name, "cannot create", errno);
  }
}

void sync_path(const fs::path& path, int flags) {
  const Descriptor file(retry([&] { return ::open(path.c_str(), flags | O_RDONLY | O_CLOEXEC); }));
  if (file.get() < 0) throw_output(path, "cannot open for syncing", errno);
  // Some file systems cannot sync folders and say EINVAL; there is nothing better to do on them.
  if (retry([&] { return ::fsync(file.get()); }) != 0 && errno != EINVAL) throw_output(path, "cannot sync", errno);
}

void sync_folder_of(const fs::path& path) {
  const fs::path folder = path.parent_path();
  sync_path(folder.empty() ? fs::path(".") : folder, O_DIRECTORY);
}

/// Syncs every file and folder below `folder`, then the folder.
void sync_tree(const fs::path& folder) {
  try {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.is_symlink()) continue;
      if (entry.is_directory()) sync_path(entry.path(), O_DIRECTORY);
      if (entry.is_regular_file()) sync_path(entry.path(), 0);
    }
  } catch (const fs::filesystem_error& e) {
    throw_output(folder, "cannot list for syncing", e.code().value());
  }
  sync_path(folder, O_DIRECTORY);
}

}  // namespace

// ---- AtomicFile -----------------------------------------------------------------------------------------------------

AtomicFile::AtomicFile(fs::path target) : target_(resolve(target)) {
  // A rename onto /dev/null would replace the device.
  std::error_code error;
  const fs::file_status status = fs::status(target_, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw OutputError(fmt::format("{}: is no regular file; refusing to replace it", target.string()));
  }
  std::tie(temporary_, fd_) = create_beside(
      target_, [](const char* name) { return ::open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
}

void AtomicFile::discard() noexcept {
  if (fd_ < 0) return;
  ::close(std::exchange(fd_, -1));
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* what, int error) {
  discard();  // so that nothing half-written can be committed later
  throw_output(target_, what, error);
}

void AtomicFile::write_all(const void* data, std::size_t size, std::uint64_t offset) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t done = retry([&] { return ::pwrite(fd_, bytes, size, static_cast<off_t>(offset)); });
    if (done < 0) fail("cannot write", errno);
    if (done == 0) fail("cannot write", ENOSPC);
    bytes += done;
    offset += static_cast<std::uint64_t>(done);
    size -= static_cast<std::size_t>(done);
  }
}

void AtomicFile::flush() {
  RPT_CHECK(fd_ >= 0, "{} is closed", target_.string());
  write_all(buffer_.data(), buffer_.size(), position_ - buffer_.size());
  buffer_.clear();
}

void AtomicFile::write(const void* data, std::size_t size) {
  RPT_CHECK(fd_ >= 0, "{} is closed", target_.string());
  if (buffer_.size() + size > kBuffer) flush();
  if (size > kBuffer) {
    write_all(data, size, position_);
  } else {
    buffer_.append(static_cast<const char*>(data), size);
  }
  position_ += size;
}

void AtomicFile::write_zeros(std::uint64_t count) {
  static constexpr char kZeros[4096] = {};
  while (count > 0) {
    const std::size_t part = static_cast<std::size_t>(std::min<std::uint64_t>(count, sizeof kZeros));
    write(kZeros, part);
    count -= part;
  }
}

void AtomicFile::overwrite(std::uint64_t offset, const void* data, std::size_t size) {
  RPT_CHECK(offset <= position_ && size <= position_ - offset, "{} bytes at {} of {}", size, offset, position_);
  flush();
  write_all(data, size, offset);
}

void AtomicFile::commit() {
  flush();
  if (retry([&] { return ::fsync(fd_); }) != 0) fail("cannot sync", errno);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("cannot rename to it", errno);
  ::close(std::exchange(fd_, -1));
  sync_folder_of(target_);
}

void write_file_atomic(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::string read_file(const fs::path& path, std::uint64_t limit) {
  const Descriptor file(retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (file.get() < 0) throw_io(path, "cannot open", errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_io(path, "cannot stat", errno);
  const auto too_large = [&] { throw ConfigError(fmt::format("{}: more than {} bytes", path.string(), limit)); };
  const auto expected = static_cast<std::uint64_t>(std::max<off_t>(status.st_size, 0));
  if (expected > limit) too_large();

  // The size is only a hint: /proc says 0, and the file may grow. One byte more shows the end without growing.
  std::string content(static_cast<std::size_t>(expected) + 1, '\0');
  for (std::size_t size = 0;;) {
    if (size == content.size()) content.resize(size + size / 2 + 4096);
    const ssize_t got = retry([&] { return ::read(file.get(), content.data() + size, content.size() - size); });
    if (got < 0) throw_io(path, "cannot read", errno);
    size += static_cast<std::size_t>(got);
    if (size > limit) too_large();
    if (got == 0) {
      content.resize(size);
      return content;
    }
  }
}

// ---- AtomicDirectory ------------------------------------------------------------------------------------------------

AtomicDirectory::AtomicDirectory(fs::path target, bool replace) : target_(resolve(target)), replace_(replace) {
  check_target();
  temporary_ = create_beside(target_, [](const char* name) { return ::mkdir(name, 0777); }).first;
}

AtomicDirectory::~AtomicDirectory() {
  if (committed_) return;
  std::error_code ignored;  // a destructor can do no more about it
  fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::check_target() const {
  std::error_code error;
  const fs::file_status status = fs::status(target_, error);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status)) throw OutputError(fmt::format("{}: exists and is no folder", target_.string()));
  if (!replace_ && !fs::is_empty(target_, error)) {
    throw OutputError(fmt::format("{}: exists and is not empty", target_.string()));
  }
}

/// Puts the new folder in the place of one that is not empty, and removes the old one.
void AtomicDirectory::replace_target() {
  fs::path old = temporary_;
#ifdef RENAME_EXCHANGE
  if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0)
#endif
  {
    // Not every file system can exchange two names. Between these two renames the target is absent.
    old += ".old";
    if (::rename(target_.c_str(), old.c_str()) != 0) throw_output(target_, "cannot move the old folder away", errno);
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
      const int error = errno;
      (void)::rename(old.c_str(), target_.c_str());
      throw_output(target_, "cannot rename to it", error);
    }
  }
  committed_ = true;
  sync_folder_of(target_);
  std::error_code error;
  fs::remove_all(old, error);
  if (error) throw_output(old, "cannot remove the old folder", error.value());
}

void AtomicDirectory::commit() {
  RPT_CHECK(!committed_, "{} was committed before", target_.string());
  sync_tree(temporary_);
  check_target();
  if (::rename(temporary_.c_str(), target_.c_str()) == 0) {  // the target is absent or an empty folder
    committed_ = true;
    sync_folder_of(target_);
    return;
  }
  if (!replace_ || (errno != ENOTEMPTY && errno != EEXIST)) throw_output(target_, "cannot rename to it", errno);
  replace_target();
}

// ---- What a folder holds --------------------------------------------------------------------------------------------

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  if (!fs::is_directory(folder, error)) return names;
  for (fs::directory_iterator it(folder, error), last; !error && it != last; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) throw_output(folder, "cannot list", error.value());
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<fs::path> find_foreign(const fs::path& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names_in(folder)) {
    std::error_code none;
    const bool known = std::find(names.begin(), names.end(), name) != names.end();
    if (!known || !fs::is_regular_file(folder / name, none)) return folder / name;
  }
  return std::nullopt;
}

}  // namespace rpt::core
