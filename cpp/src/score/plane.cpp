#include "score/plane.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

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

void store_packed(std::uint8_t* place, std::uint32_t bytes) noexcept {
  std::memcpy(place, &bytes, 4);
}

constexpr double kLargestResidual = 4.0;  // as the slack's derivation needs

}  // namespace

PlaneQuery prepare_plane_query(const Query& query) {
  PlaneQuery out{};
  out.code.assign((query.code.size() + 7) / 8 * 8, 0);
  std::copy(query.code.begin(), query.code.end(), out.code.begin());
  std::int32_t sum = 0;
  double squares = 0.0;
  for (const std::int8_t b : query.code) {
    sum += b;
    squares += double{static_cast<double>(b)} * b;
  }
  out.offset = 241 * sum;
  out.half_scale = query.scale / 2.0;
  out.residual_norm = query.residual_norm;
  out.slope = static_cast<float>(2.0 * std::sqrt(squares));
  out.base = -kInfinity;
  return out;
}

void PlaneQuery::set_cut(double cut) noexcept {
  base = static_cast<float>((cut - residual_norm - kPlaneSlack) / half_scale);
}

Plane::Plane(std::size_t dim)
    : dim_(dim),
      groups_((dim + 7) / 8),
      largest_norm_(
          static_cast<float>(128.0 * std::sqrt(static_cast<double>(dim)) * (1.0 + 0x1p-20))) {}

void Plane::reserve(std::size_t rows) {
  const std::size_t blocks = (rows_ + rows + kBlockRows - 1) / kBlockRows;
  const std::size_t bytes = blocks * block_bytes();
  if (data_.capacity() < bytes) data_.reserve(std::max(bytes, data_.size() + data_.size() / 2));
  if (row_bounds_.capacity() < rows_ + rows) {
    row_bounds_.reserve(std::max(rows_ + rows, rows_ + rows_ / 2));
  }
  if (bounds_.capacity() < blocks) {
    bounds_.reserve(std::max(blocks, bounds_.size() + bounds_.size() / 2));
  }
}

void Plane::append(const std::int8_t* code, double norm) noexcept {
  const std::size_t lane = rows_ % kBlockRows;
  if (lane == 0) {
    data_.resize(data_.size() + block_bytes());
    bounds_.push_back({kInfinity, 0.0F});
  }
  ++rows_;
  std::uint8_t* place = data_.data() + (data_.size() - block_bytes()) + 4 * lane;
  std::size_t d = 0;
  for (; d + 8 <= dim_; d += 8, place += 64) store_packed(place, pack(code + d));
  if (d < dim_) {
    std::int8_t last[8];
    std::fill_n(last, 8, std::int8_t{-128});  // nibble 0
    std::copy(code + d, code + dim_, last);
    store_packed(place, pack(last));
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
  BlockBound& bound = bounds_.back();
  const auto lower = std::nextafterf(static_cast<float>(norm), 0.0F);
  bound.smallest_norm = std::min(bound.smallest_norm, lower);
  const double residual = std::sqrt(squares) / norm;
  const float upper = residual > kLargestResidual
                          ? kInfinity
                          : std::nextafterf(static_cast<float>(residual), kInfinity);
  bound.largest_residual = std::max(bound.largest_residual, upper);
  row_bounds_.push_back({static_cast<float>(1.0 / norm), upper});
}

void Plane::wipe(std::size_t row) noexcept {
  std::uint8_t* place = data_.data() + row / kBlockRows * block_bytes() + 4 * (row % kBlockRows);
  for (std::size_t g = 0; g < groups_; ++g) std::fill_n(place + g * 64, 4, std::uint8_t{0});
}

std::size_t Plane::nbytes() const noexcept {
  return data_.capacity() + bounds_.capacity() * sizeof(BlockBound) +
         row_bounds_.capacity() * sizeof(RowBound);
}

}  // namespace facegrep::detail
