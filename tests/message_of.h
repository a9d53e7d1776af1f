// SPDX-License-Identifier: MIT
#pragma once
#include <string>

#include "rpt/core/error.h"

namespace rpt::test {

/// What the error of a call says; "no error" where there is none. Anything but an rpt::Error goes through.
template <typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace rpt::test
