// The score itself. One function, no instruction-set variants: every tier and every plan gives the
// same bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facegrep::detail {

/// The sum of a[i] * b[i] in float64, in one fixed order: eight running sums, sum j over the
/// i = j mod 8 in ascending order, then ((0+1)+(2+3)) + ((4+5)+(6+7)). A float32 times an int8, or
/// a float32 times a float32, is exact in float64, so only the additions round.
double dot_f64(const float* a, const std::int8_t* b, std::size_t dim) noexcept;
double dot_f64(const float* a, const float* b, std::size_t dim) noexcept;

/// The Euclidean norm of a code: the root of an exact integer.
double norm_of(const std::int8_t* code, std::size_t dim) noexcept;

/// The cosine of the query with a code: dot_f64 / (query_norm * norm_of(code)), clamped to [-1, 1].
/// `query_norm` is sqrt(dot_f64(query, query)). The code must not be all zero.
double exact_score(const float* query, double query_norm, const std::int8_t* code,
                   std::size_t dim) noexcept;

}  // namespace facegrep::detail
