// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>

/// What the program asks of the system about its memory. None of it changes a result, only the time it takes.
namespace rpt::core {

/// Asks for huge pages behind those of `bytes` bytes at `data` that such pages can cover whole; does nothing where the
/// system has none. Large buffers are read faster through fewer page entries.
void advise_huge_pages(void* data, std::size_t bytes);

/// From here on the allocator keeps what is freed (blocks up to 32 MiB) instead of returning it to the system. oneDNN
/// allocates working space inside each product: mapped and cleared anew each time it costs 6 % of a small training
/// step.
void keep_freed_memory();

/// Returns to the system what the allocator has kept.
void return_freed_memory();

}  // namespace rpt::core
