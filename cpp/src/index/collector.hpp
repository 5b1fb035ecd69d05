// What one query has found so far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

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

/// What one query did in one thread's part.
struct ScanCounts {
  std::size_t rows_scanned = 0;    // of the blocks that the plane bounded, or of a gather
  std::size_t blocks_scanned = 0;  // of the plane
  std::size_t blocks_settled = 0;  // of these, ruled out whole
  std::size_t rows_dotted = 0;     // whose int8 dot was taken
  std::size_t rows_scored = 0;     // scored exactly
  std::size_t bytes_touched = 0;   // of plane, bounds and codes

  ScanCounts& operator+=(const ScanCounts& other) noexcept {
    rows_scanned += other.rows_scanned;
    blocks_scanned += other.blocks_scanned;
    blocks_settled += other.blocks_settled;
    rows_dotted += other.rows_dotted;
    rows_scored += other.rows_scored;
    bytes_touched += other.bytes_touched;
    return *this;
  }
};

/// With a threshold: every asset at or above it. Without: the best `keep` assets; the cut is then
/// the score of the worst of them, once there are `keep`.
class Collector {
 public:
  Collector(const Library& library, const Query& query, std::optional<double> threshold,
            std::size_t keep);

  /// Rows whose bound lies below this cannot change the answer any more. It only rises.
  double cut() const noexcept { return cut_; }

  /// Rows with their int8 dots, in ascending order over all calls.
  void offer(const std::uint32_t* rows, std::size_t count, const std::int32_t* dots);
  /// Ends the last asset. Call once, after the last offer().
  void finish() { end_asset(); }

  std::vector<Match>& matches() noexcept { return matches_; }
  ScanCounts counts;

 private:
  void score(std::uint32_t row);
  void end_asset();
  void raise_cut(double cut) noexcept;

  const Library& library_;
  const Query& query_;
  const std::optional<double> threshold_;
  const std::size_t keep_;
  double cut_;
  float row_cut_;
  std::optional<Match> current_;
  std::vector<Match> matches_;  // without a threshold a heap, once it is full: the worst on top
};

}  // namespace facegrep::detail
