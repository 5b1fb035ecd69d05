// A library as a file, and back. It knows descriptors and bytes; names, places, and whether the
// file is still of use, are the caller's.
//
// The file is a header of one page; the checksum of every later page; and sections, each on pages
// of its own, in the order of the enumeration below, zeros behind them. The header's last four
// bytes are its own CRC-32C, and it holds that of the checksums. So every bit of the file is
// covered, and any page can be checked alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "checksum/crc32c.hpp"
#include "facegrep/filter.hpp"
#include "index/library.hpp"

namespace facegrep::detail {

/// Writes the library to a file of no bytes. Throws std::system_error, SnapshotDamaged if it was
/// loaded from a file that is damaged.
void save(const Library& library, int descriptor, std::string_view notes);

/// Reads what save() wrote. Throws SnapshotDamaged, also of bytes that somebody made up; memory is
/// taken in proportion to the size of the file. Throws std::bad_alloc, std::system_error.
Library load(int descriptor, std::string& notes);

/// Sections. Integers are the machine's, little-endian.
enum Section : std::size_t {
  kChecksums,  // uint32 (pages after these)
  kNotes,      // the caller's bytes
  kFirstRows,  // uint64 (assets + 1)
  kKeys,       // int64 (assets)
  kLive,       // uint64 (words of a bit an asset)
  kIdStarts,   // uint64 (assets + 1): where each id begins in
  kIds,        // UTF-8, one after the other
  kIdTable,    // IdTable::entries()
  kPlane,      // Plane::data()
  kInts,       // of each field: int64 (assets, or none), uint64 (words, or none)
  kTexts = kInts + 2 * kIntFields,    // of each: uint32 codes (assets, or none), uint64 starts
                                      // (strings + 1), strings, IdTable::entries()
  kCodes = kTexts + 4 * kTextFields,  // int8 (rows, dim)
  kSections
};

struct Place {
  std::uint64_t offset;  // whole pages
  std::uint64_t bytes;
};

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t byte_order;
  std::uint32_t dim;
  std::uint32_t id_hash;  // of kMagic: a table of ids is of use where ids have the same hash
  std::uint32_t int_fields;
  std::uint32_t text_fields;
  std::uint32_t checksums_crc;
  std::uint32_t zero;
  Place sections[kSections];
};
static_assert(std::has_unique_object_representations_v<Header>);
static_assert(sizeof(Header) <= kPageBytes - sizeof(std::uint32_t));

inline constexpr char kMagic[] = "FGREPIDX";
inline constexpr std::uint32_t kVersion = 2;
inline constexpr std::uint32_t kByteOrder = 0x01020304;

inline std::size_t pages_for(std::size_t bytes) noexcept {
  return bytes / kPageBytes + (bytes % kPageBytes != 0);
}

}  // namespace facegrep::detail
