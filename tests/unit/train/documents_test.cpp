// SPDX-License-Identifier: MIT
#include "rpt/train/documents.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "rpt/core/error.h"
#include "tests/unit/train/data_test_support.h"

namespace rpt::train {
namespace {

using test::TemporaryFolder;

std::vector<Document> load(const std::vector<Source>& sources) {
  const std::array roots = {test::source_dir() / "data"};
  return load_documents(sources, roots);
}

std::vector<std::string> texts_of(const std::vector<Document>& documents) {
  std::vector<std::string> texts;
  for (const Document& document : documents) texts.push_back(document.text);
  return texts;
}

TEST(Documents, FolderIsReadByPath) {
  const TemporaryFolder folder;
  folder.write("b.txt", "two");
  folder.write("a/z.md", "one");
  folder.write("c.md", "three");
  folder.write("c.tsv", "no text");
  folder.write("empty.txt", "");
  const std::vector<Document> documents = load({{.text = folder.path().string(), .repeat = 3}});
  EXPECT_EQ(texts_of(documents), (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(documents[0].name, (folder.path() / "a/z.md").string());
  for (const Document& document : documents) {
    EXPECT_EQ(document.repeat, 3);
    EXPECT_TRUE(document.is_whole);
    EXPECT_FALSE(document.unk_is_unknown);
  }
}

TEST(Documents, PartsAreCountedInCharacters) {
  const TemporaryFolder folder;
  const std::string path = folder.write("t.txt", "aé€😀z");  // 1, 2, 3, 4 and 1 bytes
  const auto part = [&](std::uint64_t begin, std::optional<std::uint64_t> end) {
    return load({{.text = path, .first_character = begin, .end_character = end}}).at(0);
  };
  EXPECT_EQ(part(1, std::nullopt).text, "é€😀z");
  EXPECT_EQ(part(3, 4).text, "😀");
  EXPECT_EQ(part(0, 5).text, "aé€😀z");
  EXPECT_TRUE(part(2, std::nullopt).is_whole);
  EXPECT_TRUE(part(2, 5).is_whole);
  EXPECT_FALSE(part(2, 4).is_whole);
  EXPECT_THROW(part(5, std::nullopt), ConfigError);
  EXPECT_THROW(part(0, 6), ConfigError);
  EXPECT_THROW(part(3, 3), ConfigError);
  EXPECT_THROW(part(4, 3), ConfigError);
}

TEST(Documents, OnlyTheLastDocumentOfAPartIsCut) {
  const TemporaryFolder folder;
  const std::string path = folder.write("t.txt", "first\nsecond\nthird\n");
  const std::vector<Document> documents =
      load({{.text = path, .first_character = 2, .end_character = 9, .rule = text::DocumentRule::lines}});
  EXPECT_EQ(texts_of(documents), (std::vector<std::string>{"rst", "sec"}));
  EXPECT_TRUE(documents[0].is_whole);
  EXPECT_FALSE(documents[1].is_whole);
  EXPECT_EQ(documents[1].name, path + "#2");
}

TEST(Documents, JsonLinesAndEmbeddedCorpora) {
  const TemporaryFolder folder;
  const std::string path = folder.write("t.jsonl", "{\"text\": \"one\"}\n{\"text\": \"\"}\n{\"text\": \"two\\n\"}\n");
  EXPECT_EQ(texts_of(load({{.text = path}})), (std::vector<std::string>{"one", "two\n"}));
  EXPECT_THROW(load({{.text = path, .first_character = 1}}), ConfigError);
  EXPECT_THROW(load({{.text = folder.write("bad.jsonl", "{\"t\": 1}\n")}}), FormatError);

  const std::vector<Document> wiki = load({{.text = "wikitext-2:validation"}});
  EXPECT_EQ(wiki.size(), 60u);
  EXPECT_TRUE(wiki.front().unk_is_unknown);
  EXPECT_EQ(wiki.front().name, "wikitext-2:validation#1");
  EXPECT_FALSE(load({{.text = "sotu:test"}}).front().unk_is_unknown);
}

TEST(Documents, NothingIsReadTwice) {
  const TemporaryFolder folder;
  const std::string path = folder.write("t.txt", "0123456789");
  const std::string whole = folder.path().string();
  EXPECT_THROW(load({{.text = path}, {.text = path}}), ConfigError);
  EXPECT_THROW(load({{.text = whole}, {.text = path, .first_character = 5}}), ConfigError);
  EXPECT_THROW(load({{.text = path, .end_character = 6}, {.text = path, .first_character = 5}}), ConfigError);
  EXPECT_THROW(load({{.text = path}, {.text = whole + "/../" + folder.path().filename().string() + "/t.txt"}}),
               ConfigError);
  EXPECT_EQ(texts_of(load({{.text = path, .end_character = 5}, {.text = path, .first_character = 7}})),
            (std::vector<std::string>{"01234", "789"}));
  EXPECT_EQ(load({{.text = "sotu:train"}, {.text = "sotu:test"}}).size(), 206u);  // 185 and 21 lines of one file
}

TEST(Documents, RefusesWhatHoldsNoText) {
  const TemporaryFolder folder;
  const std::string path = folder.write("sub/t.tsv", "x");
  EXPECT_THROW(load({{.text = folder.path().string()}}), ConfigError);
  EXPECT_THROW(load({{.text = folder.write("e.txt", "")}}), ConfigError);
  EXPECT_THROW(load({}), ConfigError);
  EXPECT_THROW(load({{.text = (folder.path() / "none").string()}}), IoError);
  EXPECT_THROW(load({{.text = path, .repeat = 0}}), ConfigError);
  EXPECT_THROW(load({{.text = path, .repeat = kMaxRepeat + 1}}), ConfigError);
  EXPECT_THROW(load({{.text = folder.path().string(), .first_character = 1}}), ConfigError);
}

TEST(Documents, BecomeACorpus) {
  std::vector<Document> documents = {test::document("a", 2), test::document("b")};
  EXPECT_EQ(corpus_of(documents).documents, (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(corpus_of(documents).unk_is_unknown);
  documents[1].unk_is_unknown = true;
  EXPECT_TRUE(corpus_of(documents).unk_is_unknown);
}

}  // namespace
}  // namespace rpt::train
