// SPDX-License-Identifier: MIT
#include "rpt/report/record.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "rpt/core/error.h"

namespace rpt::report {
namespace {

TEST(Record, HoldsEveryKindOfFigureInOrder) {
  Record inner;
  inner.set("x", 1);
  Record record;
  record.set("text", "abc");
  record.set("view", std::string_view("def"));
  record.set("string", std::string("ghi"));
  record.set("int", -7);
  record.set("size", std::size_t{8});
  record.set("double", 0.1);
  record.set("float", 0.5F);
  record.set("yes", true);
  record.set("nothing", nullptr);
  record.set("absent", std::optional<double>());
  record.set("present", std::optional<double>(2.5));
  record.set("ints", std::vector<std::int64_t>{1, 2});
  record.set("doubles", std::vector<double>{0.25, std::numeric_limits<double>::infinity()});
  record.set("texts", std::vector<std::string>{"a", "b"});
  record.set("record", inner);
  record.set("records", std::vector<Record>{inner, Record()});
  EXPECT_EQ(record.to_json(-1),
            R"({"text":"abc","view":"def","string":"ghi","int":-7,"size":8,"double":0.1,"float":0.5,"yes":true,)"
            R"("nothing":null,"absent":null,"present":2.5,"ints":[1,2],"doubles":[0.25,null],"texts":["a","b"],)"
            R"("record":{"x":1},"records":[{"x":1},{}]})");
}

TEST(Record, IsIndented) {
  Record record;
  record.set("a", 1);
  EXPECT_EQ(record.to_json(), "{\n  \"a\": 1\n}");
  EXPECT_EQ(Record().to_json(), "{}");
  EXPECT_EQ(records_to_json({record}, -1), "[{\"a\":1}]");
  EXPECT_EQ(records_to_json({}), "[]");
}

TEST(Record, ReplacesAValueInItsPlace) {
  Record record;
  record.set("a", 1);
  record.set("b", 2);
  record.set("a", "new");
  EXPECT_EQ(record.to_json(-1), R"({"a":"new","b":2})");
}

TEST(Record, DoublesReadBackTheSame) {
  Record record;
  const std::vector<double> values = {0.1,           1.0 / 3.0,         1e22, 5e-324, -0.0, 1.7976931348623157e308,
                                      123456789.125, 9007199254740993.0};
  record.set("values", values);
  const auto json = nlohmann::json::parse(record.to_json());
  EXPECT_EQ(json["values"].get<std::vector<double>>(), values);
  record.set("nan", std::numeric_limits<double>::quiet_NaN());
  record.set("inf", -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(nlohmann::json::parse(record.to_json())["nan"].is_null());
  EXPECT_TRUE(nlohmann::json::parse(record.to_json())["inf"].is_null());
}

TEST(Record, IntegersKeepAllDigitsOrAreRefused) {
  Record record;
  record.set("low", std::numeric_limits<std::int64_t>::min());
  record.set("high", std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(record.to_json(-1), R"({"low":-9223372036854775808,"high":9223372036854775807})");
  EXPECT_THROW(record.set("beyond", std::numeric_limits<std::uint64_t>::max()), LogicError);
}

TEST(Record, EscapesTextsAndNames) {
  Record record;
  record.set("quote \" and \\", "line\nend\ttab\x01");
  record.set("utf8", "größe 日本");
  record.set("broken", "a\xff\xfe z");
  EXPECT_EQ(
      record.to_json(-1),
      "{\"quote \\\" and \\\\\":\"line\\nend\\ttab\\u0001\",\"utf8\":\"größe 日本\",\"broken\":\"a\uFFFD\uFFFD z\"}");
}

TEST(Record, CopiesAreIndependent) {
  Record inner;
  inner.set("x", 1);
  Record outer;
  outer.set("inner", inner);
  inner.set("x", 2);
  Record copy = outer;
  copy.set("more", 3);
  EXPECT_EQ(outer.to_json(-1), R"({"inner":{"x":1}})");
}

}  // namespace
}  // namespace rpt::report
