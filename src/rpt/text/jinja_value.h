// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace rpt::text::jinja {

struct List;
struct Dict;
struct Namespace;
struct Loop;
struct Function;
struct Statement;
struct Scope;

/// Texts are shared; whatever can hold other values is owned by the Runtime, so that neither cycles nor deep nesting
/// matter when a rendering ends.
using Text = std::shared_ptr<const std::string>;

struct None {};
/// What has no value, and a name for it in messages.
struct Undefined {
  Text name;
};

/// A value of the template language, with the behaviour of the Python value that it stands for.
struct Value {
  std::variant<Undefined, None, bool, std::int64_t, double, Text, List*, Dict*, Namespace*, Loop*, Function*> is;

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&is);
  }
  /// The text of a string, else null.
  const std::string* text() const {
    const Text* t = as<Text>();
    return t == nullptr ? nullptr : t->get();
  }
  bool is_undefined() const { return as<Undefined>() != nullptr; }
  bool is_none() const { return as<None>() != nullptr; }
};

/// Several values. Only lists and tuples can be printed; generators can be read once and have no length.
struct List {
  enum class Form : std::uint8_t { list, tuple, view, range, generator };
  Form form = Form::list;
  std::vector<Value> items;
};

/// Entries in the order in which they came.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
};

/// What `namespace()` makes: the only thing that a template can change.
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

/// The `loop` of a running for.
struct Loop {
  std::vector<Value> items;
  std::size_t index = 0;
};

/// Something that can be called.
struct Function {
  enum class Kind : std::uint8_t { global, method, macro };
  Kind kind = Kind::global;
  std::string name;
  Value self;                        ///< of a method
  const Statement* macro = nullptr;  ///< of a macro
  Scope* scope = nullptr;            ///< in which the macro was defined
};

/// Variables of a block.
struct Scope {
  Scope* outer = nullptr;
  std::vector<std::pair<std::string, Value>> variables;

  Value* find(std::string_view name);
  void set(std::string_view name, Value value);
};

/// What a rendering may cost.
struct Limits {
  std::uint64_t steps = 10'000'000;                ///< evaluated nodes, visited values and, in units of 64, bytes
  std::uint64_t bytes = std::uint64_t{256} << 20;  ///< of all texts that are made, the output included
  int depth = 400;                                 ///< nested evaluations, macro calls included
};

/// Owns the values of one rendering and counts what it costs.
class Runtime {
 public:
  Runtime(std::string where, const Limits& limits) : where_(std::move(where)), limits_(limits) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Throws ConfigError naming the template and the line that is being evaluated.
  [[noreturn]] void fail(const std::string& what) const;
  /// The line that fail() names.
  int line = 1;

  void charge(std::uint64_t steps);
  void charge_bytes(std::uint64_t bytes);
  int depth_limit() const { return limits_.depth; }

  Value text(std::string value);
  List& new_list(List::Form form);
  Dict& new_dict();
  Namespace& new_namespace() { return keep(namespaces_); }
  Loop& new_loop() { return keep(loops_); }
  Function& new_function() { return keep(functions_); }
  Scope& new_scope(Scope* outer);

 private:
  template <typename T>
  T& keep(std::deque<T>& values) {
    charge(1);
    return values.emplace_back();
  }

  std::string where_;
  Limits limits_;
  std::uint64_t steps_ = 0;
  std::uint64_t bytes_ = 0;
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Namespace> namespaces_;
  std::deque<Loop> loops_;
  std::deque<Function> functions_;
  std::deque<Scope> scopes_;
};

/// Python's name of a value's type, for messages.
std::string_view type_name(const Value& value);
/// Python's bool().
bool truth(const Value& value);
/// Python's ==.
bool equal(Runtime& runtime, const Value& a, const Value& b);
/// Python's <, negative, zero or positive. Fails for types that have no order.
int order(Runtime& runtime, const Value& a, const Value& b);
/// Python's `a in b`.
bool contains(Runtime& runtime, const Value& a, const Value& b);
/// Python's str().
std::string to_text(Runtime& runtime, const Value& value);
/// Python's repr() of a float.
std::string float_text(double value);
/// What a for runs over. A generator is empty afterwards.
std::vector<Value> items_of(Runtime& runtime, const Value& value);
/// Python's len().
std::int64_t length_of(Runtime& runtime, const Value& value);
/// `value[key]`; undefined where there is none.
Value get_item(Runtime& runtime, const Value& value, const Value& key);
/// `value.name`; undefined where there is none.
Value get_attribute(Runtime& runtime, const Value& value, std::string_view name);
/// `value[begin:end:step]` of a text, list or tuple.
Value get_slice(Runtime& runtime, const Value& value, const Value& begin, const Value& end, const Value& step);
/// + - * / // % of two values: '+', '-', '*', '/', 'f' for //, '%'.
Value arithmetic(Runtime& runtime, char operation, const Value& a, const Value& b);
/// A whole number, or nothing; bools count as 0 and 1.
std::optional<std::int64_t> whole_number(const Value& value);
/// A number as double, or nothing.
std::optional<double> number(const Value& value);
/// The characters of a text, each as it is written.
std::vector<std::string_view> characters(Runtime& runtime, std::string_view text);

}  // namespace rpt::text::jinja
