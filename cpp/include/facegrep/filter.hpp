// Conditions on the fields of an asset. All of them must hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace facegrep {

enum class IntField : std::uint8_t { kIntField1, kUtcCreate };
enum class TextField : std::uint8_t { kStrField1, kStrField2, kMediaType, kNamespace };

inline constexpr std::size_t kIntFields = 2;
inline constexpr std::size_t kTextFields = 4;

/// Both ends belong to the range.
struct IntRange {
  std::int64_t lowest;
  std::int64_t highest;
};

/// The field lies in one of the ranges. No range matches nothing; an asset without the field never
/// matches.
struct IntCondition {
  IntField field;
  std::vector<IntRange> any_of;
};

/// The field equals one of the strings, byte for byte. No string matches nothing; an asset without
/// the field never matches.
struct TextCondition {
  TextField field;
  std::vector<std::string> any_of;
};

struct Filter {
  std::vector<IntCondition> ints;
  std::vector<TextCondition> texts;
  /// The keys of the assets that may pass, in any order; none given: all may.
  std::optional<std::vector<std::int64_t>> keys = std::nullopt;
};

}  // namespace facegrep
