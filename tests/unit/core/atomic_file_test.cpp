// SPDX-License-Identifier: MIT
#include "rpt/core/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <string>

#include "rpt/core/error.h"

namespace rpt::core {
namespace {

namespace fs = std::filesystem;

/// A fresh folder for every test.
class Folder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "rpt-core-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.insert(entry.path().filename().string());
    return found;
  }

  fs::path folder_;
};

using AtomicFileTest = Folder;
using AtomicDirectoryTest = Folder;
using ReadFileTest = Folder;
using Names = std::set<std::string>;

template <typename Call>
std::string io_error(Call call) {
  try {
    call();
  } catch (const IoError& e) {
    return e.what();
  }
  return "no IoError";
}

TEST_F(AtomicFileTest, AppearsWholeAtCommit) {
  const fs::path target = folder_ / "a.bin";
  write_file_atomic(target, "old");
  AtomicFile file(target);
  file.write("hello ");
  file.write("world", 5);
  file.write_zeros(3);
  EXPECT_EQ(file.position(), 14U);
  EXPECT_EQ(read_file(target), "old");
  EXPECT_EQ(names().size(), 2U);
  file.commit();
  EXPECT_EQ(read_file(target), std::string("hello world\0\0\0", 14));
  EXPECT_EQ(names(), Names{"a.bin"});
}

TEST_F(AtomicFileTest, LeavesNothingWithoutCommit) {
  write_file_atomic(folder_ / "a", "old");
  {
    AtomicFile file(folder_ / "a");
    file.write("new");
    file.flush();
    EXPECT_EQ(read_file(file.temporary_path()), "new");
  }
  EXPECT_EQ(names(), Names{"a"});
  EXPECT_EQ(read_file(folder_ / "a"), "old");
}

