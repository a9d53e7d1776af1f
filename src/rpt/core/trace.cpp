// SPDX-License-Identifier: MIT
#include "rpt/core/trace.h"

#include <utility>

namespace rpt::core {
namespace {
thread_local TraceSink* current = nullptr;
}

TraceSink* set_trace_sink(TraceSink* sink) {
  return std::exchange(current, sink);
}

TraceSink* trace_sink() {
  return current;
}

}  // namespace rpt::core
