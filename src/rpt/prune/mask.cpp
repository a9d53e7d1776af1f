// SPDX-License-Identifier: MIT
#include "rpt/prune/mask.h"

#include <algorithm>
#include <numeric>

#include "rpt/core/error.h"
#include "rpt/io/safetensors.h"
#include "rpt/io/safetensors_writer.h"
#include "rpt/model/gauge_groups.h"

namespace rpt::prune {
namespace {

constexpr std::string_view kFormat = "rpt-mask-1";

/// Names and shapes of the masks of a model, without their values.
std::vector<LinearMask> empty_masks(const model::Config& config) {
  std::vector<LinearMask> out;
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (const model::GaugeGroup& group : model::kGaugeGroups) {
      for (const model::GaugeLinear& linear : group.linears) {
        LinearMask mask;
        mask.name = model::block_tensor_name(static_cast<std::size_t>(layer), linear.name);
        std::tie(mask.rows, mask.columns) = model::expected_shape(mask.name, config);
        out.push_back(std::move(mask));
      }
    }
  }
  return out;
}

void read_mask(const io::SafetensorsFile& file, LinearMask& mask) {
  const io::SafetensorsTensor* tensor = file.find(mask.name);
  if (tensor == nullptr) throw FormatError(file.name(), 0, "tensors", "a tensor " + mask.name, "none");
  const std::string place = "tensor " + mask.name;
  if (tensor->type != tensor::DType::u8 || tensor->shape != std::vector{mask.rows, mask.columns}) {
    throw FormatError(file.name(), tensor->offset, place, fmt::format("u8 [{}, {}]", mask.rows, mask.columns),
                      fmt::format("{} [{}]", tensor::name(tensor->type), fmt::join(tensor->shape, ", ")));
  }
  mask.keep.resize(tensor->data.size());
  std::transform(tensor->data.begin(), tensor->data.end(), mask.keep.begin(), std::to_integer<std::uint8_t>);
  const auto bad = std::find_if(mask.keep.begin(), mask.keep.end(), [](std::uint8_t v) { return v > 1; });
  if (bad != mask.keep.end()) {
    throw FormatError(file.name(), tensor->offset + static_cast<std::uint64_t>(bad - mask.keep.begin()), place,
                      "0 or 1", fmt::format("{}", *bad));
  }
}

}  // namespace

std::uint64_t LinearMask::pruned() const {
  return static_cast<std::uint64_t>(std::count(keep.begin(), keep.end(), std::uint8_t{0}));
}

std::uint64_t Masks::pruned() const {
  return std::accumulate(linears.begin(), linears.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const LinearMask& mask) { return sum + mask.pruned(); });
}

Masks full_masks(const model::Config& config) {
  Masks masks{empty_masks(config)};
  for (LinearMask& mask : masks.linears) mask.keep.assign(static_cast<std::size_t>(mask.rows * mask.columns), 1);
  return masks;
}

void require_masks_of(const Masks& masks, const model::Config& config) {
  const std::vector<LinearMask> expected = empty_masks(config);
  if (masks.linears.size() != expected.size()) {
    throw ConfigError(fmt::format("{} masks for {} linear layers", masks.linears.size(), expected.size()));
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const LinearMask& e = expected[i];
    const LinearMask& m = masks.linears[i];
    if (m.name != e.name || m.rows != e.rows || m.columns != e.columns ||
        std::cmp_not_equal(m.keep.size(), e.rows * e.columns)) {
      throw ConfigError(fmt::format("a mask {} [{}, {}] of {} values, where {} [{}, {}] is expected", m.name, m.rows,
                                    m.columns, m.keep.size(), e.name, e.rows, e.columns));
    }
  }
}

void write_masks(const std::filesystem::path& path, const Masks& masks) {
  io::SafetensorsWriter writer(path);
  writer.set_metadata("format", std::string(kFormat));
  for (const LinearMask& mask : masks.linears) {
    writer.declare(mask.name, tensor::DType::u8, {mask.rows, mask.columns});
  }
  for (const LinearMask& mask : masks.linears) {
    writer.begin_tensor(mask.name);
    writer.write(mask.keep.data(), mask.keep.size());
  }
  writer.commit();
}

Masks read_masks(const std::filesystem::path& path, const model::Config& config) {
  const auto file = io::SafetensorsFile::open(path);
  const auto format = file.metadata().find("format");
  if (format == file.metadata().end() || format->second != kFormat) {
    throw FormatError(file.name(), 0, "metadata \"format\"", std::string(kFormat),
                      format == file.metadata().end() ? "none" : format->second);
  }
  Masks masks{empty_masks(config)};
  for (LinearMask& mask : masks.linears) read_mask(file, mask);
  if (file.tensors().size() == masks.linears.size()) return masks;
  for (const io::SafetensorsTensor& tensor : file.tensors()) {
    const bool known = std::any_of(masks.linears.begin(), masks.linears.end(),
                                   [&](const LinearMask& mask) { return mask.name == tensor.name; });
    if (!known) throw FormatError(file.name(), tensor.offset, "tensors", "masks of linear layers", tensor.name);
  }
  return masks;
}

}  // namespace rpt::prune
