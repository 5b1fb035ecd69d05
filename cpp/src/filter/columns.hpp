// The fields of the assets, one column a field. A column that no asset uses takes no memory.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "facegrep/filter.hpp"
#include "filter/bitmap.hpp"
#include "memory/growing_array.hpp"
#include "memory/id_arena.hpp"
#include "memory/id_table.hpp"

namespace facegrep::detail {

/// What one asset has in its fields.
struct AssetFields {
  std::array<std::optional<std::int64_t>, kIntFields> ints;
  std::array<std::optional<std::string_view>, kTextFields> texts;

  bool operator==(const AssetFields& other) const noexcept {
    return ints == other.ints && texts == other.texts;
  }
};

/// The same, with strings as codes of the columns' dictionaries (0: absent).
struct EncodedFields {
  std::array<std::optional<std::int64_t>, kIntFields> ints;
  std::array<std::uint32_t, kTextFields> codes{};
};

struct IntColumn {
  GrowingArray<std::int64_t> values;  // 0 where absent
  Bitmap present;
};

/// Strings as codes of a dictionary; code 0 is "absent". A string that no asset uses any more is
/// overwritten and gone: a dictionary that kept it would bring what was erased into saved indexes.
struct TextColumn {
  GrowingArray<std::uint32_t> codes;
  std::vector<std::string_view> strings{std::string_view()};  // by code, in the arena
  std::vector<std::uint32_t> uses{0};                         // by code: how many assets have it
  IdArena arena;
  IdTable code_of;
};

class Columns {
 public:
  /// Makes room for these, so that append() cannot throw.
  void reserve(const std::vector<EncodedFields>& more);
  /// Gives the strings of `fields` their codes. Adds no asset: it must come soon, or take_back().
  EncodedFields encode(const AssetFields& fields);
  /// Forgets strings that encode() brought for assets that did not come.
  void take_back(const std::vector<EncodedFields>& fields) noexcept;
  /// Adds the next asset.
  void append(const EncodedFields& fields);
  /// Overwrites what an asset has in its fields: it has nothing in them then.
  void wipe(std::size_t asset) noexcept;

  /// Takes over the columns of so many assets.
  void adopt(std::size_t size, std::array<IntColumn, kIntFields> ints,
             std::array<TextColumn, kTextFields> texts) noexcept {
    size_ = size;
    ints_ = std::move(ints);
    texts_ = std::move(texts);
  }

  std::size_t size() const noexcept { return size_; }
  AssetFields at(std::size_t asset) const;
  std::size_t nbytes() const noexcept;

  const IntColumn& of(IntField field) const { return ints_[static_cast<std::size_t>(field)]; }
  const TextColumn& of(TextField field) const { return texts_[static_cast<std::size_t>(field)]; }

 private:
  std::size_t size_ = 0;
  std::array<IntColumn, kIntFields> ints_;
  std::array<TextColumn, kTextFields> texts_;
};

/// Clears the bits of the assets that do not satisfy the filter.
void apply(const Filter& filter, const Columns& columns, Bitmap& assets);

}  // namespace facegrep::detail
