// SPDX-License-Identifier: MIT
// Any bytes as a chat template: rendered within its limits, or refused with one rpt::Error.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "rpt/core/error.h"
#include "rpt/text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const std::array<rpt::text::Message, 3> messages{
      {{"system", "Be \xe3\x80\x80 brief"}, {"user", " <think>a</think>\xff\n"}, {"assistant", "{{ 1 }}"}}};
  try {
    const auto chat_template = rpt::text::ChatTemplate::parse(source, "fuzz");
    for (const std::size_t count : {3U, 1U, 0U}) {
      rpt::text::RenderOptions options;
      options.add_generation_prompt = count == 3;
      options.bos_token = "<s>";
      options.now = 1'700'000'000;
      options.max_steps = 100'000;
      options.max_bytes = 1 << 20;
      try {
        const std::string text = chat_template.render(std::span(messages).first(count), options);
        RPT_CHECK(text.size() <= options.max_bytes, "{} bytes", text.size());
        RPT_CHECK(text == chat_template.render(std::span(messages).first(count), options), "rendered differently");
      } catch (const rpt::Error&) {
      }
    }
  } catch (const rpt::Error&) {
  }
  return 0;
}
