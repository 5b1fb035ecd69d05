#include "score/exact.hpp"

#include <algorithm>
#include <cmath>

namespace facegrep::detail {
namespace {

template <typename T>
double dot_in_fixed_order(const float* a, const T* b, std::size_t dim) noexcept {
  double sum[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    for (std::size_t j = 0; j < 8; ++j) {
      sum[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
    }
  }
  for (std::size_t j = 0; i + j < dim; ++j) {
    sum[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  }
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

}  // namespace

double dot_f64(const float* a, const std::int8_t* b, std::size_t dim) noexcept {
  return dot_in_fixed_order(a, b, dim);
}

double dot_f64(const float* a, const float* b, std::size_t dim) noexcept {
  return dot_in_fixed_order(a, b, dim);
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
