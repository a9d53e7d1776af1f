// SPDX-License-Identifier: MIT
// config.json: any bytes give a configuration that can be written and read again, or one rpt::Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "rpt/core/error.h"
#include "rpt/model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const rpt::model::HfConfig config = rpt::model::parse_hf_config(text, "config.json");
    const auto again = rpt::model::parse_hf_config(rpt::model::to_hf_config_json(config), "again");
    if (again.config.hidden != config.config.hidden || again.config.rope_theta != config.config.rope_theta)
      std::abort();
  } catch (const rpt::Error&) {
  }
  return 0;
}
