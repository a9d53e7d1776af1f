// SPDX-License-Identifier: MIT
#include "rpt/core/sha256.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace rpt::core {
namespace {

TEST(Sha256, GivesThePublishedDigests) {  // FIPS 180-2 appendix B and NIST's example for 896 bits
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(
      sha256_hex("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
                 "mnopqrstnopqrstu"),
      "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnHowTheStreamIsCut) {
  for (std::size_t size = 0; size <= 200; ++size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text.push_back(static_cast<char>(i * 37 + size));
    const std::string whole = sha256_hex(text);
    for (const std::size_t piece : {1U, 3U, 55U, 56U, 63U, 64U, 65U, 127U}) {
      Sha256 hash;
      for (std::size_t at = 0; at < size; at += piece) hash.update(text.data() + at, std::min(piece, size - at));
      ASSERT_EQ(hash.hex_digest(), whole) << size << " bytes in pieces of " << piece;
    }
  }
}

}  // namespace
}  // namespace rpt::core
