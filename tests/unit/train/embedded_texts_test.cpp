// SPDX-License-Identifier: MIT
// What the embedded model learns from and what it is measured on have no paragraph in common.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/train/documents.h"
#include "tests/shared_data.h"

namespace rpt::train {
namespace {

namespace fs = std::filesystem;

/// Shorter paragraphs are what anybody says: `"Where are we?" I asked.` The longest one of that kind that the texts
/// share has 47 characters.
constexpr std::size_t kShortestParagraph = 60;

const std::set<std::string> kHeldOutBooks = {"Anna_Sewell_Black_Beauty.txt",
                                             "Bram_Stoker_Dracula.txt",
                                             "Herman_Melville_Moby_Dick.txt",
                                             "Jack_London_White_Fang.txt",
                                             "Jane_Austen_Persuasion.txt",
                                             "Johanna_Spyri_Heidi.txt",
                                             "Robert_Louis_Stevenson_Treasure_Island.txt",
                                             "Rudyard_Kipling_Kim.txt"};

/// Lower case, and one space for all white space between two words.
std::string normalised(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isspace(byte) == 0) {
      out += static_cast<char>(std::tolower(byte));
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

/// The paragraphs of at least kShortestParagraph bytes, normalised: lines between blank ones joined where
/// `joins_lines`, else every line by itself.
std::set<std::string> paragraphs(std::string_view text, bool joins_lines) {
  std::set<std::string> found;
  std::string paragraph;
  const auto close = [&] {
    if (std::string p = normalised(paragraph); p.size() >= kShortestParagraph) found.insert(std::move(p));
    paragraph.clear();
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const bool is_blank = std::all_of(line.begin(), line.end(), [](unsigned char c) { return std::isspace(c) != 0; });
    if (is_blank || !joins_lines) close();
    paragraph.append(line).push_back('\n');
  }
  close();
  return found;
}

std::vector<std::string> shared_by(const std::set<std::string>& a, const std::set<std::string>& b) {
  std::vector<std::string> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

std::string load(const Source& source) {
  const std::vector<Document> documents = load_documents({&source, 1}, {});
  return documents.at(0).text;
}

TEST(EmbeddedTexts, ParagraphsAreComparedWithoutCaseAndLineBreaks) {
  const std::string long_one = "It was a dark and stormy night; the rain fell in torrents, except at times.";
  const std::string broken = "it WAS a dark and  stormy night;\nthe rain fell in torrents,\texcept at times.";
  EXPECT_EQ(paragraphs("short\n\n" + long_one + "\n \nshort", true), paragraphs(broken, true));
  EXPECT_EQ(paragraphs(broken, true).size(), 1U);
  EXPECT_TRUE(paragraphs(broken, false).empty());
  EXPECT_EQ(paragraphs(long_one + "\n" + long_one + "!", false).size(), 2U);
}

TEST(EmbeddedTexts, NoStoryIsLearntAndMeasured) {
  RPT_NEEDS_SHARED("data/text/tinystories");
  const std::string all = test::shared("data/text/tinystories/tinystories_4MB.txt").string();
  const std::string measured = load({.text = test::shared("data/text/tinystories/tinystories_944K.txt").string()});
  const auto held_out = paragraphs(measured, false);
  const auto learnt = paragraphs(load({.text = all, .first_character = 944'000}), false);
  const auto left_out = paragraphs(load({.text = all, .end_character = 944'000}), false);
  EXPECT_GT(held_out.size(), 4000U);
  EXPECT_GT(learnt.size(), 12'000U);
  EXPECT_TRUE(shared_by(held_out, learnt).empty()) << shared_by(held_out, learnt).front();
  // What is left out is the same text in lower case: there the comparison finds nearly everything.
  EXPECT_GT(shared_by(held_out, left_out).size(), held_out.size() * 99 / 100);
}

TEST(EmbeddedTexts, NoParagraphOfABookIsLearntAndMeasured) {
  RPT_NEEDS_SHARED("data/text/classic-books");
  std::set<std::string> held_out;
  std::vector<fs::path> learnt;
  std::size_t held_out_books = 0;
  for (const auto& entry : fs::directory_iterator(test::shared("data/text/classic-books"))) {
    if (entry.path().extension() != ".txt") continue;
    if (kHeldOutBooks.contains(entry.path().filename().string())) {
      held_out.merge(paragraphs(load({.text = entry.path().string()}), true));
      ++held_out_books;
    } else {
      learnt.push_back(entry.path());
    }
  }
  EXPECT_EQ(held_out_books, kHeldOutBooks.size());
  EXPECT_GT(held_out.size(), 10'000U);
  EXPECT_EQ(learnt.size(), 186U);
  for (const fs::path& book : learnt) {
    const auto both = shared_by(held_out, paragraphs(load({.text = book.string()}), true));
    EXPECT_TRUE(both.empty()) << book << ": " << both.front();
  }
}

}  // namespace
}  // namespace rpt::train
