#include "snapshot/text.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace facegrep::detail {

bool is_printable_ascii(std::string_view bytes) noexcept {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kHigh = 0x80 * kOnes;
  std::uint64_t wrong = 0;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, &bytes[i], sizeof(word));
    // Of a byte below 0x80: its high bit appears by adding 1 if it is 0x7F, and is missing after
    // adding 0x60 if it is below 0x20. No carry leaves a byte as long as all are below 0x80.
    const std::uint64_t low = word & ~kHigh;
    wrong |= word | (low + kOnes) | ~(low + 0x60 * kOnes);
  }
  if ((wrong & kHigh) != 0) return false;
  for (; i < bytes.size(); ++i) {
    if (bytes[i] < 0x20 || bytes[i] > 0x7E) return false;
  }
  return true;
}

bool is_text(std::string_view bytes) noexcept {
  constexpr std::uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};  // by bytes that follow
  for (std::size_t i = 0; i < bytes.size();) {
    const auto first = static_cast<unsigned char>(bytes[i++]);
    const std::size_t more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : 3;
    if (more == 3 && first >> 3 != 30) return false;
    if (bytes.size() - i < more) return false;
    std::uint32_t point = more == 0 ? first : first & (0x3FU >> more);
    for (std::size_t k = 0; k < more; ++k) {
      const auto next = static_cast<unsigned char>(bytes[i++]);
      if (next >> 6 != 2) return false;
      point = point << 6 | (next & 0x3FU);
    }
    if (point < kLeast[more] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
      return false;
    if (point < 0x20 || (point >= 0x7F && point < 0xA0)) return false;
  }
  return true;
}

}  // namespace facegrep::detail
