// The rows and assets of an index. No locks here: face_index.cpp holds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "filter/bitmap.hpp"
#include "filter/columns.hpp"
#include "index/id_arena.hpp"
#include "memory/growing_array.hpp"
#include "score/plane.hpp"

namespace facegrep::detail {

/// Invariants: the rows of an asset are contiguous, assets in the order of adding; asset a owns the
/// rows [first_row[a], first_row[a + 1]). A removed asset keeps its rows (zeroed) and its ordinal
/// until the next compaction; its `live` bit is off and its id forgotten.
struct Library {
  explicit Library(std::size_t dimensions) : dim(dimensions), plane(dimensions) {}

  std::size_t dim;
  GrowingArray<std::int8_t> codes;         // (rows, dim)
  Plane plane;                             // (rows), their high nibbles
  GrowingArray<std::uint32_t> asset_of;    // (rows)
  GrowingArray<std::size_t> first_row{1};  // (assets + 1), from 0 on
  std::vector<std::string_view> ids;       // (assets), in the arena
  GrowingArray<std::int64_t> keys;         // (assets)
  Bitmap live;                             // (assets)
  Columns columns;
  IdArena arena;
  std::unordered_map<std::string_view, std::uint32_t> asset_by_id;  // live ones
  std::size_t live_rows = 0;

  std::size_t rows() const noexcept { return asset_of.size(); }
  std::size_t assets() const noexcept { return ids.size(); }
  std::size_t rows_of(std::size_t asset) const noexcept {
    return first_row[asset + 1] - first_row[asset];
  }
  const std::int8_t* code(std::size_t row) const noexcept { return codes.data() + row * dim; }

  void remove(std::uint32_t asset) noexcept;
  /// A copy of the live assets alone: dead rows, ids and strings are gone from it.
  Library compacted() const;
  std::size_t nbytes() const noexcept;
};

}  // namespace facegrep::detail
