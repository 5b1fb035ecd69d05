#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "facegrep/error.hpp"
#include "facegrep/quantize.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/text.hpp"

namespace facegrep::detail {
namespace {

constexpr std::uint64_t kMostRows = IdTable::kNone - 1;  // what add() allows, assets as well
constexpr std::size_t kPagesAtOnce = 48;  // 192 KiB: still in the second-level cache when checked

[[noreturn]] void refuse(const std::string& what) { throw SnapshotDamaged("saved index: " + what); }

void require(bool holds, const char* what) {
  if (!holds) refuse(what);
}

class Reader {
 public:
  explicit Reader(int descriptor) : descriptor_(descriptor) {
    struct stat status{};
    if (fstat(descriptor, &status) != 0) {
      throw std::system_error(errno, std::generic_category(), "looking at a saved index");
    }
    require(S_ISREG(status.st_mode), "it is not a file");
    size_ = static_cast<std::uint64_t>(status.st_size);
    read_header();
    read_checksums();
  }

  const Header& header() const noexcept { return header_; }
  std::uint64_t bytes(std::size_t section) const noexcept {
    return header_.sections[section].bytes;
  }

  /// Reads a section, which must be this long, into `to`.
  void read(std::size_t section, void* to, std::uint64_t bytes) const {
    const Place& place = header_.sections[section];
    require(place.bytes == bytes, "a section has another length than its neighbours say");
    auto* out = static_cast<std::byte*>(to);
    std::size_t page = place.offset / kPageBytes;
    std::size_t whole = place.bytes / kPageBytes;
    while (whole > 0) {
      const std::size_t count = std::min(whole, kPagesAtOnce);
      read_pages(page, count, out);
      out += count * kPageBytes;
      page += count;
      whole -= count;
    }
    if (const std::size_t rest = place.bytes % kPageBytes; rest != 0) {
      std::byte last[kPageBytes];
      read_pages(page, 1, last);
      std::memcpy(out, last, rest);
    }
  }

  template <typename T>
  GrowingArray<T> array(std::size_t section, std::uint64_t size) const {
    GrowingArray<T> values;
    require(bytes(section) == size * sizeof(T),
            "a section has another length than its neighbours say");
    if (size > 0) read(section, values.extend(size), size * sizeof(T));
    return values;
  }

  template <typename T>
  std::vector<T> vector(std::size_t section, std::uint64_t size) const {
    require(bytes(section) == size * sizeof(T),
            "a section has another length than its neighbours say");
    std::vector<T> values(size);
    read(section, values.data(), size * sizeof(T));
    return values;
  }

  /// The pages of a section, to be read later.
  std::unique_ptr<LatePages> late(std::size_t section) const {
    const Place& place = header_.sections[section];
    const auto* const first = checksums_.data() + (place.offset / kPageBytes - first_page_);
    return std::make_unique<LatePages>(
        descriptor_, place.offset, place.bytes,
        std::vector<std::uint32_t>(first, first + pages_for(place.bytes)));
  }

 private:
  void read_bytes(void* to, std::size_t bytes, std::uint64_t offset) const {
    auto* out = static_cast<std::byte*>(to);
    while (bytes > 0) {
      const ssize_t count = pread(descriptor_, out, bytes, static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) refuse(std::string("reading failed: ") + strerror(errno));
      require(count > 0, "the file became shorter");
      out += count;
      bytes -= static_cast<std::size_t>(count);
      offset += static_cast<std::uint64_t>(count);
    }
  }

