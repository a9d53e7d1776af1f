// SPDX-License-Identifier: MIT
#include "rpt/core/atomic_file.h"
#include "rpt/text/tokenizer.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

class TokenizerTrain : public CommandTest {
 protected:
  /// rpt tokenizer train …
  Outcome train(std::vector<std::string> words) {
    words.insert(words.begin(), {"tokenizer", "train"});
    return rpt(words);
  }

  std::string write(const std::string& name, const std::string& text) {
    const std::filesystem::path file = folder_ / name;
    std::filesystem::create_directories(file.parent_path());
    core::write_file_atomic(file, text);
    return file.string();
  }
};

TEST_F(TokenizerTrain, HelpShowsAnExample) {
  const Outcome help = train({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* word :
       {"Example:\n  rpt tokenizer train", "--vocabulary", "--special", "--min-frequency", "--json"}) {
    EXPECT_NE(help.out.find(word), std::string::npos) << word;
  }
  EXPECT_NE(rpt({"--help"}).out.find("tokenizer "), std::string::npos);
  EXPECT_NE(rpt({"tokenizer", "--help"}).out.find("train"), std::string::npos);
}

TEST_F(TokenizerTrain, WritesAFolderThatOpens) {
  const std::string text = "The old house stood by the sea. The old men stood by the house.\n";
  const Outcome o = train({write("a.txt", text), path("out"), "--vocabulary", "270", "--json", "-"});
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = Json::parse(o.out);
  EXPECT_EQ(j["command"], "tokenizer train");
  EXPECT_EQ(j["output"], path("out"));
  EXPECT_EQ(j["texts"], 1);
  EXPECT_EQ(j["bytes"], text.size());
  EXPECT_EQ(j["vocabulary"], 270);
  EXPECT_EQ(j["merges"], 12);
  EXPECT_EQ(j["pre_tokens"], 16);  // 14 words, 2 points
  const std::string json = core::read_file(folder_ / "out/tokenizer.json");
  const auto tokenizer = text::Tokenizer::from_tokenizer_json(json, "tokenizer.json");
  EXPECT_EQ(tokenizer.vocab_size(), 270);
  const auto ids = tokenizer.encode(text);
  EXPECT_EQ(j["tokens"], ids.size());
  EXPECT_EQ(j["bytes_per_token"], static_cast<double>(text.size()) / static_cast<double>(ids.size()));
  EXPECT_EQ(Json::parse(core::read_file(folder_ / "out/tokenizer_config.json"))["bos_token"], "<|begin_of_text|>");
  // tokenize takes it, as a folder and as a file.
  for (const char* name : {"out", "out/tokenizer.json"}) {
    const Outcome tokenized = rpt({"tokenize", path(name), "--json", "-"}, text);
    ASSERT_EQ(tokenized.code, 0) << tokenized.err;
    EXPECT_EQ(Json::parse(tokenized.out)["token_ids"], Json(ids));
  }
}

TEST_F(TokenizerTrain, FoldersDocumentsAndThreadsGiveTheSame) {
  write("books/b/two.md", "two two two three");
  write("books/one.txt", "one one one three");
  write("books/not.csv", "zzzz zzzz zzzz");
  const std::string lines = write("c.jsonl", "{\"text\": \"four four\"}\n{\"text\": \"five five\"}\n");
  ASSERT_EQ(train({path("books"), lines, path("a.json"), "--threads", "1"}).code, 0);
  ASSERT_EQ(train({path("books/b/two.md"), lines, path("books/one.txt"), path("b.json"), "--threads", "3"}).code, 0);
  const std::string json = core::read_file(folder_ / "a.json");
  EXPECT_EQ(core::read_file(folder_ / "b.json"), json);
  const auto tokenizer = text::Tokenizer::from_tokenizer_json(json, "a.json");
  EXPECT_TRUE(tokenizer.find("five").has_value());
  EXPECT_TRUE(tokenizer.find(" t").has_value());
  EXPECT_FALSE(tokenizer.find("zz").has_value());
  EXPECT_FALSE(tokenizer.find("text").has_value());
}

TEST_F(TokenizerTrain, OptionsAreHonoured) {
  const std::string text = write("a.txt", "aaab aaab aab");
  const Outcome o = train({text, path("t.json"), "--special", "<s>", "--special", "</s>", "--special", "<pad>",
                           "--min-frequency", "3", "--vocabulary", "300"});
  ASSERT_EQ(o.code, 0) << o.err;
  const auto tokenizer = text::Tokenizer::from_tokenizer_json(core::read_file(folder_ / "t.json"), "t.json");
  EXPECT_EQ(tokenizer.find("<pad>"), 2);
  EXPECT_EQ(tokenizer.bos_id(), 0);
  // "aa" occurs 5 times; of what is left then nothing occurs 3 times.
  EXPECT_EQ(tokenizer.merges(), (std::vector<std::string>{"a a"}));
  EXPECT_NE(o.err.find("260 tokens instead of 300"), std::string::npos) << o.err;
  EXPECT_NE(o.out.find("260 tokens from 1 text ("), std::string::npos) << o.out;
}

TEST_F(TokenizerTrain, EmbeddedTextsHaveNames) {
  const Outcome o = train({"sotu:test", path("t.json"), "--vocabulary", "512", "--json", "-"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_GT(Json::parse(o.out)["bytes_per_token"], 1.5);
}

TEST_F(TokenizerTrain, ReplacesOnlyWhenForced) {
  const std::string text = write("a.txt", "aaab aaab aab");
  const std::string mine = write("mine.json", "{\"mine\": true}");
  const Outcome kept = train({text, mine});
  EXPECT_EQ(kept.code, 4);
  EXPECT_NE(kept.err.find(mine + ": exists; --force replaces it"), std::string::npos) << kept.err;
  EXPECT_EQ(core::read_file(mine), "{\"mine\": true}");
  EXPECT_EQ(train({text, mine, "--force"}).code, 0);
  EXPECT_NE(core::read_file(mine).find("\"merges\""), std::string::npos);
  write("full/notes.txt", "mine");
  EXPECT_EQ(train({text, path("full")}).code, 4);
  // Forced too, a folder that holds more than a vocabulary stays as it is.
  write("full/tokenizer.json", "mine");
  const Outcome full = train({text, path("full"), "--force"});
  EXPECT_EQ(full.code, 4);
  EXPECT_NE(full.err.find(path("full") + ": holds notes.txt; --force replaces a folder of tokenizer.json and "
                                         "tokenizer_config.json alone: write to another one"),
            std::string::npos)
      << full.err;
  EXPECT_EQ(core::read_file(path("full/notes.txt")), "mine");
  EXPECT_EQ(core::read_file(path("full/tokenizer.json")), "mine");
  std::filesystem::rename(path("full/notes.txt"), path("notes.txt"));
  EXPECT_EQ(train({text, path("full")}).code, 4);
  EXPECT_EQ(train({text, path("full"), "--force"}).code, 0);
  EXPECT_NE(core::read_file(path("full/tokenizer.json")).find("\"merges\""), std::string::npos);
  std::filesystem::remove(path("full/tokenizer_config.json"));
  std::filesystem::create_directory(path("full/tokenizer_config.json"));
  EXPECT_EQ(train({text, path("full"), "--force"}).code, 4);
  // Never what is read.
  const std::string lines = write("texts/b.json", "aaab aaab");
  EXPECT_EQ(train({lines, lines, "--force"}).code, 2);
  EXPECT_EQ(train({lines, path("texts"), "--force"}).code, 2);
  EXPECT_EQ(core::read_file(lines), "aaab aaab");
}

TEST_F(TokenizerTrain, FailuresAreNamedAndLeaveNothing) {
  const std::string text = write("a.txt", "some text");
  EXPECT_EQ(rpt({"tokenizer"}).code, 2);
  EXPECT_EQ(rpt({"tokenizer", "teach"}).code, 2);
  EXPECT_EQ(train({}).code, 2);
  EXPECT_EQ(train({text}).code, 2);
  EXPECT_EQ(train({text, ""}).code, 2);
  EXPECT_EQ(train({text, path("o"), "--vocabulary", "257"}).code, 2);
  EXPECT_EQ(train({text, path("o"), "--vocabulary", "9999999999"}).code, 2);
  EXPECT_EQ(train({text, path("o"), "--min-frequency", "0"}).code, 2);
  EXPECT_EQ(train({text, path("o"), "--special", "a"}).code, 2);
  EXPECT_EQ(train({path("none.txt"), path("o")}).code, 3);
  EXPECT_EQ(train({path("no-such-folder/"), path("o")}).code, 3);
  EXPECT_EQ(train({write("bad.jsonl", "{\"text\": 1}\n"), path("o")}).code, 3);
  EXPECT_EQ(train({text, path("no/such/folder.json")}).code, 4);
  EXPECT_FALSE(std::filesystem::exists(path("o")));
  // A text in OUT's place is left alone, and so is a folder with something in it.
  const Outcome swapped = train({text, write("b.txt", "more text")});
  EXPECT_EQ(swapped.code, 2);
  EXPECT_NE(swapped.err.find("OUT is"), std::string::npos) << swapped.err;
  write("full/notes.txt", "mine");
  EXPECT_NE(train({text, path("full")}).code, 0);
  EXPECT_FALSE(std::filesystem::exists(path("full/tokenizer.json")));
  std::size_t left = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_.path())) ++left;
  EXPECT_EQ(left, 4u);  // a.txt, b.txt, bad.jsonl, full
}

}  // namespace
}  // namespace rpt::cli
