// The packed plane: every tier finds what the scalar kernel finds at every length, on buffers of
// the exact size; and no row that reaches a cut is ever ruled out. Twin:
// tests/test_index_search.py.

#include "score/plane.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
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

// For each query and block: its lanes and, where there are any, E of its rows.
using Found = std::vector<std::int64_t>;

Found found_by(const detail::Tier& tier, const std::vector<detail::PlaneScan>& scans,
               const std::uint8_t* plane, const detail::BlockBound* bounds, std::size_t blocks) {
  const auto hits = std::make_unique<detail::BlockHit[]>(scans.size() * blocks);
  const auto counts = std::make_unique<std::size_t[]>(scans.size());
  tier.score->scan_plane[scans.size() - 1](scans.data(), plane, bounds, blocks, hits.get(),
                                           counts.get());
  Found found;
  for (std::size_t q = 0; q < scans.size(); ++q) {
    const detail::BlockHit* hit = hits.get() + q * blocks;
    const detail::BlockHit* const end = hit + counts[q];
    for (std::size_t b = 0; b < blocks; ++b) {
      if (hit == end || hit->block != b) {
        found.push_back(0);
        continue;
      }
      CHECK(hit->lanes != 0, tier.isa, " lists a block without a lane");
      found.push_back(hit->lanes);
      found.insert(found.end(), hit->e, hit->e + kBlockRows);
      ++hit;
    }
    CHECK(hit == end, tier.isa, " lists a block twice, or out of order");
  }
  return found;
}

void every_length_finds_what_scalar_finds(const detail::Tier& tier) {
  std::uniform_real_distribution<float> unit(0.0F, 1.0F);
  for (std::size_t groups = 0; groups <= 33; ++groups) {
    for (const std::size_t blocks : {0U, 1U, 2U, 3U, 5U}) {
      const auto plane = std::make_unique<std::uint8_t[]>(blocks * groups * 64);
      std::unique_ptr<std::int8_t[]> codes[detail::kPlaneQueries];
      std::int32_t sums[detail::kPlaneQueries] = {};
      const bool extreme = groups % 3 == 0;  // the largest sums that there can be
      for (std::size_t i = 0; i < blocks * groups * 64; ++i) {
        plane[i] = extreme ? 0xFF : static_cast<std::uint8_t>(rng());
      }
      for (std::size_t q = 0; q < detail::kPlaneQueries; ++q) {
        codes[q] = std::make_unique<std::int8_t[]>(groups * 8);
        for (std::size_t i = 0; i < groups * 8; ++i) {
          const int any = static_cast<int>(rng() % 255) - 127;
          codes[q][i] = static_cast<std::int8_t>(extreme ? (q % 2 == 0 ? 127 : -127) : any);
          sums[q] += codes[q][i];
        }
      }
      const auto bounds = std::make_unique<detail::BlockBound[]>(blocks);
      for (std::size_t b = 0; b < blocks; ++b) {
        bounds[b] = {300.0F + 100.0F * unit(rng), rng() % 9 == 0 ? kInfinity : 0.2F * unit(rng)};
      }
      for (const float base : {kNan, -kInfinity, -40.0F, 0.0F, 15.0F, 100.0F, 1e9F}) {
        std::vector<detail::PlaneScan> scans;
        for (std::size_t q = 0; q <= rng() % detail::kPlaneQueries; ++q) {
          const float further = base + 7.0F * static_cast<float>(q);
          scans.push_back({codes[q].get(), groups, 241 * sums[q], 50.0F, further, 4000.0F});
        }
        CHECK(found_by(tier, scans, plane.get(), bounds.get(), blocks) ==
                  found_by(scalar_tier(), scans, plane.get(), bounds.get(), blocks),
              tier.isa, " groups=", groups, " blocks=", blocks, " base=", base);
      }
    }
  }
}

void a_row_on_the_cut_is_kept(const detail::Tier& tier) {
  const std::vector<std::uint8_t> plane(64, 0x21);  // every dot is 4 * 1 * 3 + 4 * 2 * 5 = 52
  const std::int8_t code[8] = {3, 3, 3, 3, 5, 5, 5, 5};
  const detail::BlockBound bound{1.0F, 0.0F};
  for (const float above : {0.0F, 1.0F}) {
    const detail::PlaneScan scan{code, 1, 7, 0.0F, 32 * 52 - 7 + above, 1.0F};
    CHECK(found_by(tier, {scan}, plane.data(), &bound, 1)[0] == (above > 0 ? 0 : 0xFFFF), tier.isa,
          " above=", above);
  }
}

// Whether the plane keeps row `lane` of a block of these codes at the cut.
bool keeps(const std::vector<float>& values, const std::vector<Code>& block, std::size_t lane,
           double cut) {
  detail::Plane plane(values.size());
  plane.reserve(block.size());
  for (const Code& code : block) {
    plane.append(code.data(), detail::norm_of(code.data(), code.size()));
  }
  const detail::Query query = detail::prepare_query(values.data(), values.size(), 0);
  detail::PlaneQuery ready = detail::prepare_plane_query(query);
  ready.set_cut(cut);
  const detail::PlaneScan scan = detail::plane_scan(plane, ready);
  const Found found = found_by(detail::active_tier(), {scan}, plane.block(0), plane.bounds(), 1);
  const std::int64_t mask = found[0];
  std::int32_t e = 0;
  if (mask != 0) e = static_cast<std::int32_t>(found[1 + lane]);
  return ((mask >> lane) & 1) != 0 && detail::reaches(scan, e, plane.row(lane));
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
      // Here g >= 0, so that the block's norm is the row's own and nothing but slack is lost.
      const double rho =
          7.5 * std::sqrt(static_cast<double>(dim)) / detail::norm_of(block[0].data(), dim);
      const bool tight = rho < 4.0 && rho < score - 1e-3;
      const std::vector<Code> alone{block[0]};
      if (tight) {
        CHECK(!keeps(values, alone, 0, score + 4 * detail::kPlaneSlack), "dim=", dim,
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
  for_each_tier(every_length_finds_what_scalar_finds);
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
