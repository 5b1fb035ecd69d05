// The packed plane: the high four bits of every code, laid out so that one pass rules out most rows
// on half the bytes, and the proof that it loses none.
//
// Layout. With u = c + 128, hi = u >> 4 in 0..15. A block holds 16 rows, in lines of 64 bytes: the
// rows' bounds, then a line for each group of 8 dimensions. Byte 4 * row + k of group g (row 0..15,
// k 0..3) has dimension 8g + k in its low nibble and 8g + 4 + k in its high one. So a 32-bit lane
// of a vector belongs to one row, a dot product with the query's four bytes broadcast advances 8 or
// 16 rows at once, and nothing is ever summed across lanes. Dimensions past dim are 0 in plane and
// query alike. A bound is 4 bytes, two bfloat16 (the high half of a float32): the low half is
// ||c|| rounded down, the high half rho, below, rounded up; they are off by less than 2^-7 and cost
// a scan one line a block, in its stream. (Bounds of whole blocks, tried first, let 62 % of all
// blocks of 1M face-like rows pass at 0.48, and each then read 128 bytes of exact bounds elsewhere;
// rows' bounds of 2 bytes would save 3 % of the stream at 128-d, and need a scale a block.)
//
// Certificate. Take a, s, b, e of score/query.hpp and c = 16*hi - 120.5 + r, so |r| <= 7.5 in each
// of the dim real dimensions. Then
//
//   <a, c> = s*<b, c> + <e, c> = s*(16*<b, hi> - 120.5*sum(b)) + s*<b, r> + <e, c>
//   cos(q, c) <= s*E / (2*||c||) + s*||b|| * rho + ||e||,    E = 32*<b, hi> - 241*sum(b),
//
// by Cauchy-Schwarz, with rho = ||r|| / ||c||. E is an exact int32: |E| <= 2 * 127 * 128 * 4096.
// The middle term takes ||b||, not ||a||/s: b is what r is multiplied with. A row may be discarded
// at a cut t only if its bound lies strictly below t, that is if
//
//   E < g * ||c||,    g = 2 * (t - ||e|| - slack) / s - 2 * ||b|| * rho.
//
// With g >= 0 the test stays right for a smaller norm and a larger rho, which is what is kept. With
// g < 0 it would need a larger norm; such rows are never discarded: it takes a cut below
// s*||b||*rho + ||e||, some 0.12 at 128 dimensions, at which most rows are close to reaching it.
//
// Slack. The comparison is made in float32; u = 2^-24. For E <= 0 < g it errs only through g. For
// E > 0, float(E) is at least E * (1 - u), and the rounded g * norm at most g * norm * (1 + u). In
// units of the score (times s / 2), g >= 0 leaves base and slope * rho at most t <= 1 each; base is
// rounded once, slope * rho twice, their difference once. That is 6 u together, and their products
// and what float64 adds are below 2^-40. slack = 2^-20 is 16 u.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "memory/growing_array.hpp"
#include "score/kernels.hpp"
#include "score/query.hpp"

namespace facegrep::detail {

inline constexpr double kPlaneSlack = 0x1p-20;

/// A query as the plane's kernels take it, but for its code.
struct PlaneQuery {
  double half_scale;     // s / 2
  double residual_norm;  // ||e||
  PlaneCut cut;  // offset = 241 * sum(b), slope = 2 * ||b||, base = 2 * (t - ||e|| - slack) / s

  explicit PlaneQuery(const Query& query);
  void set_cut(double cut_score) noexcept;
};

/// The codes of `count` queries of one dim side by side, (groups, count, 8), padded with zeros.
std::vector<std::int8_t> side_by_side(const Query* queries, std::size_t count);

/// The plane of a library's rows, in their order.
class Plane {
 public:
  explicit Plane(std::size_t dim);

  std::size_t groups() const noexcept { return groups_; }
  std::size_t block_bytes() const noexcept { return (1 + groups_) * 64; }
  const std::uint8_t* data() const noexcept { return data_.data(); }
  std::size_t data_bytes() const noexcept { return data_.size(); }
  static std::size_t data_bytes(std::size_t dim, std::size_t rows) noexcept {
    return (rows + kBlockRows - 1) / kBlockRows * (1 + (dim + 7) / 8) * 64;
  }
  /// ||code||, rounded down.
  float norm(std::size_t row) const noexcept {
    std::uint32_t bounds;
    std::memcpy(&bounds, line(row), sizeof bounds);
    bounds <<= 16;
    float norm;
    std::memcpy(&norm, &bounds, sizeof norm);
    return norm;
  }
  /// No row's norm() is smaller.
  float smallest_norm() const noexcept { return smallest_norm_; }
  /// Brings what norm() reads into the cache.
  void ask_for_norm(std::size_t row) const noexcept { __builtin_prefetch(line(row)); }

  void reserve(std::size_t rows);
  /// Adds the next row. Call reserve() before.
  void append(const std::int8_t* code, double norm) noexcept;
  /// Takes over data() of another plane of this dim, with so many rows.
  void adopt(GrowingArray<std::uint8_t> data, std::size_t rows) noexcept;
  /// Overwrites a row's nibbles and bounds.
  void wipe(std::size_t row) noexcept;
  std::size_t nbytes() const noexcept;

 private:
  // Where the row's bounds are; its nibbles follow at every 64th byte.
  const std::uint8_t* line(std::size_t row) const noexcept {
    return data_.data() + row / kBlockRows * block_bytes() + row % kBlockRows * 4;
  }
  std::uint8_t* line(std::size_t row) noexcept {
    return data_.data() + row / kBlockRows * block_bytes() + row % kBlockRows * 4;
  }

  std::size_t dim_;
  std::size_t groups_;
  std::size_t rows_ = 0;
  float smallest_norm_ = std::numeric_limits<float>::max();
  GrowingArray<std::uint8_t> data_;  // (blocks, 1 + groups, 64)
};

/// Calls f(row) for each row, ascending.
template <typename F>
void for_each_row(const BlockRows& block, F&& f) {
  for (std::uint32_t left = block.rows; left != 0; left &= left - 1) {
    f(block.block * static_cast<std::uint32_t>(kBlockRows) +
      static_cast<std::uint32_t>(__builtin_ctz(left)));
  }
}

}  // namespace facegrep::detail
