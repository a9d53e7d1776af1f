// SPDX-License-Identifier: MIT
// JSON lines of conversations: any bytes give messages that are written and read again as they are, or one rpt::Error.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "rpt/core/error.h"
#include "rpt/text/conversation.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view lines(reinterpret_cast<const char*>(data), size);
  try {
    if (!rpt::text::holds_conversations(lines)) return 0;
    for (const auto& conversation : rpt::text::split_conversations(lines, "fuzz")) {
      const std::string line = rpt::text::to_json_line(conversation.messages);
      const auto again = rpt::text::split_conversations(line, "again");
      if (again.size() != 1 || rpt::text::to_json_line(again[0].messages) != line) std::abort();
    }
  } catch (const rpt::Error&) {
  }
  return 0;
}
