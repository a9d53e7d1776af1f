// SPDX-License-Identifier: MIT
#include "rpt/text/corpus.h"

#include <gtest/gtest.h>

#include <numeric>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "tests/shared_data.h"
#include "tests/unit/text/vocabularies.h"

namespace rpt::text {
namespace {

using Texts = std::vector<std::string>;

/// A folder that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = std::filesystem::temp_directory_path() / fmt::format("rpt-corpus-{}-{}",
                                                                 ::testing::UnitTest::GetInstance()->random_seed(),
                                                                 static_cast<const void*>(this));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    core::write_file_atomic(path_ / name, text);
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(Corpus, ArticlesBeginAtTheirTitles) {
  const auto split = [](const std::string& text) { return split_documents(text, DocumentRule::wikitext, "t"); };
  EXPECT_EQ(split("\n = A = \n x \n = = Part = = \n = B b =\ny"),
            (Texts{"\n = A = \n x \n = = Part = = \n", " = B b =\ny"}));
  EXPECT_EQ(split("no title\n = A = \nx"), (Texts{"no title\n = A = \nx"}));
  EXPECT_EQ(split("only text"), (Texts{"only text"}));
  EXPECT_EQ(split(""), Texts{});
  // Each of these lines lacks something.
  for (const char* line : {"= A =", " = A = x", " = A=", " =  =", " = A = B =", "  = A =", " = =", " = A"}) {
    EXPECT_EQ(split(std::string(" = T =\n") + line + "\n").size(), 1u) << line;
  }
  EXPECT_EQ(split(" = T =\n = A =   \n").size(), 2u);
  EXPECT_EQ(split(" = T =\n =   =\n").size(), 2u);
}

TEST(Corpus, LinesWholeAndJsonl) {
  EXPECT_EQ(split_documents("a\n\nb\r\nc", DocumentRule::lines, "t"), (Texts{"a", "b\r", "c"}));
  EXPECT_EQ(split_documents("a\nb\n", DocumentRule::whole, "t"), (Texts{"a\nb\n"}));
  EXPECT_EQ(split_documents("", DocumentRule::whole, "t"), Texts{});
  EXPECT_EQ(split_documents("{\"text\": \"a\\n\\u00e9\"}\n \n{\"id\": 1, \"text\": \"\"}", DocumentRule::jsonl, "t"),
            (Texts{"a\n\u00e9", ""}));
}

TEST(Corpus, BadJsonLinesAreRefusedWithTheirOffset) {
  for (const char* line : {"{\"text\": 1}", "[]", "\"text\"", "{}", "{\"text\": \"a\"", "{\"text\": \"\xff\"}",
                           "{\"text\": \"a\", \"n\": 1e9999}"}) {
    try {
      (void)split_documents(std::string("{\"text\": \"x\"}\n") + line, DocumentRule::jsonl, "t");
      ADD_FAILURE() << "accepted " << line;
    } catch (const FormatError& error) {
      EXPECT_GE(error.offset(), 14u) << line;
    }
  }
}

TEST(Corpus, RulesHaveNames) {
  for (const DocumentRule rule :
       {DocumentRule::whole, DocumentRule::wikitext, DocumentRule::lines, DocumentRule::jsonl}) {
    EXPECT_EQ(parse_document_rule(name(rule)), rule);
  }
  EXPECT_THROW(parse_document_rule("pages"), ConfigError);
}

TEST(Corpus, NamesAndPathsAreResolved) {
  const TemporaryFolder empty, full;
  std::string lines;
  for (int i = 1; i <= 215; ++i) lines += fmt::format("address {}\n", i);
  full.write("sotu/sotu.txt", lines);
  full.write("wikitext-2/test.txt", " = A = \n x <unk> \n");
  const std::vector<std::filesystem::path> roots = {empty.path(), full.path()};

  const Corpus train = load_corpus(resolve_text("sotu:train", roots)),
               test = load_corpus(resolve_text("sotu:test", roots));
  EXPECT_EQ(train.documents.size(), 185u);
  EXPECT_EQ(train.documents.back(), "address 185");
  EXPECT_EQ(test.documents.size(), 21u);
  EXPECT_EQ(test.documents.front(), "address 191");
  EXPECT_FALSE(test.unk_is_unknown);
  EXPECT_TRUE(load_corpus(resolve_text("wikitext-2:test", roots)).unk_is_unknown);
  EXPECT_EQ(resolve_text("wikitext-2:test", roots).rule, DocumentRule::wikitext);
  const std::vector<std::filesystem::path> shipped = {test::source_dir() / "data"};
  EXPECT_EQ(load_corpus(resolve_text("facts:test", shipped)).documents.size(), 8U);

  EXPECT_EQ(resolve_text(full.write("x.jsonl", "").string(), roots).rule, DocumentRule::jsonl);
  EXPECT_EQ(resolve_text(full.write("x.txt", "").string(), roots).rule, DocumentRule::whole);
  EXPECT_THROW(resolve_text("wikitext-2:dev", roots), ConfigError);
  EXPECT_THROW(resolve_text("wikitext-2", roots), ConfigError);
  EXPECT_THROW(resolve_text("nothing.txt", roots), IoError);
  try {
    (void)resolve_text("wikitext-2-raw:test", roots);
    ADD_FAILURE();
  } catch (const IoError& error) {
    for (const auto& root : roots) EXPECT_NE(std::string(error.what()).find(root.string()), std::string::npos);
  }
}

TEST(Corpus, FoldersAreTheirTextsByPath) {
  const TemporaryFolder folder;
  for (const char* file : {"b.txt", "a/z.md", "a/y.txt", "a.txt", "a/x.json", "c/readme", "d.txt/e.txt", "f.jsonl"}) {
    folder.write(file, file);
  }
  std::filesystem::create_symlink(folder.path() / "a/x.json", folder.path() / "link.md");
  std::filesystem::create_symlink(folder.path() / "nothing", folder.path() / "dangling.txt");
  std::vector<std::string> found;
  for (const TextSource& source : resolve_texts(folder.path().string(), {})) {
    EXPECT_EQ(source.rule, DocumentRule::whole);
    found.push_back(source.path.lexically_relative(folder.path()).string());
  }
  EXPECT_EQ(found, (Texts{"a/y.txt", "a/z.md", "a.txt", "b.txt", "d.txt/e.txt", "link.md"}));
  const std::vector<TextSource> single = resolve_texts((folder.path() / "f.jsonl").string(), {});
  ASSERT_EQ(single.size(), 1u);
  EXPECT_EQ(single[0].rule, DocumentRule::jsonl);
  EXPECT_THROW(resolve_texts((folder.path() / "c").string(), {}), IoError);
  EXPECT_THROW(resolve_texts((folder.path() / "none").string(), {}), IoError);
}

TEST(Corpus, RangesOfLines) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.write("t", "1\n2\n3");
  EXPECT_EQ(load_text({.path = path}), "1\n2\n3");
  EXPECT_EQ(load_text({.path = path, .first_line = 2, .last_line = 2}), "2\n");
  EXPECT_EQ(load_text({.path = path, .first_line = 2}), "2\n3");
  EXPECT_EQ(load_text({.path = path, .first_line = 3, .last_line = 9}), "3");
  EXPECT_EQ(load_text({.path = path, .first_line = 4, .last_line = 9}), "");
  EXPECT_THROW(load_text({.path = folder.path() / "none"}), IoError);
}

