// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <optional>
#include <string_view>
#include <vector>

namespace rpt::io {

/// Indices of `items` ordered by name, and by position where names are equal. `name_of` is a pointer to the member that
/// holds the name.
template <typename Item, typename Name>
std::vector<std::size_t> index_by_name(const std::vector<Item>& items, Name name_of) {
  std::vector<std::size_t> index(items.size());
  std::iota(index.begin(), index.end(), std::size_t{0});
  std::stable_sort(index.begin(), index.end(), [&](std::size_t a, std::size_t b) {
    return std::string_view(std::invoke(name_of, items[a])) < std::string_view(std::invoke(name_of, items[b]));
  });
  return index;
}

/// An item whose name an earlier item has too, or nullptr.
template <typename Item, typename Name>
const Item* find_duplicate(const std::vector<Item>& items, const std::vector<std::size_t>& index, Name name_of) {
  const auto same = [&](std::size_t a, std::size_t b) {
    return std::invoke(name_of, items[a]) == std::invoke(name_of, items[b]);
  };
  const auto at = std::adjacent_find(index.begin(), index.end(), same);
  return at == index.end() ? nullptr : &items[*(at + 1)];
}

/// The item of that name, or nullptr. Cost: a binary search.
template <typename Item, typename Name>
const Item* find_by_name(const std::vector<Item>& items, const std::vector<std::size_t>& index, Name name_of,
                         std::string_view wanted) {
  const auto at = std::lower_bound(index.begin(), index.end(), wanted, [&](std::size_t i, std::string_view name) {
    return std::string_view(std::invoke(name_of, items[i])) < name;
  });
  return at != index.end() && std::string_view(std::invoke(name_of, items[*at])) == wanted ? &items[*at] : nullptr;
}

}  // namespace rpt::io
