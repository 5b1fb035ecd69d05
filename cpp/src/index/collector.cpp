#include "index/collector.hpp"

#include <algorithm>
#include <limits>

#include "score/exact.hpp"

namespace facegrep::detail {

Collector::Collector(const Library& library, const Query& query, std::optional<double> threshold,
                     std::size_t keep)
    : library_(library), query_(query), threshold_(threshold), keep_(keep) {
  raise_cut(threshold.value_or(-std::numeric_limits<double>::infinity()));
}

void Collector::raise_cut(double cut) noexcept {
  cut_ = cut;
  row_cut_ = query_.row_cut(cut);
}

void Collector::offer(const std::uint32_t* rows, std::size_t count, const std::int32_t* dots) {
  for (std::size_t i = 0; i < count; ++i) {
    if (static_cast<float>(dots[i]) * library_.plane.inverse_norm(rows[i]) >= row_cut_) {
      score(rows[i]);
    }
  }
}

void Collector::score(std::uint32_t row) {
  const std::uint32_t asset = library_.asset_of[row];
  if (!current_ || current_->asset != asset) {
    end_asset();
    current_ = Match{-2.0, asset, 0};  // below every score
  }
  ++counts.rows_scored;
  const double exact = exact_score(query_.values, query_.norm, library_.code(row), library_.dim);
  if (exact > current_->score) {
    current_->score = exact;
    current_->row = row;
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
  if (matches_.size() == keep_) raise_cut(matches_.front().score);
}

}  // namespace facegrep::detail
