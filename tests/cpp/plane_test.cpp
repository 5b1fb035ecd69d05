// The packed plane: every tier leaves what the scalar kernel leaves at every length, on buffers of
// the exact size; and no row that reaches a cut is ever ruled out. Twin:
// tests/test_index_search.py.

#include "score/plane.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "check.hpp"
#include "cpu/tiers.hpp"
#include "score/exact.hpp"
#include "tiers.hpp"

namespace facegrep::tests {
namespace {

using detail::kBlockRows;
using Code = std::vector<std::int8_t>;

std::mt19937 rng(20201109);
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();  // rules nothing out

// What a tier leaves of `from` for each query: block and rows, in order.
using Left = std::vector<std::vector<std::pair<std::uint32_t, std::uint32_t>>>;

Left left_by(const detail::Tier& tier, const std::vector<std::int8_t>& codes, std::size_t groups,
             const std::vector<detail::PlaneCut>& cuts, const std::uint8_t* plane,
             const std::vector<detail::BlockRows>& from) {
  const auto exact = std::make_unique<std::int8_t[]>(codes.size());  // so that ASan sees its end
  std::copy(codes.begin(), codes.end(), exact.get());
  const auto rows = std::make_unique<detail::BlockRows[]>(cuts.size() * from.size());
  const auto counts = std::make_unique<std::size_t[]>(cuts.size());
  const detail::PlaneScan scan{exact.get(), groups, cuts.data()};
  tier.score->scan_plane[cuts.size() - 1](scan, plane, from.data(), from.size(), rows.get(),
                                          counts.get());
  Left left(cuts.size());
  for (std::size_t q = 0; q < cuts.size(); ++q) {
    for (std::size_t i = 0; i < counts[q]; ++i) {
      const detail::BlockRows& block = rows[q * from.size() + i];
      CHECK(block.rows != 0, tier.isa, " lists a block without a row");
      left[q].emplace_back(block.block, block.rows);
    }
  }
  return left;
}

// A row's bounds as the plane keeps them: two bfloat16.
std::uint32_t bounds_of(float norm, float residual) {
  std::uint32_t low;
  std::uint32_t high;
  std::memcpy(&low, &norm, 4);
  std::memcpy(&high, &residual, 4);
  return low >> 16 | (high & 0xFFFF0000U);
}

void every_length_leaves_what_scalar_leaves(const detail::Tier& tier) {
  std::uniform_real_distribution<float> unit(0.0F, 1.0F);
  for (std::size_t groups = 0; groups <= 33; ++groups) {
    for (const std::size_t blocks : {1U, 2U, 3U, 5U, 12U}) {
      const std::size_t block_bytes = (1 + groups) * 64;
      const auto plane = std::make_unique<std::uint8_t[]>(blocks * block_bytes);
      const bool extreme = groups % 3 == 0;  // the largest sums that there can be
      for (std::size_t i = 0; i < blocks * block_bytes; ++i) {
        plane[i] = extreme ? 0xFF : static_cast<std::uint8_t>(rng());
      }
      std::vector<detail::BlockRows> from;
      for (std::size_t b = 0; b < blocks; ++b) {
        for (std::size_t row = 0; row < kBlockRows; ++row) {
          const std::uint32_t bounds =
              bounds_of(300.0F + 100.0F * unit(rng), rng() % 9 == 0 ? kInfinity : 0.2F * unit(rng));
          std::memcpy(&plane[b * block_bytes + 4 * row], &bounds, 4);
        }
        // Runs, gaps, blocks without a row of the filter, none at all.
        const auto rows = static_cast<std::uint32_t>(rng() % 7 == 0 ? 0 : rng() & 0xFFFFU);
        if (rng() % 3 != 0) from.push_back({static_cast<std::uint32_t>(b), rows});
      }
      for (const float base : {kNan, -kInfinity, -40.0F, 0.0F, 15.0F, 100.0F, 1e9F}) {
        const std::size_t queries = 1 + rng() % detail::kPlaneQueries;
        std::vector<std::int8_t> codes(groups * queries * 8);
        std::vector<detail::PlaneCut> cuts(queries);
        for (std::size_t i = 0; i < codes.size(); ++i) {
          const std::size_t q = i / 8 % queries;
          const int any = static_cast<int>(rng() % 255) - 127;
          codes[i] = static_cast<std::int8_t>(extreme ? (q % 2 == 0 ? 127 : -127) : any);
          cuts[q].offset += 241 * codes[i];
        }
        for (std::size_t q = 0; q < queries; ++q) {
          cuts[q].slope = 50.0F;
          cuts[q].base = base + 7.0F * static_cast<float>(q);
        }
        CHECK(left_by(tier, codes, groups, cuts, plane.get(), from) ==
                  left_by(scalar_tier(), codes, groups, cuts, plane.get(), from),
              tier.isa, " groups=", groups, " blocks=", blocks, " base=", base);
      }
    }
  }
}

void a_row_on_the_cut_is_kept(const detail::Tier& tier) {
  std::vector<std::uint8_t> plane(128, 0x21);  // every dot is 4 * 1 * 3 + 4 * 2 * 5 = 52
  for (std::size_t row = 0; row < kBlockRows; ++row) {
    const std::uint32_t bounds = bounds_of(1.0F, 0.0F);
    std::memcpy(&plane[4 * row], &bounds, 4);
  }
  const std::vector<std::int8_t> code{3, 3, 3, 3, 5, 5, 5, 5};
  for (const float above : {0.0F, 1.0F}) {
    const detail::PlaneCut cut{7, 0.0F, 32 * 52 - 7 + above};
    const Left left = left_by(tier, code, 1, {cut}, plane.data(), {{0, 0xFFFF}});
    CHECK(left[0].empty() == (above > 0), tier.isa, " above=", above);
    if (above == 0) CHECK(left[0][0].second == 0xFFFF, tier.isa);
  }
}

// Whether the plane keeps row `row` of a block of these codes at the cut.
bool keeps(const std::vector<float>& values, const std::vector<Code>& block, std::size_t row,
           double cut) {
  detail::Plane plane(values.size());
  plane.reserve(block.size());
  for (const Code& code : block) {
    plane.append(code.data(), detail::norm_of(code.data(), code.size()));
  }
  const detail::Query query = detail::prepare_query(values.data(), values.size(), 0);
  detail::PlaneQuery ready(query);
  ready.set_cut(cut);
  const Left left = left_by(detail::active_tier(), detail::side_by_side(&query, 1), plane.groups(),
                            {ready.cut}, plane.data(), {{0, 0xFFFF}});
  return !left[0].empty() && ((left[0][0].second >> row) & 1) != 0;
}

double score_of(const std::vector<float>& values, const Code& code) {
  const detail::Query query = detail::prepare_query(values.data(), values.size(), 0);
  return detail::exact_score(values.data(), query.norm, code.data(), code.size());
}

Code random_code(std::size_t dim, int magnitude) {
  Code code(dim);
  for (std::int8_t& c : code) {
    c = static_cast<std::int8_t>(
        static_cast<int>(rng() % (2U * static_cast<unsigned>(magnitude) + 1U)) - magnitude);
  }
  if (std::all_of(code.begin(), code.end(), [](int c) { return c == 0; })) code[dim / 2] = -1;
  return code;
}

std::vector<float> random_query(std::size_t dim) {
  std::normal_distribution<float> normal;
  std::vector<float> values(dim);
  for (float& x : values) x = normal(rng);
  return values;
}

void random_rows_keep_their_place() {
  for (const std::size_t dim : {1U, 2U, 5U, 7U, 8U, 9U, 63U, 100U, 128U, 512U, 4096U}) {
    for (std::size_t i = 0; i < some_of(600) / (1 + dim / 128); ++i) {
      std::vector<Code> block;
      for (std::size_t r = 0; r <= rng() % kBlockRows; ++r) {
        block.push_back(random_code(dim, i % 3 == 0 ? 2 : 127));
      }
      const std::vector<float> values = random_query(dim);
      for (std::size_t lane = 0; lane < block.size(); ++lane) {
        const double score = score_of(values, block[lane]);
        CHECK(keeps(values, block, lane, score), "dim=", dim, " score=", score);
      }
    }
  }
}

// Where Cauchy-Schwarz is tight: the query's code has one magnitude, and every row's residual is as
// large as it can be, with the query's signs. The bound is then the score itself, but for slack.
void rows_with_the_largest_residual_sit_on_the_bound() {
  for (const std::size_t dim : {1U, 3U, 8U, 31U, 64U, 128U, 512U, 4096U}) {
    for (std::size_t i = 0; i < some_of(60); ++i) {
      std::vector<float> values(dim);
      for (float& x : values) x = rng() % 2 == 0 ? 1.0F : -1.0F;
      std::vector<Code> block(1 + rng() % kBlockRows, Code(dim));
      for (Code& code : block) {
        for (std::size_t d = 0; d < dim; ++d) {
          const int high = static_cast<int>(rng() % 15) + (values[d] > 0 ? 0 : 1);
          code[d] = static_cast<std::int8_t>(16 * high - 128 + (values[d] > 0 ? 15 : 0));
        }
      }
      for (std::size_t lane = 0; lane < block.size(); ++lane) {
        const double score = score_of(values, block[lane]);
        CHECK(keeps(values, block, lane, score), "dim=", dim, " score=", score);
      }
      const double score = score_of(values, block[0]);
      // Here g >= 0, so that nothing is lost but slack and what bfloat16 rounds: below 2^-7 of
      // rho, and as much of what is left of the score without it.
      const double rho =
          7.5 * std::sqrt(static_cast<double>(dim)) / detail::norm_of(block[0].data(), dim);
      const bool tight = rho * (1 + 0x1p-7) < score - 1e-3;
      const std::vector<Code> alone{block[0]};
      if (tight) {
        CHECK(!keeps(values, alone, 0, score * (1 + 0x1p-7) + 4 * detail::kPlaneSlack), "dim=", dim,
              ": the bound is not tight, score=", score);
      }
    }
  }
}

void extreme_rows_keep_their_place() {
  for (const std::size_t dim : {1U, 4U, 127U, 128U, 4096U}) {
    for (const float size : {1e-44F, 1.0F, 3e38F}) {
      std::vector<float> values(dim, size);
      if (dim > 2) values[1] = -size;
      std::vector<Code> block;
      for (const int c : {-128, -127, -1, 1, 127}) {
        block.emplace_back(dim, static_cast<std::int8_t>(c));
        block.emplace_back(dim);
        block.back()[dim - 1] = static_cast<std::int8_t>(c);
      }
      for (std::size_t lane = 0; lane < block.size(); ++lane) {
        CHECK(keeps(values, block, lane, score_of(values, block[lane])), "dim=", dim);
      }
    }
  }
}

void unlike_rows_are_ruled_out() {
  std::size_t kept = 0;
  const std::vector<float> values = random_query(128);
  std::vector<Code> block(kBlockRows);
  for (Code& code : block) code = random_code(128, 127);
  for (std::size_t lane = 0; lane < kBlockRows; ++lane) kept += keeps(values, block, lane, 0.6);
  CHECK(kept == 0, kept, " of 16 random rows were kept at 0.6");
}

int run() {
  for_each_tier(every_length_leaves_what_scalar_leaves);
  for_each_tier(a_row_on_the_cut_is_kept);
  random_rows_keep_their_place();
  rows_with_the_largest_residual_sit_on_the_bound();
  extreme_rows_keep_their_place();
  unlike_rows_are_ruled_out();
  return report("plane");
}

}  // namespace
}  // namespace facegrep::tests

int main() { return facegrep::tests::run(); }
