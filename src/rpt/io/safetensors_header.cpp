// SPDX-License-Identifier: MIT
#include "rpt/io/safetensors_header.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "rpt/io/byte_reader.h"
#include "rpt/io/safetensors.h"

namespace rpt::io {
namespace {

using tensor::DType;
using Json = nlohmann::json;

constexpr std::array<std::pair<std::string_view, DType>, 8> kDtypes = {{
    {"F64", DType::f64},
    {"F32", DType::f32},
    {"F16", DType::f16},
    {"BF16", DType::bf16},
    {"I64", DType::i64},
    {"I32", DType::i32},
    {"I8", DType::i8},
    {"U8", DType::u8},
}};

/// Takes the events of the JSON parser. The text is never held as a tree: a tree would take many times the text's size,
/// would lose which keys came twice, and could be made deep.
class StrictHandler : public nlohmann::json_sax<Json> {
 public:
  StrictHandler(std::string file, std::uint64_t text_offset) : file_(std::move(file)), text_offset_(text_offset) {}

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override { unexpected(fmt::format("{}", value)); }
  bool number_unsigned(number_unsigned_t value) override { unexpected(fmt::format("{}", value)); }
  bool number_float(number_float_t, const string_t& text) override { unexpected(printable(text)); }
  bool string(string_t& text) override { unexpected(fmt::format("the text \"{}\"", printable(text))); }
  bool binary(binary_t&) override { unexpected("binary data"); }
  bool start_object(std::size_t) override { unexpected("an object"); }
  bool start_array(std::size_t) override { unexpected("an array"); }
  bool parse_error(std::size_t position, const std::string& token, const Json::exception&) override {
    throw FormatError(file_, text_offset_ + position, "JSON text", "valid JSON",
                      fmt::format("\"{}\"", printable(token)));
  }

 protected:
  [[noreturn]] void fail(const std::string& expected, const std::string& found) const {
    throw FormatError(file_, text_offset_, place(), expected, found);
  }
  [[noreturn]] void unexpected(const std::string& found) const { fail(wanted(), found); }
  /// What an error names as the place.
  virtual std::string place() const = 0;
  /// What may stand at the place that the parser has reached.
  virtual std::string wanted() const = 0;

 private:
  std::string file_;
  std::uint64_t text_offset_;
};

class HeaderHandler final : public StrictHandler {
 public:
  HeaderHandler(const std::string& file, SafetensorsHeader& header)
      : StrictHandler(file, kSafetensorsHeaderStart), header_(header) {}

  bool start_object(std::size_t) override {
    if (level_ == Level::before) {
      level_ = Level::top;
    } else if (level_ == Level::top) {
      level_ = key_ == kMetadataKey ? Level::metadata : Level::tensor;
      if (level_ == Level::tensor) begin_record();
    } else {
      unexpected("an object");
    }
    return true;
  }
  bool key(string_t& text) override {
    key_.swap(text);
    if (level_ == Level::top && key_ == kMetadataKey && std::exchange(has_metadata_, true)) {
      fail("one __metadata__", "a second one");
    }
    if (level_ == Level::metadata && header_.metadata.contains(key_))
      fail("every key once", printable(key_) + " twice");
    if (level_ == Level::tensor) begin_field();
    return true;
  }
  bool string(string_t& text) override {
    if (level_ == Level::metadata) {
      header_.metadata.emplace(key_, std::move(text));
    } else if (level_ == Level::tensor && field_ == kDtype) {
      header_.records.back().dtype = std::move(text);
    } else {
      return StrictHandler::string(text);
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (level_ != Level::tensor || field_ == kDtype) unexpected("an array");
    level_ = Level::numbers;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (level_ != Level::numbers) unexpected(fmt::format("{}", value));
    auto& record = header_.records.back();
    if (field_ == kShape) {
      if (!std::in_range<std::int64_t>(value)) unexpected(fmt::format("{}", value));
      if (record.shape.size() == SafetensorsFile::kMaxRank) unexpected("more dimensions");
      record.shape.push_back(static_cast<std::int64_t>(value));
    } else {
      if (offset_count_ == 2) unexpected("a third offset");
      (offset_count_++ == 0 ? record.begin : record.end) = value;
    }
    return true;
  }
  bool end_array() override {
    if (field_ == kOffsets && offset_count_ != 2) unexpected(fmt::format("{} offsets", offset_count_));
    level_ = Level::tensor;
    return true;
  }
  bool end_object() override {
    if (level_ == Level::tensor && seen_ != (kDtype | kShape | kOffsets)) {
      fail("dtype, shape and data_offsets", "not all of them");
    }
    level_ = level_ == Level::top ? Level::before : Level::top;
    return true;
  }

 private:
  enum class Level { before, top, metadata, tensor, numbers };
  enum Field : unsigned { kDtype = 1, kShape = 2, kOffsets = 4 };
  static constexpr std::string_view kMetadataKey = "__metadata__";

  void begin_record() {
    header_.records.emplace_back().name = key_;
    seen_ = 0;
    offset_count_ = 0;
  }
  void begin_field() {
    if (key_ == "dtype") {
      field_ = kDtype;
    } else if (key_ == "shape") {
      field_ = kShape;
    } else if (key_ == "data_offsets") {
      field_ = kOffsets;
    } else {
      fail("dtype, shape and data_offsets", printable(key_));
    }
    if ((seen_ & field_) != 0) fail("every key once", key_ + " twice");
    seen_ |= field_;
  }

  std::string place() const override {
    if (level_ == Level::tensor || level_ == Level::numbers) {
      return fmt::format("tensor {}", printable(header_.records.back().name));
    }
    return level_ == Level::metadata ? "__metadata__" : "header";
  }
  std::string wanted() const override {
    switch (level_) {
      case Level::before:
        return "an object";
      case Level::top:
        return fmt::format("an object for {}", printable(key_));
      case Level::metadata:
        return fmt::format("a text for {}", printable(key_));
      default:
        break;
    }
    if (field_ == kDtype) return "a text for dtype";
    return field_ == kShape ? fmt::format("a shape of at most {} non-negative integers", SafetensorsFile::kMaxRank)
                            : "data_offsets of two non-negative integers";
  }

  SafetensorsHeader& header_;
  Level level_ = Level::before;
  std::string key_;
  bool has_metadata_ = false;
  Field field_ = kDtype;
  unsigned seen_ = 0;          // fields of the tensor read now
  unsigned offset_count_ = 0;  // of its data_offsets
};

class IndexHandler final : public StrictHandler {
 public:
  IndexHandler(const std::string& file, std::map<std::string, std::string>& weight_map)
      : StrictHandler(file, 0), weight_map_(weight_map) {}