TEST_F(AtomicFileTest, KeepsBytesThroughTheBuffer) {
  // Small writes, writes beyond the buffer and zeros, interleaved: the file must equal the same appends in memory.
  std::string expected;
  AtomicFile file(folder_ / "a");
  for (int i = 0; i < 40; ++i) {
    const std::size_t sizes[] = {1, 1000, 300'000, (std::size_t{1} << 20) + 1};
    const std::string part(sizes[i % 4], static_cast<char>('a' + i % 26));
    file.write(part);
    file.write_zeros(static_cast<std::uint64_t>(i) * 500);
    expected += part + std::string(static_cast<std::size_t>(i) * 500, '\0');
    ASSERT_EQ(file.position(), expected.size());
  }
  file.overwrite(0, "START", 5);
  file.overwrite(expected.size() - 3, "END", 3);
  file.write("!");
  file.commit();
  expected.replace(0, 5, "START").replace(expected.size() - 3, 3, "END").append("!");
  EXPECT_TRUE(read_file(folder_ / "a") == expected);
}

TEST_F(AtomicFileTest, RefusesToOverwriteWhatIsNotWritten) {
  AtomicFile file(folder_ / "a");
  file.write("12345");
  EXPECT_THROW(file.overwrite(3, "abc", 3), LogicError);
  EXPECT_THROW(file.overwrite(~std::uint64_t{0}, "abc", 3), LogicError);
}

TEST_F(AtomicFileTest, TwoWritersOfOneTargetDoNotMeet) {
  AtomicFile first(folder_ / "a");
  AtomicFile second(folder_ / "a");
  EXPECT_NE(first.temporary_path(), second.temporary_path());
  first.write("1");
  second.write("2");
  second.commit();
  first.commit();
  EXPECT_EQ(read_file(folder_ / "a"), "1");
  EXPECT_EQ(names(), Names{"a"});
}

TEST_F(AtomicFileTest, NamesPathAndReason) {
  const std::string message = io_error([&] { AtomicFile file(folder_ / "absent" / "a"); });
  EXPECT_NE(message.find((folder_ / "absent" / "a").string()), std::string::npos) << message;
  EXPECT_NE(message.find("No such file or directory"), std::string::npos) << message;
  EXPECT_NE(io_error([&] { AtomicFile file(folder_); }).find("no regular file"), std::string::npos);
  EXPECT_NE(io_error([&] { AtomicFile file("/dev/null"); }).find("no regular file"), std::string::npos);
}

TEST_F(AtomicFileTest, FollowsLinks) {
  write_file_atomic(folder_ / "real", "old");
  fs::create_symlink("real", folder_ / "link");
  write_file_atomic(folder_ / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(read_file(folder_ / "real"), "new");
}

TEST_F(AtomicFileTest, GivesTheUsualPermissions) {
  const mode_t mask = ::umask(022);
  write_file_atomic(folder_ / "a", "x");
  ::umask(mask);
  EXPECT_EQ(fs::status(folder_ / "a").permissions(), static_cast<fs::perms>(0644));
}

TEST_F(AtomicFileTest, GivesUpWhenTheFileCannotGrow) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  {
    AtomicFile file(folder_ / "a");
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    file.write_zeros(10'000);
    const std::string message = io_error([&] { file.flush(); });
    EXPECT_NE(message.find("File too large"), std::string::npos) << message;
    EXPECT_EQ(names(), Names{}) << "the half-written file is removed at once";
    EXPECT_THROW(file.write("x"), LogicError);
    EXPECT_THROW(file.commit(), LogicError);
  }
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(names(), Names{});
}

TEST_F(ReadFileTest, ReadsAllSizes) {
  for (const std::size_t size : {0U, 1U, 4095U, 4096U, 4097U, 100'000U}) {
    const std::string content(size, 'x');
    write_file_atomic(folder_ / "a", content);
    EXPECT_TRUE(read_file(folder_ / "a") == content) << size;
    EXPECT_TRUE(read_file(folder_ / "a", size) == content) << size;
    if (size == 0) continue;
    EXPECT_THROW(read_file(folder_ / "a", size - 1), ConfigError) << size;
  }
}

TEST_F(ReadFileTest, ReadsWhatHasNoSize) {
  EXPECT_FALSE(read_file("/proc/self/status").empty());
  EXPECT_THROW(read_file("/dev/zero", 100'000), ConfigError);
}

TEST_F(ReadFileTest, NamesPathAndReason) {
  EXPECT_NE(io_error([&] { read_file(folder_ / "absent"); }).find("absent: cannot open: No such file"),
            std::string::npos);
  EXPECT_NE(io_error([&] { read_file(folder_); }).find("Is a directory"), std::string::npos);
}

TEST_F(AtomicDirectoryTest, AppearsWholeAtCommit) {
  AtomicDirectory out(folder_ / "model/");
  write_file_atomic(out.path() / "config.json", "{}");
  fs::create_directory(out.path() / "sub");
  write_file_atomic(out.path() / "sub" / "x", "1");
  EXPECT_FALSE(fs::exists(folder_ / "model"));
  out.commit();
  EXPECT_EQ(names(), Names{"model"});
  EXPECT_EQ(read_file(folder_ / "model" / "sub" / "x"), "1");
}

TEST_F(AtomicDirectoryTest, LeavesNothingWithoutCommit) {
  {
    AtomicDirectory out(folder_ / "model");
    write_file_atomic(out.path() / "a", "x");
  }
  EXPECT_EQ(names(), Names{});
}

TEST_F(AtomicDirectoryTest, TakesAnEmptyFolder) {
  fs::create_directory(folder_ / "model");
  AtomicDirectory out(folder_ / "model");
  write_file_atomic(out.path() / "a", "x");
  out.commit();
  EXPECT_EQ(read_file(folder_ / "model" / "a"), "x");
}

TEST_F(AtomicDirectoryTest, RefusesAFullFolder) {
  fs::create_directory(folder_ / "model");
  AtomicDirectory early(folder_ / "model");
  write_file_atomic(folder_ / "model" / "mine", "x");
  EXPECT_NE(io_error([&] { AtomicDirectory out(folder_ / "model"); }).find("not empty"), std::string::npos);
  EXPECT_NE(io_error([&] { early.commit(); }).find("not empty"), std::string::npos);
  EXPECT_EQ(read_file(folder_ / "model" / "mine"), "x");
  EXPECT_NE(io_error([&] { AtomicDirectory out(folder_ / "model" / "mine"); }).find("no folder"), std::string::npos);
}

TEST_F(AtomicDirectoryTest, ReplacesAFullFolderWhenTold) {
  fs::create_directory(folder_ / "model");
  write_file_atomic(folder_ / "model" / "old", "x");
  {
    AtomicDirectory out(folder_ / "model", true);
    write_file_atomic(out.path() / "given up", "x");
  }
  EXPECT_TRUE(fs::exists(folder_ / "model" / "old"));
  AtomicDirectory out(folder_ / "model", true);
  write_file_atomic(out.path() / "new", "y");
  out.commit();
  EXPECT_EQ(names(), Names{"model"});
  EXPECT_TRUE(fs::exists(folder_ / "model" / "new"));
  EXPECT_FALSE(fs::exists(folder_ / "model" / "old"));
  EXPECT_THROW(out.commit(), LogicError);
}

TEST_F(AtomicDirectoryTest, KnowsWhatOthersHavePutThere) {
  EXPECT_TRUE(names_in(folder_ / "model").empty());
  EXPECT_FALSE(find_foreign(folder_ / "model", {}));
  fs::create_directories(folder_ / "model" / "b");
  write_file_atomic(folder_ / "model" / "c", "mine");
  write_file_atomic(folder_ / "model" / "a", "ours");
  EXPECT_EQ(names_in(folder_ / "model"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(find_foreign(folder_ / "model", {}), folder_ / "model" / "a");
  EXPECT_EQ(find_foreign(folder_ / "model", {"a", "b", "c"}), folder_ / "model" / "b") << "a folder, and no file";
  fs::remove(folder_ / "model" / "b");
  EXPECT_EQ(find_foreign(folder_ / "model", {"a"}), folder_ / "model" / "c");
  EXPECT_FALSE(find_foreign(folder_ / "model", {"c", "a"}));
}

TEST_F(AtomicDirectoryTest, FollowsLinks) {
  fs::create_directory(folder_ / "real");
  fs::create_directory_symlink("real", folder_ / "link");
  AtomicDirectory out(folder_ / "link");
  write_file_atomic(out.path() / "a", "x");
  out.commit();
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(read_file(folder_ / "real" / "a"), "x");
}

}  // namespace
}  // namespace rpt::core
