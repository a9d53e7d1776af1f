// SPDX-License-Identifier: MIT
#pragma once

namespace rpt::core {

/// Receives the names of the scopes that a thread enters and leaves. For tests of the main path and for profiles.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void enter(const char* name) = 0;
  virtual void leave(const char* name) = 0;
};

/// Sets the sink of this thread; null turns tracing off. Returns the former one.
TraceSink* set_trace_sink(TraceSink* sink);

/// The sink of this thread, or null.
TraceSink* trace_sink();

/// Reports a scope to the sink of this thread. Costs one test of a pointer when no sink is set.
class ScopedTrace {
 public:
  explicit ScopedTrace(const char* name) : sink_(trace_sink()), name_(name) {
    if (sink_ != nullptr) sink_->enter(name_);
  }
  ~ScopedTrace() {
    if (sink_ != nullptr) sink_->leave(name_);
  }
  ScopedTrace(const ScopedTrace&) = delete;
  ScopedTrace& operator=(const ScopedTrace&) = delete;

 private:
  TraceSink* sink_;
  const char* name_;
};

}  // namespace rpt::core
