// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/io/byte_reader.h"
#include "rpt/io/safetensors.h"

namespace rpt::io {

SafetensorsDirectory SafetensorsDirectory::open(const std::filesystem::path& folder) {
  SafetensorsDirectory directory;
  directory.folder_ = folder;
  const auto single = folder / "model.safetensors";
  const auto index = folder / "model.safetensors.index.json";
  std::error_code ignored;  // what cannot be looked at cannot be opened either
  if (std::filesystem::exists(single, ignored)) {
    directory.files_.push_back(SafetensorsFile::open(single));
  } else if (std::filesystem::exists(index, ignored)) {
    directory.open_shards(index);
  } else {
    throw IoError(fmt::format("{}: no model.safetensors and no model.safetensors.index.json there", folder.string()));
  }
  for (const auto& file : directory.files_) {
    for (const auto& tensor : file.tensors()) directory.tensors_.push_back(&tensor);
  }
  return directory;
}

void SafetensorsDirectory::open_shards(const std::filesystem::path& index_path) {
  const MappedFile index(index_path);
  const auto weight_map = parse_safetensors_index(index.bytes(), index_path.string());

  std::map<std::string, std::size_t> shards;  // file name → place in files_
  for (const auto& [tensor, file] : weight_map) shards.emplace(file, 0);
  for (auto& [file, place] : shards) {
    place = files_.size();
    files_.push_back(SafetensorsFile::open(folder_ / file));
  }
  const auto fail = [&](std::string_view tensor, const std::string& expected, const std::string& found) {
    throw FormatError(index_path.string(), 0, fmt::format("tensor {}", printable(tensor)), expected, found);
  };
  for (const auto& [tensor, file] : weight_map) {
    if (files_[shards.at(file)].find(tensor) == nullptr)
      fail(tensor, "it in " + printable(file), "no such tensor there");
  }
  for (const auto& [file, place] : shards) {
    for (const auto& tensor : files_[place].tensors()) {
      const auto at = weight_map.find(tensor.name);
      if (at == weight_map.end()) fail(tensor.name, "every tensor of the shards", "it in " + printable(file) + " only");
      if (at->second != file) {
        fail(tensor.name, "it in " + printable(at->second) + " only", "it in " + printable(file) + " too");
      }
    }
  }
}

const SafetensorsTensor* SafetensorsDirectory::find(std::string_view tensor) const {
  const auto* file = file_of(tensor);
  return file == nullptr ? nullptr : file->find(tensor);
}

const SafetensorsFile* SafetensorsDirectory::file_of(std::string_view tensor) const {
  for (const auto& file : files_) {
    if (file.find(tensor) != nullptr) return &file;
  }
  return nullptr;
}

}  // namespace rpt::io
