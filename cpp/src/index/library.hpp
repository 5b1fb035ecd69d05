// The rows and assets of an index. No locks here: face_index.cpp holds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "filter/bitmap.hpp"
#include "filter/columns.hpp"
#include "memory/growing_array.hpp"
#include "memory/id_arena.hpp"
#include "memory/id_table.hpp"
#include "memory/late_pages.hpp"
#include "score/plane.hpp"

namespace facegrep::detail {

/// Invariants: the rows of an asset are contiguous, assets in the order of adding; asset a owns the
/// rows [first_row[a], first_row[a + 1]). A removed asset keeps its rows (zeroed) and its ordinal
/// until the next compaction; its `live` bit is off and its id forgotten. Of a library that was
/// loaded, codes come from the file page by page: bring() before reading any.
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
  IdTable asset_by_id;  // live ones
  std::size_t live_rows = 0;
  std::unique_ptr<LatePages> late;  // the first codes, unless this library was never saved

  std::size_t rows() const noexcept { return asset_of.size(); }
  std::size_t assets() const noexcept { return ids.size(); }
  std::size_t rows_of(std::size_t asset) const noexcept {
    return first_row[asset + 1] - first_row[asset];
  }
  const std::int8_t* code(std::size_t row) const noexcept { return codes.data() + row * dim; }

  /// Whether codes may have to be brought before they are read.
  bool is_late() const noexcept { return late != nullptr && !late->complete(); }
  /// Asks for a row's code without waiting for it.
  void ask_for(std::size_t row) const noexcept {
    if (is_late()) late->ask_for(row * dim, (row + 1) * dim);
  }
  /// Puts the codes of rows in place, [first, last) or as listed. Throws SnapshotDamaged.
  void bring(std::size_t first, std::size_t last) const;
  void bring_rows(const std::uint32_t* rows, std::size_t count) const;

  void remove(std::uint32_t asset) noexcept;
  /// A copy of the live assets alone: dead rows, ids and strings are gone from it.
  Library compacted() const;
  std::size_t nbytes() const noexcept;
};

}  // namespace facegrep::detail
