// SPDX-License-Identifier: MIT
#pragma once

namespace rpt::core::log_table {

/// −ln(c) of one centre as a sum of two doubles; `high` is a multiple of 2^−42, so that it and k · ln 2 add up exactly.
struct Entry {
  double high;
  double low;
};

constexpr int kFirst = 45;  ///< j of the first entry
constexpr int kLast = 90;   ///< j of the last entry

/// Entry j − kFirst belongs to the centre 1 / c with c = 64.0 / j rounded to double, which is about j / 64.
/// Recipe: v = −ln(c) to 300 bits; high = v rounded to a multiple of 2^−42; low = double(v − high).
constexpr Entry kTable[kLast - kFirst + 1] = {
    {-0x1.68ac83e9c7000p-2, 0x1.7acd66c548a30p-44},  {-0x1.522ae0738a000p-2, -0x1.eba708164c759p-45},
    {-0x1.3c25277333000p-2, -0x1.83454b606bd5cp-46}, {-0x1.269621134e000p-2, 0x1.1ba1f10522625p-44},
    {-0x1.1178e8227e000p-2, -0x1.1e9b8ce2d07f2p-44}, {-0x1.f991c6cb3c000p-3, 0x1.90b84cd7cc834p-44},
    {-0x1.d1037f2656000p-3, 0x1.8527e75b6f6e4p-47},  {-0x1.a93ed3c8ae000p-3, 0x1.86a4350562169p-45},
    {-0x1.823c16551a000p-3, -0x1.e02db9a631e83p-46}, {-0x1.5bf406b544000p-3, 0x1.28023eb68981cp-46},
    {-0x1.365fcb015a000p-3, 0x1.fd720afb9691bp-44},  {-0x1.1178e8227e000p-3, -0x1.1e778ce2d07f2p-45},
    {-0x1.da72763844000p-4, -0x1.a79401fa71733p-46}, {-0x1.9335e5d594000p-4, -0x1.30f5c3abd47dap-45},
    {-0x1.4d3115d208000p-4, 0x1.53e2582f4e1efp-48},  {-0x1.08598b59e4000p-4, 0x1.7e9dd7009902cp-46},
    {-0x1.894aa149f8000p-5, -0x1.9a55a8be97661p-44}, {-0x1.0415d89e78000p-5, 0x1.ddfc7f461c516p-44},
    {-0x1.0205658930000p-6, -0x1.60dd27c8e8417p-44}, {0x0.0p+0, 0x0.0p+0},
    {0x1.fc0a8b0fc0000p-7, 0x1.e1e7cf6d3a69cp-50},   {0x1.f829b0e780000p-6, 0x1.97c267c7e09e4p-45},
    {0x1.77458f6330000p-5, -0x1.1807ce586af09p-44},  {0x1.f0a30c0118000p-5, -0x1.d579e83368e91p-45},
    {0x1.341d7961bc000p-4, 0x1.1cfb299837610p-44},   {0x1.6f0d28ae58000p-4, -0x1.4b2241b664613p-44},
    {0x1.a926d3a4ac000p-4, 0x1.561c50bd22a9cp-44},   {0x1.e27076e2b0000p-4, -0x1.a2c2c2af0003cp-45},
    {0x1.0d77e7cd08000p-3, 0x1.cb6cd2ee2f482p-44},   {0x1.29552f8200000p-3, -0x1.5bd67f4471dfcp-44},
    {0x1.44d2b6ccb8000p-3, -0x1.71f416135783cp-46},  {0x1.5ff3070a7a000p-3, -0x1.8546f183bebf2p-44},
    {0x1.7ab890210e000p-3, -0x1.be51072534a58p-45},  {0x1.9525a9cf46000p-3, -0x1.294937d9f158fp-44},
    {0x1.af3c94e80c000p-3, -0x1.92e633fcd9066p-52},  {0x1.c8ff7c79aa000p-3, -0x1.7814f689f8434p-45},
    {0x1.e27076e2b0000p-3, -0x1.a302c2af0003cp-44},  {0x1.fb9186d5e4000p-3, -0x1.d6b2aab993c87p-47},
    {0x1.0a324e2739000p-2, 0x1.c4dee7ef4030ep-47},   {0x1.1675cababa000p-2, 0x1.83c0e731f55c4p-44},
    {0x1.22941fbcf8000p-2, -0x1.a6876f5eb0963p-44},  {0x1.2e8e2bae12000p-2, -0x1.6791e99b72bd8p-45},
    {0x1.3a64c55694000p-2, 0x1.7a81cbcd735d0p-44},   {0x1.4618bc21c6000p-2, -0x1.3e02f484c84ccp-46},
    {0x1.51aad872e0000p-2, -0x1.f49d8db0a7cc1p-44},  {0x1.5d1bdbf581000p-2, -0x1.8d97dc9c7c238p-44},
};

}  // namespace rpt::core::log_table
