// SPDX-License-Identifier: MIT
#include <utility>
#include <vector>

#include "rpt/io/safetensors.h"
#include "tests/unit/io/safetensors_test_support.h"

namespace rpt::io {
namespace {

using test::as_bytes;
using test::expect_error;
using test::hand_made_safetensors;
using test::TemporaryFolder;
using test::write_file;

/// A file with one-byte tensors of the given names.
std::string shard(const std::vector<std::string>& names) {
  std::string header;
  for (std::size_t i = 0; i < names.size(); ++i) {
    header += fmt::format(R"({}"{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})", i == 0 ? "{" : ",", names[i],
                          i, i + 1);
  }
  return hand_made_safetensors(header + "}", names.size());
}

class ShardedDirectory : public ::testing::Test {
 protected:
  ShardedDirectory() {
    write_file(folder_ / "model-00001.safetensors", shard({"z", "a"}));
    write_file(folder_ / "model-00002.safetensors", shard({"m"}));
    set_map(R"("m":"model-00002.safetensors","a":"model-00001.safetensors","z":"model-00001.safetensors")");
  }
  void set_map(const std::string& members) {
    write_file(folder_ / "model.safetensors.index.json",
               R"({"metadata":{"total_size":3,"more":[1,{"weight_map":null}]},"weight_map":{)" + members + "}}");
  }
  SafetensorsDirectory open() const { return SafetensorsDirectory::open(folder_.path()); }
  TemporaryFolder folder_;
};

TEST_F(ShardedDirectory, FindsTensorsAcrossShardsInAStableOrder) {
  auto opened = open();
  const SafetensorsDirectory directory(std::move(opened));
  EXPECT_EQ(directory.folder(), folder_.path());
  ASSERT_EQ(directory.files().size(), 2U);
  ASSERT_EQ(directory.tensors().size(), 3U);
  EXPECT_EQ(directory.tensors()[0]->name, "z");
  EXPECT_EQ(directory.tensors()[1]->name, "a");
  EXPECT_EQ(directory.tensors()[2]->name, "m");
  EXPECT_EQ(directory.find("a"), directory.tensors()[1]);
  EXPECT_EQ(directory.find("a")->data[0], std::byte{1});
  EXPECT_EQ(directory.file_of("m"), &directory.files()[1]);
  EXPECT_EQ(directory.find("none"), nullptr);
  EXPECT_EQ(directory.file_of("none"), nullptr);
}

TEST_F(ShardedDirectory, OneFileGoesBeforeAnIndex) {
  write_file(folder_ / "model.safetensors", shard({"whole"}));
  const auto directory = open();
  ASSERT_EQ(directory.tensors().size(), 1U);
  EXPECT_EQ(directory.tensors()[0]->name, "whole");
}

TEST_F(ShardedDirectory, RefusesMissingShards) {
  std::filesystem::remove(folder_ / "model-00002.safetensors");
  expect_error<IoError>([&] { open(); }, {"model-00002.safetensors", "No such file"});
}

TEST_F(ShardedDirectory, RefusesTensorsThatAreNotWhereTheIndexSays) {
  set_map(R"("m":"model-00001.safetensors","a":"model-00001.safetensors","z":"model-00001.safetensors")");
  expect_error<FormatError>([&] { open(); },
                            {"index.json", "(tensor m)", "expected it in model-00001.safetensors", "no such tensor"});
  set_map(R"("m":"model-00002.safetensors","z":"model-00001.safetensors")");
  expect_error<FormatError>([&] { open(); }, {"(tensor a)", "it in model-00001.safetensors only"});
  write_file(folder_ / "model-00002.safetensors", shard({"m", "a"}));
  set_map(R"("m":"model-00002.safetensors","a":"model-00001.safetensors","z":"model-00001.safetensors")");
  expect_error<FormatError>([&] { open(); }, {"(tensor a)", "found it in model-00002.safetensors too"});
}

TEST_F(ShardedDirectory, RefusesNamesThatLeaveTheFolder) {
  for (const char* name :
       {"../x.safetensors", "/etc/passwd", "sub/x.safetensors", "..", ".", "", "a\\\\b", "a\\u0000b"}) {
    set_map(fmt::format(R"("m":"{}")", name));
    expect_error<FormatError>([&] { open(); }, {"index.json: at offset", "a file name without folders for m"});
  }
}

TEST_F(ShardedDirectory, RefusesDamagedIndexes) {
  const auto expect_refused = [&](const std::string& text, std::string_view part) {
    write_file(folder_ / "model.safetensors.index.json", text);
    expect_error<FormatError>([&] { open(); }, {"index.json: at offset ", "expected", "found", part});
  };
  expect_refused("", "valid JSON");
  expect_refused("{\"weight_map\":{", "valid JSON");
  expect_refused("[]", "an object with a weight_map");
  expect_refused("5", "an object with a weight_map");
  expect_refused("{}", "a weight_map");
  expect_refused(R"({"metadata":{"weight_map":{}}})", "a weight_map");
  expect_refused(R"({"weight_map":[]})", "an array");
  expect_refused(R"({"weight_map":null})", "null");
  expect_refused(R"({"weight_map":{"a":1}})", "a number");
  expect_refused(R"({"weight_map":{"a":{}}})", "an object");
  expect_refused(R"({"weight_map":{"a":["x"]}})", "an array");
  expect_refused(R"({"weight_map":{},"weight_map":{}})", "one weight_map");
  expect_refused(R"({"weight_map":{"a":"x","a":"x"}})", "a twice");
}

TEST(SafetensorsDirectory, RefusesFoldersWithoutModel) {
  const TemporaryFolder folder;
  expect_error<IoError>([&] { SafetensorsDirectory::open(folder.path()); }, {"no model.safetensors"});
  expect_error<IoError>([&] { SafetensorsDirectory::open(folder / "none"); }, {"none: no model.safetensors"});
}

TEST(SafetensorsIndex, DeepNestingIsHarmless) {
  const std::string deep =
      "{\"x\":" + std::string(200'000, '[') + std::string(200'000, ']') + ",\"weight_map\":{\"a\":\"f\"}}";
  const auto map = parse_safetensors_index(as_bytes(deep), "deep");
  EXPECT_EQ(map, (std::map<std::string, std::string>{{"a", "f"}}));
}

}  // namespace
}  // namespace rpt::io