  void read_header() {
    std::byte page[kPageBytes];
    require(size_ >= kPageBytes && size_ % kPageBytes == 0, "the file is not whole");
    read_bytes(page, kPageBytes, 0);
    std::memcpy(&header_, page, sizeof(header_));
    require(std::memcmp(header_.magic, kMagic, sizeof(header_.magic)) == 0, "it is none");
    std::uint32_t crc = 0;
    std::memcpy(&crc, page + kPageBytes - sizeof(crc), sizeof(crc));
    require(crc == crc32c(page, kPageBytes - sizeof(crc)), "its header fails its checksum");
    require(header_.version == kVersion, "it is of another version");
    require(header_.byte_order == kByteOrder && header_.id_hash == IdTable::hash_of(kMagic) &&
                header_.int_fields == kIntFields && header_.text_fields == kTextFields,
            "it was made by a build of another kind");
    require(header_.dim >= 1 && header_.dim <= kMaxDim, "no index has such a dim");
    std::uint64_t end = kPageBytes;
    for (const Place& place : header_.sections) {
      require(place.offset == end && place.bytes <= size_ - end,
              "its sections do not fit the file");
      end += pages_for(place.bytes) * kPageBytes;
    }
    require(end == size_, "its sections do not fit the file");
  }

  void read_checksums() {
    const Place& place = header_.sections[kChecksums];
    first_page_ = header_.sections[kNotes].offset / kPageBytes;
    const std::uint64_t pages = size_ / kPageBytes - first_page_;
    require(place.bytes == pages * sizeof(std::uint32_t), "it lacks checksums");
    checksums_.resize(pages_for(place.bytes) * kPageBytes / sizeof(std::uint32_t));
    read_bytes(checksums_.data(), checksums_.size() * sizeof(std::uint32_t), place.offset);
    require(crc32c(checksums_.data(), checksums_.size() * sizeof(std::uint32_t)) ==
                header_.checksums_crc,
            "its checksums fail theirs");
  }

  void read_pages(std::size_t first, std::size_t count, std::byte* to) const {
    std::uint32_t found[kPagesAtOnce];
    read_bytes(to, count * kPageBytes, first * kPageBytes);
    crc32c_pages(to, count, found);
    require(std::equal(found, found + count, checksums_.data() + (first - first_page_)),
            "a page fails its checksum");
  }

