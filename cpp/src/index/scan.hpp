// The scan: every row of the assets that pass is bounded by its int8 dot, the few that the bound
// cannot rule out are scored exactly and grouped by asset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "filter/bitmap.hpp"
#include "index/library.hpp"
#include "score/query.hpp"

namespace facegrep::detail {

struct Match {
  double score;  // of the asset's best face
  std::uint32_t asset;
  std::uint32_t row;  // the best face; of equal ones the first
};

/// The answer's order: score descending, then media id ascending, bytewise.
inline bool better(const Library& library, const Match& a, const Match& b) noexcept {
  if (a.score != b.score) return a.score > b.score;
  return library.ids[a.asset] < library.ids[b.asset];
}

/// What one query has found so far. With a threshold: every asset at or above it. Without: the best
/// `keep` assets; the cut is then the score of the worst of them, once there are `keep`.
class Collector {
 public:
  Collector(const Library& library, const Query& query, std::optional<double> threshold,
            std::size_t keep);

  /// Rows [first, first + count) with their dots, in ascending order over all calls.
  void offer(std::size_t first, std::size_t count, const std::int32_t* dots);
  /// Ends the last asset. Call once, after the last offer().
  void finish();

  std::vector<Match>& matches() noexcept { return matches_; }
  std::size_t rows_scored() const noexcept { return rows_scored_; }

 private:
  void score(std::size_t row);
  void end_asset();

  const Library& library_;
  const Query& query_;
  const std::optional<double> threshold_;
  const std::size_t keep_;
  float row_cut_;
  std::optional<Match> current_;
  std::vector<Match> matches_;  // a heap with the worst on top once it is full, without a threshold
  std::size_t rows_scored_ = 0;
};

struct ScanCounts {
  std::size_t threads = 0;
  std::size_t rows_scanned = 0;
};

/// Runs all queries over the rows of the assets in `assets`. collectors holds `threads` groups of
/// queries.size() collectors; thread t fills group t.
ScanCounts scan(const Library& library, const std::vector<Query>& queries, const Bitmap& assets,
                std::size_t threads, std::vector<Collector>& collectors);

}  // namespace facegrep::detail
