#include <algorithm>
#include <limits>

#include "index/scan.hpp"
#include "score/exact.hpp"

namespace facegrep::detail {
namespace {

// Rows compared before the first branch: the loop below becomes four SSE compares and one test.
constexpr std::size_t kBlockRows = 16;

bool any_reaches(const std::int32_t* dots, const float* inverse_norms, float cut) noexcept {
  bool any = false;
  for (std::size_t i = 0; i < kBlockRows; ++i) {
    any |= static_cast<float>(dots[i]) * inverse_norms[i] >= cut;
  }
  return any;
}

}  // namespace

Collector::Collector(const Library& library, const Query& query, std::optional<double> threshold,
                     std::size_t keep)
    : library_(library),
      query_(query),
      threshold_(threshold),
      keep_(keep),
      row_cut_(threshold ? query.row_cut(*threshold)
                         : (keep == 0 ? std::numeric_limits<float>::infinity()
                                      : -std::numeric_limits<float>::infinity())) {}

void Collector::offer(std::size_t first, std::size_t count, const std::int32_t* dots) {
  const float* inverse_norms = library_.inverse_norms.data() + first;
  std::size_t i = 0;
  while (i < count) {
    const std::size_t block = std::min(kBlockRows, count - i);
    if (block == kBlockRows && !any_reaches(dots + i, inverse_norms + i, row_cut_)) {
      i += block;
      continue;
    }
    for (const std::size_t end = i + block; i < end; ++i) {
      if (static_cast<float>(dots[i]) * inverse_norms[i] >= row_cut_) score(first + i);
    }
  }
}

void Collector::score(std::size_t row) {
  const std::uint32_t asset = library_.asset_of[row];
  if (!current_ || current_->asset != asset) {
    end_asset();
    current_ = Match{-2.0, asset, 0};  // below every score
  }
  ++rows_scored_;
  const double exact = exact_score(query_.values, query_.norm, library_.code(row), library_.dim);
  if (exact > current_->score) {
    current_->score = exact;
    current_->row = static_cast<std::uint32_t>(row);
  }
}

void Collector::end_asset() {
  if (!current_) return;
  const Match match = *current_;
  current_.reset();
  if (threshold_) {
    if (match.score >= *threshold_) matches_.push_back(match);
    return;
  }
  const auto worst_on_top = [this](const Match& a, const Match& b) {
    return better(library_, a, b);
  };
  if (matches_.size() == keep_) {
    if (!better(library_, match, matches_.front())) return;
    std::pop_heap(matches_.begin(), matches_.end(), worst_on_top);
    matches_.back() = match;
  } else {
    matches_.push_back(match);
  }
  std::push_heap(matches_.begin(), matches_.end(), worst_on_top);
  if (matches_.size() == keep_) row_cut_ = query_.row_cut(matches_.front().score);
}

void Collector::finish() { end_asset(); }

}  // namespace facegrep::detail