  int descriptor_;
  std::uint64_t size_ = 0;
  Header header_{};
  std::uint64_t first_page_ = 0;  // whose checksum is the first
  std::vector<std::uint32_t> checksums_;
};

// Whether no bit is set past the last of `size`.
bool ends_in_zeros(const Bitmap& bitmap, std::size_t size) {
  return size % 64 == 0 || bitmap.empty() || bitmap.back() >> size % 64 == 0;
}

// Strings that were saved one after the other: into the arena, and views of them. Throws if they do
// not cover each other without a gap.
std::vector<std::string_view> read_strings(const Reader& in, std::size_t starts_section,
                                           std::size_t count, IdArena& arena) {
  const auto starts = in.vector<std::uint64_t>(starts_section, count + 1);
  const std::uint64_t bytes = in.bytes(starts_section + 1);
  require(
      starts.front() == 0 && starts.back() == bytes && std::is_sorted(starts.begin(), starts.end()),
      "its strings overlap");
  const char* const text = arena.store_at_once(bytes);
  in.read(starts_section + 1, const_cast<char*>(text), bytes);
  std::vector<std::string_view> strings(count);
  for (std::size_t i = 0; i < count; ++i) {
    strings[i] = {text + starts[i], static_cast<std::size_t>(starts[i + 1] - starts[i])};
  }
  return strings;
}

// A table whose entries are the numbers in `numbers`, each once. Where it looks for an id by
// another hash than that of the id, it does not find it; that is what whoever made it up deserves.
void read_table(const Reader& in, std::size_t section, Bitmap numbers, IdTable& table) {
  using Entry = IdTable::Entry;
  auto entries = in.array<Entry>(section, in.bytes(section) / sizeof(Entry));
  for (const Entry& entry : entries) {
    if (entry.asset == IdTable::kNone) continue;
    require(test(numbers, entry.asset), "its table of ids names what is not there, or twice");
    clear(numbers, entry.asset);
  }
  require(popcount(numbers) == 0 && table.adopt(std::move(entries)),
          "its table of ids is incomplete");
}

void read_ids(const Reader& in, Library& library) {
  const std::size_t assets = library.keys.size();
  library.ids = read_strings(in, kIdStarts, assets, library.arena);
  for (std::size_t asset = 0; asset < assets; ++asset) {
    const std::string_view id = library.ids[asset];
    require(id.empty() != test(library.live, asset), "an asset has no id, or a removed one has");
    require(is_printable_ascii(id) || is_text(id), "an id is not text without control characters");
  }
  read_table(in, kIdTable, library.live, library.asset_by_id);
}

void read_columns(const Reader& in, Library& library) {
  const std::size_t assets = library.keys.size();
  const std::size_t words = words_for(assets);
  std::array<IntColumn, kIntFields> ints;
  for (std::size_t f = 0; f < kIntFields; ++f) {
    const std::size_t section = kInts + 2 * f;
    const bool used = in.bytes(section) > 0;
    ints[f].values = in.array<std::int64_t>(section, used ? assets : 0);
    ints[f].present = in.vector<std::uint64_t>(section + 1, used ? words : 0);
    require(ends_in_zeros(ints[f].present, assets), "a column has more values than assets");
  }
  std::array<TextColumn, kTextFields> texts;
  for (std::size_t f = 0; f < kTextFields; ++f) {
    const std::size_t section = kTexts + 4 * f;
    TextColumn& column = texts[f];
    column.codes = in.array<std::uint32_t>(section, in.bytes(section) > 0 ? assets : 0);
    const std::uint64_t starts = in.bytes(section + 1) / sizeof(std::uint64_t);
    require(starts >= 2 && starts <= IdTable::kNone, "a column has no strings");
    const std::size_t count = starts - 1;
    column.strings = read_strings(in, section + 1, count, column.arena);
    require(column.strings.front().empty(), "a column has no string for an absent one");
    column.uses.resize(count);
    Bitmap used(words_for(count));
    for (const std::uint32_t code : column.codes) {
      require(code < count, "a column names a string that is not there");
      if (code == 0) continue;
      ++column.uses[code];
      set(used, code);
    }
    for (std::size_t code = 1; code < count; ++code) {
      require(test(used, code) || column.strings[code].empty(), "a column has a string of nobody");
    }
    read_table(in, section + 3, std::move(used), column.code_of);
  }
  library.columns.adopt(assets, std::move(ints), std::move(texts));
}

}  // namespace

Library load(int descriptor, std::string& notes) {
  const Reader in(descriptor);
  Library library(in.header().dim);
  const std::uint64_t assets = in.bytes(kKeys) / sizeof(std::int64_t);
  const std::uint64_t rows = in.bytes(kCodes) / library.dim;
  require(assets <= rows && rows <= kMostRows, "it has more assets or faces than an index can");

  notes.resize(in.bytes(kNotes));
  in.read(kNotes, notes.data(), notes.size());
  library.first_row = in.array<std::size_t>(kFirstRows, assets + 1);
  require(library.first_row[0] == 0 && library.first_row.back() == rows, "it has other rows");
  for (std::size_t asset = 0; asset < assets; ++asset) {
    require(library.first_row[asset] < library.first_row[asset + 1], "an asset has no faces");
  }
  library.asset_of.reserve(rows);
  for (std::size_t asset = 0; asset < assets; ++asset) {
    library.asset_of.append(library.rows_of(asset), static_cast<std::uint32_t>(asset));
  }
  library.keys = in.array<std::int64_t>(kKeys, assets);
  library.live = in.vector<std::uint64_t>(kLive, words_for(assets));
  require(ends_in_zeros(library.live, assets), "more is alive than there is");
  for_each_run(library.live, 0, assets, [&](std::size_t first, std::size_t last) {
    library.live_rows += library.first_row[last] - library.first_row[first];
  });
  read_ids(in, library);
  read_columns(in, library);
  library.plane.adopt(in.array<std::uint8_t>(kPlane, Plane::data_bytes(library.dim, rows)), rows);

  require(in.bytes(kCodes) == rows * library.dim, "it has other codes");
  if (rows == 0) return library;
  const std::size_t bytes = rows * library.dim;
  library.codes.reserve(bytes + bytes / 32);  // so that a few that come do not move the others
  library.codes.extend(bytes);
  use_small_pages(library.codes.data(), library.codes.capacity_bytes());
  library.late = in.late(kCodes);
  return library;
}

}  // namespace facegrep::detail
