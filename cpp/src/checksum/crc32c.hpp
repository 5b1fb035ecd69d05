// CRC-32C (Castagnoli), page by page: it sees every error of up to three bits in a page, and every
// burst of up to 32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facegrep::detail {

inline constexpr std::size_t kPageBytes = 4096;

std::uint32_t crc32c(const void* data, std::size_t bytes) noexcept;

/// The CRC of each of `count` pages that lie one after the other. Three at a time where the CPU has
/// the instruction, which takes three cycles and can be begun in each.
void crc32c_pages(const void* pages, std::size_t count, std::uint32_t* checksums) noexcept;

/// The specification; crc32c() where the CPU has no instruction for it.
std::uint32_t crc32c_portable(const void* data, std::size_t bytes) noexcept;

}  // namespace facegrep::detail
