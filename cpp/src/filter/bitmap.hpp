// One bit an asset, 64 to a word; bits past the last asset are zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace facegrep::detail {

using Bitmap = std::vector<std::uint64_t>;

inline std::size_t words_for(std::size_t bits) noexcept { return (bits + 63) / 64; }

inline bool test(const Bitmap& bitmap, std::size_t bit) noexcept {
  return bit / 64 < bitmap.size() && ((bitmap[bit / 64] >> (bit % 64)) & 1U) != 0;
}

inline void set(Bitmap& bitmap, std::size_t bit) noexcept {
  bitmap[bit / 64] |= std::uint64_t{1} << (bit % 64);
}

inline void clear(Bitmap& bitmap, std::size_t bit) noexcept {
  bitmap[bit / 64] &= ~(std::uint64_t{1} << (bit % 64));
}

/// Bits set in [0, words).
inline std::size_t popcount(const Bitmap& bitmap) noexcept {
  std::size_t bits = 0;
  for (const std::uint64_t word : bitmap) {
    bits += static_cast<std::size_t>(__builtin_popcountll(word));
  }
  return bits;
}

/// Calls f(first, last) for each maximal run [first, last) of set bits within [begin, end).
template <typename F>
void for_each_run(const Bitmap& bitmap, std::size_t begin, std::size_t end, F&& f) {
  std::size_t bit = begin;
  // The next bit at or after `from` that is set (or clear, with `flip` all ones); `end` if none.
  const auto next = [&](std::size_t from, std::uint64_t flip) {
    while (from < end) {
      const std::uint64_t word = (bitmap[from / 64] ^ flip) >> (from % 64);
      if (word != 0) {
        const std::size_t found = from + static_cast<std::size_t>(__builtin_ctzll(word));
        return found < end ? found : end;
      }
      from = (from / 64 + 1) * 64;
    }
    return end;
  };
  while ((bit = next(bit, 0)) < end) {
    const std::size_t last = next(bit, ~std::uint64_t{0});
    f(bit, last);
    bit = last;
  }
}

}  // namespace facegrep::detail
