// What a search found: plain data that never changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace facegrep {

/// What a search did, for people and tests.
struct Plan {
  const char* strategy;  // "plane": whole blocks of the packed plane; "gather": the filter's rows
  const char* isa;
  std::size_t threads;
  std::size_t rows_live;
  std::size_t rows_in_filter;
  std::size_t rows_scanned;    // of the blocks that the plane bounded, or of a gather
  std::size_t blocks_scanned;  // of the plane, 16 rows each
  std::size_t blocks_settled;  // of these, ruled out whole by the plane's bound
  std::size_t rows_dotted;     // whose int8 dot was taken
  std::size_t rows_scored;     // that no bound could rule out: scored exactly
  std::size_t bytes_touched;   // of plane, bounds and codes
};

/// The matches of one query, best first: with a threshold all of them, else the best offset +
/// limit.
class SearchResult {
 public:
  /// Distinct live assets that pass the filter and, with a threshold, have a face at or above it.
  std::size_t total = 0;
  std::optional<double> threshold;
  std::size_t limit = 0;
  std::size_t offset = 0;
  Plan plan{};

  std::vector<double> scores;        // (matches), of each asset's best face
  std::vector<std::int64_t> keys;    // (matches), as given to add()
  std::vector<std::uint32_t> faces;  // (matches), ordinal of the best face in its asset

  std::size_t size() const noexcept { return scores.size(); }
  std::string_view media_id(std::size_t match) const noexcept {
    return std::string_view(ids_).substr(ends_[match], ends_[match + 1] - ends_[match]);
  }
  void append(std::string_view media_id, double score, std::int64_t key, std::uint32_t face);
  void reserve(std::size_t matches, std::size_t id_bytes);

 private:
  std::string ids_;                   // all media ids, one after the other
  std::vector<std::size_t> ends_{0};  // (matches + 1)
};

}  // namespace facegrep
