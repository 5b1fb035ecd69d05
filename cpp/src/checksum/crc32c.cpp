#include "checksum/crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

namespace facegrep::detail {
namespace {

constexpr std::uint32_t kReversedPolynomial = 0x82F63B78;

// kTables[k][b]: what a byte b does to the CRC when k bytes follow it.
constexpr std::array<std::array<std::uint32_t, 256>, 8> make_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? crc >> 1 ^ kReversedPolynomial : crc >> 1;
    }
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = before >> 8 ^ tables[0][before & 0xFFU];
    }
  }
  return tables;
}

constexpr auto kTables = make_tables();

}  // namespace

std::uint32_t crc32c_portable(const void* data, std::size_t bytes) noexcept {
  const auto* at = static_cast<const unsigned char*>(data);
  std::uint32_t crc = ~0U;
  for (; bytes >= 8; bytes -= 8, at += 8) {
    const std::uint32_t low = crc ^ (std::uint32_t{at[0]} | std::uint32_t{at[1]} << 8 |
                                     std::uint32_t{at[2]} << 16 | std::uint32_t{at[3]} << 24);
    crc = kTables[7][low & 0xFFU] ^ kTables[6][low >> 8 & 0xFFU] ^ kTables[5][low >> 16 & 0xFFU] ^
          kTables[4][low >> 24] ^ kTables[3][at[4]] ^ kTables[2][at[5]] ^ kTables[1][at[6]] ^
          kTables[0][at[7]];
  }
  for (; bytes > 0; --bytes, ++at) crc = crc >> 8 ^ kTables[0][(crc ^ *at) & 0xFFU];
  return ~crc;
}

#if defined(__SSE4_2__)

namespace {

std::uint64_t load(const unsigned char* at) noexcept {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

}  // namespace

std::uint32_t crc32c(const void* data, std::size_t bytes) noexcept {
  const auto* at = static_cast<const unsigned char*>(data);
  std::uint64_t crc = ~0U;
  for (; bytes >= 8; bytes -= 8, at += 8) crc = _mm_crc32_u64(crc, load(at));
  auto last = static_cast<std::uint32_t>(crc);
  for (; bytes > 0; --bytes, ++at) last = _mm_crc32_u8(last, *at);
  return ~last;
}

void crc32c_pages(const void* pages, std::size_t count, std::uint32_t* checksums) noexcept {
  const auto* at = static_cast<const unsigned char*>(pages);
  for (; count >= 3; count -= 3, at += 3 * kPageBytes, checksums += 3) {
    std::uint64_t crc[3] = {~0U, ~0U, ~0U};
    for (std::size_t i = 0; i < kPageBytes; i += 8) {
      crc[0] = _mm_crc32_u64(crc[0], load(at + i));
      crc[1] = _mm_crc32_u64(crc[1], load(at + kPageBytes + i));
      crc[2] = _mm_crc32_u64(crc[2], load(at + 2 * kPageBytes + i));
    }
    for (std::size_t p = 0; p < 3; ++p) checksums[p] = ~static_cast<std::uint32_t>(crc[p]);
  }
  for (; count > 0; --count, at += kPageBytes) *checksums++ = crc32c(at, kPageBytes);
}

#else

std::uint32_t crc32c(const void* data, std::size_t bytes) noexcept {
  return crc32c_portable(data, bytes);
}

void crc32c_pages(const void* pages, std::size_t count, std::uint32_t* checksums) noexcept {
  const auto* at = static_cast<const unsigned char*>(pages);
  for (; count > 0; --count, at += kPageBytes) *checksums++ = crc32c(at, kPageBytes);
}

#endif

}  // namespace facegrep::detail
