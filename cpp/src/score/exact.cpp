#include "score/exact.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace facegrep::detail {
namespace {

// The eight sums side by side, as the compiler's own vectors: two at a time on any x86-64 or arm64.
// The same additions in the same order as eight scalars, 4 times as fast as GCC 12 makes of those.
using Sums = double __attribute__((vector_size(64)));

using Floats = float __attribute__((vector_size(32)));
using Codes = std::int8_t __attribute__((vector_size(8)));

// Values is eight Ts.
template <typename Values, typename T>
double dot_in_fixed_order(const float* a, const T* b, std::size_t dim) noexcept {
  Sums sums = {};
  std::size_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    Floats x;
    Values y;
    std::memcpy(&x, a + i, sizeof x);
    std::memcpy(&y, b + i, sizeof y);
    sums += __builtin_convertvector(x, Sums) * __builtin_convertvector(y, Sums);
  }
  for (std::size_t j = 0; i + j < dim; ++j) {
    sums[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace

double dot_f64(const float* a, const std::int8_t* b, std::size_t dim) noexcept {
  return dot_in_fixed_order<Codes>(a, b, dim);
}

double dot_f64(const float* a, const float* b, std::size_t dim) noexcept {
  return dot_in_fixed_order<Floats>(a, b, dim);
}

double norm_of(const std::int8_t* code, std::size_t dim) noexcept {
  std::int32_t squares = 0;  // at most 4096 * 128^2 = 2^26
  for (std::size_t i = 0; i < dim; ++i) squares += std::int32_t{code[i]} * std::int32_t{code[i]};
  return std::sqrt(static_cast<double>(squares));
}

double exact_score(const float* query, double query_norm, const std::int8_t* code,
                   std::size_t dim) noexcept {
  const double cosine = dot_f64(query, code, dim) / (query_norm * norm_of(code, dim));
  return std::clamp(cosine, -1.0, 1.0);
}

}  // namespace facegrep::detail
