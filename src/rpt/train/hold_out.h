// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <vector>

#include "rpt/train/documents.h"

namespace rpt::train {

struct HoldOutOptions {
  double share = 0.05;  ///< 0 … 0.5; 0 holds nothing out
  std::uint64_t seed = 0;
};

/// Documents taken apart: no text is in both.
struct HoldOutSplit {
  std::vector<Document> train;
  std::vector<Document> held_out;  ///< each text once, repeat 1
};

/// From this many different texts on, whole documents are held out.
inline constexpr std::size_t kMinHoldOutTexts = 20;

/// Takes a share of the documents out of training. Of kMinHoldOutTexts texts or more, a random share of them, at least
/// one; documents of equal text stay together. Of fewer, the last share of each document: it is cut at the paragraph
/// break, else the line break, else the space nearest to there that leaves half to twice the share behind it; a
/// document without such a place is trained on whole. Conversations are held out whole, however many they are.
/// Throws: ConfigError for a share outside 0 … 0.5, and where nothing could be held out.
HoldOutSplit hold_out(std::vector<Document> documents, const HoldOutOptions& options);

}  // namespace rpt::train