TEST(Corpus, TokensThatOverlapUnk) {
  const std::string text = "<unk> a <unk><unk> <unk";
  const std::vector<ByteRange> ranges = unk_ranges(text);
  EXPECT_EQ(ranges, (std::vector<ByteRange>{{0, 5}, {8, 13}, {13, 18}}));
  //                                 <u nk> " " "a" "" " <" unk>< unk> " "  <unk
  const std::vector<std::uint64_t> ends = {2, 5, 6, 7, 7, 9, 14, 18, 19, 23};
  EXPECT_EQ(tokens_overlapping(ends, ranges), (std::vector<std::uint8_t>{1, 1, 0, 0, 0, 1, 1, 1, 0, 0}));
  EXPECT_EQ(tokens_overlapping(ends, {}), std::vector<std::uint8_t>(ends.size(), 0));
}

TEST(Corpus, WikitextHasItsArticles) {
  RPT_NEEDS_SHARED("data/wikitext-2/train.txt");
  const std::vector<std::filesystem::path> roots = {test::shared("data"), test::shared("data/text")};
  const std::vector<std::pair<std::string, std::size_t>> expected = {{"wikitext-2:test", 62},
                                                                     {"wikitext-2:validation", 60},
                                                                     {"wikitext-2:train", 629},
                                                                     {"wikitext-2-raw:test", 62},
                                                                     {"wikitext-2-raw:validation", 60},
                                                                     {"sotu:train", 185},
                                                                     {"sotu:test", 21}};
  for (const auto& [corpus_name, documents] : expected) {
    const TextSource source = resolve_text(corpus_name, roots);
    const Corpus corpus = load_corpus(source);
    EXPECT_EQ(corpus.documents.size(), documents) << corpus_name;
    if (source.rule != DocumentRule::wikitext) continue;
    std::string joined;
    for (const std::string& document : corpus.documents) joined += document;
    EXPECT_EQ(joined, load_text(source)) << corpus_name;
  }
}

TEST(Corpus, UnkTokensOfARealText) {
  RPT_NEEDS_SHARED("data/tokenizers/llama3/vocab.txt");
  const std::string text = " the <unk> of <unk>-<unk> . ";
  const EncodedText encoded = test::llama3_from_gguf().encode_with_offsets(text);
  const std::vector<std::uint8_t> overlapping = tokens_overlapping(encoded.ends, unk_ranges(text));
  std::string scored;
  std::uint64_t begin = 0;
  for (std::size_t i = 0; i < encoded.ends.size(); ++i) {
    if (overlapping[i] == 0) scored += text.substr(begin, encoded.ends[i] - begin);
    begin = encoded.ends[i];
  }
  EXPECT_EQ(scored, " the of . ");
}

}  // namespace
}  // namespace rpt::text