  bool has_weight_map() const { return has_weight_map_; }

  bool start_object(std::size_t) override {
    if (in_map()) unexpected("an object");
    if (depth_ == 1 && key_ == "weight_map") map_open_ = true;
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    if (depth_ == 1) map_open_ = false;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0 || in_map() || at_map()) unexpected("an array");
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& text) override {
    key_.swap(text);
    if (at_map() && std::exchange(has_weight_map_, true)) fail("one weight_map", "a second one");
    if (in_map() && weight_map_.contains(key_)) fail("every tensor once", printable(key_) + " twice");
    return true;
  }
  bool string(string_t& text) override {
    if (!in_map()) return pass("a text");
    const bool plain = !text.empty() && text != "." && text != ".." && text.find('/') == std::string::npos &&
                       text.find('\\') == std::string::npos && text.find('\0') == std::string::npos;
    if (!plain) unexpected(fmt::format("\"{}\"", printable(text)));
    weight_map_.emplace(key_, std::move(text));
    return true;
  }
  bool null() override { return pass("null"); }
  bool boolean(bool) override { return pass("a boolean"); }
  bool number_integer(number_integer_t) override { return pass("a number"); }
  bool number_unsigned(number_unsigned_t) override { return pass("a number"); }
  bool number_float(number_float_t, const string_t&) override { return pass("a number"); }

 private:
  /// Inside the weight_map.
  bool in_map() const { return map_open_; }
  /// At the value of the key weight_map.
  bool at_map() const { return depth_ == 1 && key_ == "weight_map"; }
  /// A value that is of no interest, unless it stands where the index or its map should.
  bool pass(const char* what) const {
    if (depth_ == 0 || in_map() || at_map()) unexpected(what);
    return true;
  }
  std::string place() const override { return "index"; }
  std::string wanted() const override {
    return in_map() ? fmt::format("a file name without folders for {}", printable(key_))
                    : "an object with a weight_map";
  }

  std::map<std::string, std::string>& weight_map_;
  std::size_t depth_ = 0;
  bool map_open_ = false;
  bool has_weight_map_ = false;
  std::string key_;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& file) {
  SafetensorsHeader header;
  // The format wants the brace at once; the parser would pass over white space and a byte-order mark.
  if (text.empty() || text.front() != '{') {
    throw FormatError(file, kSafetensorsHeaderStart, "header", "{",
                      fmt::format("\"{}\"", printable(text.substr(0, 1))));
  }
  HeaderHandler handler(file, header);
  Json::sax_parse(text, &handler);
  return header;
}

std::map<std::string, std::string> parse_safetensors_index(std::span<const std::byte> bytes, const std::string& name) {
  std::map<std::string, std::string> weight_map;
  IndexHandler handler(name, weight_map);
  Json::sax_parse(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), &handler);
  if (!handler.has_weight_map()) throw FormatError(name, 0, "index", "a weight_map", "none");
  return weight_map;
}

std::optional<DType> dtype_of_safetensors(std::string_view dtype) {
  for (const auto& [text, type] : kDtypes) {
    if (text == dtype) return type;
  }
  return std::nullopt;
}

std::optional<std::string_view> safetensors_dtype(DType type) {
  for (const auto& [text, known] : kDtypes) {
    if (known == type) return text;
  }
  return std::nullopt;
}

}  // namespace rpt::io
