// SPDX-License-Identifier: MIT
#include "rpt/model/masks.h"

#include <algorithm>
#include <set>
#include <type_traits>

#include "rpt/core/error.h"
#include "rpt/core/sha256.h"
#include "rpt/io/safetensors.h"
#include "rpt/io/safetensors_writer.h"
#include "rpt/model/weights.h"

namespace rpt::model {
namespace {

std::set<std::string> linear_names(const Config& config) {
  Weights shell;
  shell.blocks.resize(static_cast<std::size_t>(config.layers));
  std::set<std::string> names;
  visit_weights(shell, [&](const std::string& name, const auto& weight) {
    if (std::is_same_v<std::decay_t<decltype(weight)>, LinearWeight>) names.insert(name);
  });
  return names;
}

}  // namespace

void validate(const Masks& masks, const Config& config, const std::string& origin) {
  if (masks.empty()) throw ConfigError(fmt::format("{}: holds no masks", origin));
  const std::set<std::string> linears = linear_names(config);
  for (const auto& [name, mask] : masks) {
    if (!linears.contains(name)) throw ConfigError(fmt::format("{}: the model has no linear \"{}\"", origin, name));
    const auto [rows, columns] = expected_shape(name, config);
    if (mask.rows != rows || mask.columns != columns || std::cmp_not_equal(mask.keep.size(), rows * columns)) {
      throw ConfigError(fmt::format("{}: the mask of {} is [{}, {}], the linear [{}, {}]", origin, name, mask.rows,
                                    mask.columns, rows, columns));
    }
  }
}

Masks load_masks(const std::filesystem::path& path, const Config& config) {
  const auto file = io::SafetensorsFile::open(path);
  Masks masks;
  for (const io::SafetensorsTensor& t : file.tensors()) {
    const auto fail = [&](std::uint64_t at, const std::string& expected, const std::string& found) {
      throw FormatError(file.name(), t.offset + at, "mask " + t.name, expected, found);
    };
    if (t.type != tensor::DType::u8) fail(0, "u8", std::string(tensor::name(t.type)));
    if (t.shape.size() != 2) fail(0, "two dimensions", fmt::format("{}", t.shape.size()));
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(t.data.data());
    const auto* end = bytes + t.data.size();
    const auto* bad = std::find_if(bytes, end, [](std::uint8_t v) { return v > 1; });
    if (bad != end) fail(static_cast<std::uint64_t>(bad - bytes), "0 or 1", fmt::format("{}", *bad));
    masks[t.name] = {t.shape[0], t.shape[1], {bytes, end}};
  }
  validate(masks, config, file.name());
  return masks;
}

void save_masks(const std::filesystem::path& path, const Masks& masks) {
  io::SafetensorsWriter writer(path);
  for (const auto& [name, mask] : masks) writer.declare(name, tensor::DType::u8, {mask.rows, mask.columns});
  for (const auto& [name, mask] : masks) {
    writer.begin_tensor(name);
    writer.write(mask.keep.data(), mask.keep.size());
  }
  writer.commit();
}

std::string sha256_of(const Masks& masks) {
  core::Sha256 hash;
  for (const auto& [name, mask] : masks) {
    const std::string head = fmt::format("{} {} {}\n", name, mask.rows, mask.columns);
    hash.update(head.data(), head.size());
    hash.update(mask.keep.data(), mask.keep.size());
  }
  return hash.hex_digest();
}

}  // namespace rpt::model
