// The int8 dot: every tier equals the definition at every length, on buffers of the exact size.
// Twin: tests/test_index_search.py.

#include <cstdint>
#include <memory>
#include <vector>

#include "check.hpp"
#include "cpu/tiers.hpp"
#include "score/exact.hpp"
#include "tiers.hpp"

namespace facegrep::tests {
namespace {

using detail::Tier;

std::mt19937 rng(20201109);

// Exactly `size` bytes on the heap: under ASan a byte more is a report.
std::unique_ptr<std::int8_t[]> codes(std::size_t size, int lowest, int highest) {
  auto out = std::make_unique<std::int8_t[]>(size);
  std::uniform_int_distribution<int> any(lowest, highest);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::int8_t>(any(rng));
  return out;
}

// The rows are taken in reverse: they may come from anywhere.
void check_dots(const Tier& tier, const std::int8_t* query, const std::int8_t* codes,
                std::size_t count, std::size_t dim) {
  const auto rows = std::make_unique<std::uint32_t[]>(count);
  for (std::size_t r = 0; r < count; ++r) rows[r] = static_cast<std::uint32_t>(count - 1 - r);
  const auto dots = std::make_unique<std::int32_t[]>(count);
  tier.score->dot_rows(query, codes, rows.get(), count, dim, dots.get());
  for (std::size_t r = 0; r < count; ++r) {
    std::int64_t expected = 0;
    for (std::size_t d = 0; d < dim; ++d) {
      expected += std::int64_t{query[d]} * std::int64_t{codes[rows[r] * dim + d]};
    }
    CHECK(dots[r] == expected, tier.isa, " dim=", dim, " count=", count, " row=", r, ": expected ",
          expected, ", got ", dots[r]);
  }
}

void every_length_gives_the_exact_dot(const Tier& tier) {
  for (std::size_t dim = 0; dim <= 257; ++dim) {
    for (const std::size_t count : {0U, 1U, 3U, 12U}) {
      check_dots(tier, codes(dim, -127, 127).get(), codes(count * dim, -128, 127).get(), count,
                 dim);
    }
  }
}

void extremes_do_not_saturate(const Tier& tier) {
  for (const std::size_t dim : {1U, 2U, 15U, 16U, 63U, 64U, 65U, 128U, 512U, 4095U, 4096U}) {
    for (const int query : {-127, 127}) {
      for (const int row : {-128, -127, 127}) {
        check_dots(tier, codes(dim, query, query).get(), codes(5 * dim, row, row).get(), 5, dim);
      }
    }
  }
}

void the_fixed_order_is_eight_interleaved_sums() {
  std::uniform_real_distribution<float> any(-1.0F, 1.0F);
  for (std::size_t dim = 1; dim <= 257; ++dim) {
    std::vector<float> a(dim);
    for (float& x : a) x = any(rng);
    const auto b = codes(dim, -127, 127);
    double sums[8] = {};
    for (std::size_t i = 0; i < dim; ++i) {
      sums[i % 8] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    const double expected =
        ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    CHECK(detail::dot_f64(a.data(), b.get(), dim) == expected, "dim=", dim);
  }
}

int run() {
  for_each_tier(every_length_gives_the_exact_dot);
  for_each_tier(extremes_do_not_saturate);
  the_fixed_order_is_eight_interleaved_sums();
  return report("score");
}

}  // namespace
}  // namespace facegrep::tests

int main() { return facegrep::tests::run(); }
