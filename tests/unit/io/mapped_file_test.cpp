// SPDX-License-Identifier: MIT
#include "rpt/io/mapped_file.h"

#include <sys/stat.h>

#include <utility>

#include "tests/unit/io/io_test_support.h"

namespace rpt::io {
namespace {

using test::as_text;
using test::expect_error;
using test::TemporaryFolder;
using test::write_file;

TEST(MappedFile, ShowsTheWholeFile) {
  const TemporaryFolder folder;
  const std::string content = std::string(10'000, 'a') + "end";
  write_file(folder / "file", content);
  const MappedFile file(folder / "file");
  EXPECT_EQ(as_text(file.bytes()), content);
  EXPECT_EQ(file.path(), folder / "file");
  file.advise_sequential();
  file.advise_random();
  file.advise_willneed();
  EXPECT_EQ(as_text(file.bytes()), content);
}

TEST(MappedFile, MovesWithoutMovingTheBytes) {
  const TemporaryFolder folder;
  write_file(folder / "a", "first");
  write_file(folder / "b", "second");
  MappedFile a(folder / "a");
  const auto* at = a.bytes().data();
  MappedFile moved(std::move(a));
  EXPECT_EQ(moved.bytes().data(), at);
  MappedFile b(folder / "b");
  b = std::move(moved);
  EXPECT_EQ(as_text(b.bytes()), "first");
  EXPECT_EQ(b.path(), folder / "a");
}

TEST(MappedFile, EmptyFileAndEmptyObjectGiveNoBytes) {
  const TemporaryFolder folder;
  write_file(folder / "empty", "");
  const MappedFile file(folder / "empty");
  EXPECT_TRUE(file.bytes().empty());
  file.advise_willneed();
  EXPECT_TRUE(MappedFile().bytes().empty());
}

TEST(MappedFile, RefusesWhatIsNoReadableFile) {
  const TemporaryFolder folder;
  expect_error<IoError>([&] { MappedFile(folder / "missing"); }, {"missing", "No such file"});
  expect_error<IoError>([&] { MappedFile(folder.path()); }, {folder.path().string(), "directory"});
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error<IoError>([&] { MappedFile(folder / "pipe"); }, {"pipe", "no regular file"});
  write_file(folder / "secret", "x");
  ASSERT_EQ(::chmod((folder / "secret").c_str(), 0), 0);
  if (::geteuid() != 0) {  // root may read everything
    expect_error<IoError>([&] { MappedFile(folder / "secret"); }, {"secret", "Permission denied"});
  }
}

TEST(MappedFile, SurvivesReplacementByRename) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old content");
  const MappedFile file(folder / "file");
  write_file(folder / "new", "n");
  std::filesystem::rename(folder / "new", folder / "file");
  EXPECT_EQ(as_text(file.bytes()), "old content");
}

}  // namespace
}  // namespace rpt::io
