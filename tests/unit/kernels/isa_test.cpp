// SPDX-License-Identifier: MIT
#include "rpt/kernels/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "rpt/core/error.h"

namespace rpt::kernels {
namespace {

/// Puts the set in force back when a test ends.
class KeepIsa {
 public:
  ~KeepIsa() { force_isa(name_); }

 private:
  std::string name_ = active().name;
};

TEST(Isa, ReferenceComesFirstAndIsAlwaysSupported) {
  const auto all = list_isas();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.front().name, "reference");
  EXPECT_TRUE(all.front().supported);
  for (const Isa& isa : all) EXPECT_EQ(isa.supported, isa.missing.empty()) << isa.name;
}

TEST(Isa, TheHighestSupportedSetOrRptIsaIsInForce) {
  std::string expected;
  for (const Isa& isa : list_isas()) {
    if (isa.supported) expected = isa.name;
  }
  const char* wanted = std::getenv("RPT_ISA");
  if (wanted != nullptr && *wanted != '\0') expected = wanted;
  EXPECT_EQ(active().name, expected);
}

TEST(Isa, TheForcedSetIsTheRunningOne) {
  const KeepIsa keep;
  for (const Isa& isa : list_isas()) {
    if (!isa.supported) continue;
    force_isa(isa.name);
    EXPECT_EQ(active().name, isa.name);
    EXPECT_EQ(&active(), &table_of(isa.name));
  }
}

TEST(Isa, VectorSetsBringTheirOwnProducts) {
  for (const Isa& isa : list_isas()) {
    if (!isa.supported || isa.name == "reference") continue;
    const KernelTable& own = table_of(isa.name);
    for (const Isa& lower : list_isas()) {
      if (lower.name == isa.name) break;
      EXPECT_NE(own.gemm_ternary2_int8, table_of(lower.name).gemm_ternary2_int8) << isa.name;
      EXPECT_NE(own.rms_norm, table_of(lower.name).rms_norm) << isa.name;
    }
  }
}

TEST(Isa, EveryTableIsComplete) {
  for (const Isa& isa : list_isas()) {
    if (!isa.supported) continue;
    const KernelTable& t = table_of(isa.name);
    EXPECT_TRUE(t.gemm_ternary2_int8 && t.gemm_tq2_int8 && t.gemm_tq1_int8 && t.gemm_hf2_int8) << isa.name;
    EXPECT_TRUE(t.gemm_f32_f32 && t.gemm_f16_f32 && t.gemm_bf16_f32) << isa.name;
    EXPECT_TRUE(t.rms_norm && t.quantize_int8 && t.scale_int32 && t.relu2_mul && t.silu_mul && t.add) << isa.name;
    EXPECT_TRUE(t.rope_halves && t.f32_to_f16 && t.f16_to_f32 && t.bf16_to_f32) << isa.name;
    EXPECT_TRUE(t.attention_head && t.sum_exp && t.sum_abs_f32 && t.sum_abs_bf16) << isa.name;
    EXPECT_TRUE(t.ternary_codes_f32 && t.ternary_codes_bf16) << isa.name;
  }
}

TEST(Isa, UnknownNamesAreErrors) {
  const KeepIsa keep;
  for (const char* name : {"", "avx1024", "AVX2", "reference "}) {
    EXPECT_THROW(table_of(name), ConfigError) << name;
    EXPECT_THROW(force_isa(name), ConfigError) << name;
  }
  try {
    table_of("mmx");
    FAIL() << "no error";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("reference"), std::string::npos) << e.what();
  }
}

TEST(Isa, UnsupportedSetsAreErrors) {
  bool any = false;
  for (const Isa& isa : list_isas()) {
    if (isa.supported) continue;
    any = true;
    EXPECT_THROW(table_of(isa.name), EnvironmentError) << isa.name;
    EXPECT_THROW(force_isa(isa.name), EnvironmentError) << isa.name;
  }
  if (!any) GTEST_SKIP() << "this processor has every set of the build";
}

}  // namespace
}  // namespace rpt::kernels
