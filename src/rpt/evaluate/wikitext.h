// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Text rules that protocols owe to Python programs.
namespace rpt::evaluate {

/// White space as Python's str.strip and re's \s see it.
bool is_python_space(char32_t c);

/// The text without white space at both ends, as Python's str.strip.
std::string_view strip(std::string_view text);

/// Number of characters; of bytes that are no UTF-8, each maximal subpart counts as one.
std::int64_t count_characters(std::string_view text);

/// The lines of a text that protocol `legacy` reads: stripped, at least 20 characters long. They point into it.
std::vector<std::string_view> legacy_lines(std::string_view text);

/// len(re.split("\s+", text)): one more than there are runs of white space.
std::uint64_t count_split(std::string_view text);

/// Offsets of the first byte of every longest run of characters that are no white space.
std::vector<std::uint64_t> word_starts(std::string_view text);

/// The pages of the data set that lm-evaluation-harness's task `wikitext` reads, from the documents of WikiText: blank
/// lines before the first heading are gone, and so is the line feed before the next page's heading.
std::vector<std::string> lm_eval_pages(const std::vector<std::string>& documents);

/// A page as that task feeds it to the model.
/// Source: lm-evaluation-harness, tasks/wikitext/preprocess_wikitext.py, rule by rule in its order.
std::string lm_eval_detokenise(std::string_view page);

}  // namespace rpt::evaluate
