#include "score/plane.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace facegrep::detail {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Four bytes of a row: the high nibbles of eight codes, as score/plane.hpp lays them out.
std::uint32_t pack(const std::int8_t* codes) noexcept {
  std::uint32_t low;
  std::uint32_t high;
  std::memcpy(&low, codes, 4);
  std::memcpy(&high, codes + 4, 4);
  low ^= 0x80808080U;  // c + 128 in each byte
  high ^= 0x80808080U;
  return ((low >> 4) & 0x0F0F0F0FU) | (high & 0xF0F0F0F0U);
}

void store(std::uint8_t* place, std::uint32_t bytes) noexcept { std::memcpy(place, &bytes, 4); }

std::uint32_t bits_of(float value) noexcept {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

// A row's bounds as two bfloat16, in the bytes of its lane; values are positive.
std::uint32_t bounds_of(double norm, double residual) noexcept {
  const float lower = std::nextafterf(static_cast<float>(norm), 0.0F);
  const float upper = std::nextafterf(static_cast<float>(residual), kInfinity);
  return ((bits_of(upper) + 0xFFFFU) & 0xFFFF0000U) | bits_of(lower) >> 16;
}

// Of a row that is not there: at any cut with g > 0 the kernels need not look at it.
const std::uint32_t kNoRow = bits_of(std::numeric_limits<float>::max()) >> 16;

}  // namespace

PlaneQuery::PlaneQuery(const Query& query)
    : half_scale(query.scale / 2.0), residual_norm(query.residual_norm), cut{} {
  std::int32_t sum = 0;
  double squares = 0.0;
  for (const std::int8_t b : query.code) {
    sum += b;
    squares += double{static_cast<double>(b)} * b;
  }
  cut = {241 * sum, static_cast<float>(2.0 * std::sqrt(squares)), -kInfinity};
}

void PlaneQuery::set_cut(double cut_score) noexcept {
  cut.base = static_cast<float>((cut_score - residual_norm - kPlaneSlack) / half_scale);
}

std::vector<std::int8_t> side_by_side(const Query* queries, std::size_t count) {
  const std::size_t dim = queries[0].code.size();
  std::vector<std::int8_t> codes((dim + 7) / 8 * count * 8);
  for (std::size_t q = 0; q < count; ++q) {
    for (std::size_t d = 0; d < dim; ++d) {
      codes[(d / 8 * count + q) * 8 + d % 8] = queries[q].code[d];
    }
  }
  return codes;
}

Plane::Plane(std::size_t dim) : dim_(dim), groups_((dim + 7) / 8) {}

void Plane::reserve(std::size_t rows) {
  data_.reserve((rows_ + rows + kBlockRows - 1) / kBlockRows * block_bytes());
}

void Plane::append(const std::int8_t* code, double norm) noexcept {
  const std::size_t row = rows_++;
  if (row % kBlockRows == 0) {
    data_.resize(data_.size() + block_bytes());
    for (std::size_t r = row; r < row + kBlockRows; ++r) store(line(r), kNoRow);
  }
  std::uint8_t* place = line(row) + 64;
  std::size_t d = 0;
  for (; d + 8 <= dim_; d += 8, place += 64) store(place, pack(code + d));
  if (d < dim_) {
    std::int8_t last[8];
    std::fill_n(last, 8, std::int8_t{-128});  // nibble 0
    std::copy(code + d, code + dim_, last);
    store(place, pack(last));
  }
  // sum of (low - 7.5)^2, in integers
  std::int32_t sum = 0;
  std::int32_t squares_sum = 0;
  for (std::size_t i = 0; i < dim_; ++i) {
    const std::int32_t low = code[i] & 15;  // of u = c + 128 as well
    sum += low;
    squares_sum += low * low;
  }
  const double squares = squares_sum - 15.0 * sum + 56.25 * static_cast<double>(dim_);
  store(line(row), bounds_of(norm, std::sqrt(squares) / norm));
  smallest_norm_ = std::min(smallest_norm_, this->norm(row));
}

void Plane::adopt(GrowingArray<std::uint8_t> data, std::size_t rows) noexcept {
  data_ = std::move(data);
  rows_ = rows;
  for (std::size_t row = 0; row < rows; ++row) {
    smallest_norm_ = std::min(smallest_norm_, norm(row));
  }
}

void Plane::wipe(std::size_t row) noexcept {
  std::uint8_t* const place = line(row);
  store(place, kNoRow);
  for (std::size_t g = 1; g <= groups_; ++g) store(place + g * 64, 0);
}

std::size_t Plane::nbytes() const noexcept { return data_.capacity_bytes(); }

}  // namespace facegrep::detail
