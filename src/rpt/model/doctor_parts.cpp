// SPDX-License-Identifier: MIT
#include "rpt/model/doctor_parts.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rpt/tensor/ops.h"

namespace rpt::model {

const std::string_view kTrialText =
    "The house stood at the end of a narrow road, behind two old apple trees. In the spring of 1987 a teacher and her "
    "three children moved in. They had little money, but they did not mind: the rooms were large, the garden was full "
    "of "
    "light, and the river was only a short walk away. \"We won't need much,\" she said. \"A table, some chairs, a good "
    "lamp, and the books.\"\n\n"
    "In the first year they learned how to keep the roof dry and how to grow beans, onions and potatoes. The youngest "
    "boy found a small dog by the river and brought it home. Nobody knew where it had come from. It was thin and very "
    "tired, so they gave it water and a warm place near the fire, and after a few days it followed him everywhere.\n\n"
    "People in the town were slow to make friends with anybody new. But when the great storm came in October and took "
    "the bridge, everyone had to work together. About 400 men and women carried stones for eleven days, and in the "
    "evening they ate at long tables in the school. It was there that the teacher began to write down what the older "
    "people told her about the war, the railway and the years when the river was frozen from December to March. Later "
    "these stories became a book, and it's still read in the schools of the state today.\n";

double relative_difference(const tensor::StoredView& a, const tensor::StoredView& b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (a.rows != b.rows || a.columns != b.columns) return kInfinity;
  std::vector<float> x(static_cast<std::size_t>(a.columns)), y(x.size());
  double difference = 0, size = 0;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    tensor::read_row(a, r, x);
    tensor::read_row(b, r, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto p = static_cast<double>(x[i]), q = static_cast<double>(y[i]);
      difference += (p - q) * (p - q);
      size += q * q;
    }
  }
  const double relative = std::sqrt(difference / size);
  return std::isfinite(relative) ? relative : kInfinity;
}

double rounding_of(tensor::DType type) {
  switch (type) {
    case tensor::DType::q4_0:
    case tensor::DType::q4_1:
      return 0.15;
    case tensor::DType::q6_k:
      return 0.04;
    case tensor::DType::q8_0:
      return 0.02;
    default:
      return 0.005;  // bf16 rounds by 2⁻⁹ at most
  }
}

std::string list_some(const std::vector<std::string>& names) {
  constexpr std::size_t kNamed = 3;
  const std::size_t named = std::min(kNamed, names.size());
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(named), ", "));
  if (names.size() > named) text += fmt::format(" and {} more", names.size() - named);
  return text;
}

std::vector<std::string> block_tensor_names(bool sub_norms) {
  std::vector<std::string> names;
  Weights one;
  one.blocks.resize(1);
  one.sub_norms = sub_norms;
  constexpr std::string_view kPrefix = "blk.0.";
  visit_weights(one, [&](const std::string& name, const auto&) {
    if (name.starts_with(kPrefix)) names.push_back(name.substr(kPrefix.size()));
  });
  return names;
}

void report_missing(const std::vector<std::string>& missing, Findings& findings) {
  std::vector<std::string> sub_norms, others;
  for (const std::string& name : missing) {
    const bool sub = name.find("_sub_norm") != std::string::npos || name.find("inner_attn_ln") != std::string::npos ||
                     name.find("ffn_layernorm") != std::string::npos;
    (sub ? sub_norms : others).push_back(name);
  }
  if (!missing.empty()) findings.loadable = false;
  if (!sub_norms.empty()) {
    findings.faults.push_back(
        {.fault = "missing_sub_norms",
         .place = list_some(sub_norms),
         .cause =
             "BitNet has a norm before attn_output and one before ffn_down; the converter dropped them, and without "
             "them the network is another one",
         .mend = "not mechanical, the gains are gone: convert again from the checkpoint"});
  }
  if (!others.empty()) {
    findings.faults.push_back(
        {.fault = "missing_tensors",
         .place = list_some(others),
         .cause = fmt::format("the network needs {} tensors that the file does not have", others.size()),
         .mend = "not mechanical: fetch or convert the file again"});
  }
}

void report_cut(const std::string& file, std::uint64_t missing_bytes, Findings& findings) {
  findings.loadable = false;
  findings.faults.push_back(
      {.fault = "truncated",
       .place = file,
       .cause = fmt::format("the file ends {} bytes early: it was not downloaded or copied whole", missing_bytes),
       .mend = "not mechanical: fetch it again"});
}

}  // namespace rpt::model
