// A query made ready for the scan, and the proof that the scan loses nothing.
//
// Certificate. Let q be the float32 query, c a row's int8 code, a = q / ||q||. Quantise the query
// too: s = max|a| / 127, b = rint(a / s) in [-127, 127], e = a - s*b. Then
//
//   cos(q, c) = <a, c> / ||c|| = (s * <b, c> + <e, c>) / ||c||
//            <= s * <b, c> / ||c|| + ||e||                       (Cauchy-Schwarz on <e, c>)
//
// <b, c> is the exact int32 of the kernels. A row may be discarded only if its bound is strictly
// below the cut (the threshold, or the running k-th best score): an equal score can still win on
// its media id. With a norm n <= ||c||, as the plane keeps it, and where row_cut >= 0, a row is
// discarded if, in float32,
//
//   float(<b, c>) < row_cut * n,    row_cut = (cut - ||e|| - slack) / s, rounded down.
//
// Where row_cut < 0, at a cut below some 0.006 at 128 dimensions, none is.
//
// Slack. u = 2^-24. For <b, c> <= 0 the bound is at most ||e|| <= cut - slack. For <b, c> > 0,
// float(<b, c>) is at least <b, c> * (1 - u), and the rounded product at most row_cut * n * (1 +
// u): in units of the score, where row_cut * s <= 1, that is 2.01 u together. What float64 adds
// (the exact score's own rounding, the quotients a, s, e) is below 2^-40. slack = 2^-22 is 4 u.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace facegrep::detail {

inline constexpr double kSlack = 0x1p-22;

struct Query {
  const float* values;            // the caller's, (dim)
  double norm;                    // sqrt(dot_f64(values, values))
  std::vector<std::int8_t> code;  // b
  double scale;                   // s
  double residual_norm;           // ||e||

  float row_cut(double cut) const noexcept;
};

inline bool is_ruled_out(std::int32_t dot, float norm, float row_cut) noexcept {
  return row_cut >= 0.0F && static_cast<float>(dot) < row_cut * norm;
}

/// Throws InvalidArgument unless the query is finite and not all zero; `number` is named then.
Query prepare_query(const float* values, std::size_t dim, std::size_t number);

}  // namespace facegrep::detail
