#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "snapshot/snapshot.hpp"

namespace facegrep::detail {
namespace {

// Strings one after the other, and where each begins.
struct Strings {
  std::vector<std::uint64_t> starts{0};
  std::string bytes;

  explicit Strings(const std::vector<std::string_view>& strings) {
    starts.reserve(strings.size() + 1);
    for (const std::string_view text : strings) {
      bytes += text;
      starts.push_back(bytes.size());
    }
  }
};

void write_all(int descriptor, const std::byte* bytes, std::size_t count, std::size_t offset) {
  while (count > 0) {
    // Linux writes less than 2 GiB at once.
    const ssize_t written = pwrite(descriptor, bytes, std::min(count, std::size_t{1} << 30),
                                   static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw std::system_error(errno, std::generic_category(), "saving an index");
    bytes += written;
    count -= static_cast<std::size_t>(written);
    offset += static_cast<std::size_t>(written);
  }
}

// What is to be written, in the order of the sections.
struct Bytes {
  const void* data;
  std::size_t count;
};

template <typename Values>
Bytes bytes_of(const Values& values) {
  return {values.data(), values.size() * sizeof(*values.data())};
}

class Writer {
 public:
  Writer(int descriptor, const std::vector<Bytes>& sections) : descriptor_(descriptor) {
    std::size_t pages = 0;
    for (const Bytes& section : sections) pages += pages_for(section.count);
    checksums_.resize(pages);
    add(kChecksums, pages * sizeof(std::uint32_t));
    for (std::size_t i = 0; i < sections.size(); ++i) add(kNotes + i, sections[i].count);
    first_ = header_.sections[kNotes].offset / kPageBytes;
    for (std::size_t i = 0; i < sections.size(); ++i) {
      write(header_.sections[kNotes + i], sections[i].data, &checksums_);
    }
  }

  // Last of all, so that a file which is not whole is none.
  void finish(std::size_t dim) {
    const std::vector<std::byte> table = padded(bytes_of(checksums_));
    write_all(descriptor_, table.data(), table.size(), header_.sections[kChecksums].offset);
    std::memcpy(header_.magic, kMagic, sizeof(header_.magic));
    header_.version = kVersion;
    header_.byte_order = kByteOrder;
    header_.dim = static_cast<std::uint32_t>(dim);
    header_.id_hash = IdTable::hash_of(kMagic);
    header_.int_fields = kIntFields;
    header_.text_fields = kTextFields;
    header_.checksums_crc = crc32c(table.data(), table.size());
    std::vector<std::byte> page = padded({&header_, sizeof(header_)});
    const std::uint32_t crc = crc32c(page.data(), kPageBytes - sizeof(std::uint32_t));
    std::memcpy(page.data() + kPageBytes - sizeof(crc), &crc, sizeof(crc));
    write_all(descriptor_, page.data(), page.size(), 0);
  }

 private:
  void add(std::size_t section, std::size_t bytes) {
    header_.sections[section] = {end_, bytes};
    end_ += pages_for(bytes) * kPageBytes;
  }

  static std::vector<std::byte> padded(const Bytes& bytes) {
    std::vector<std::byte> pages(pages_for(bytes.count) * kPageBytes);
    if (bytes.count > 0) std::memcpy(pages.data(), bytes.data, bytes.count);
    return pages;
  }

  void write(const Place& place, const void* data, std::vector<std::uint32_t>* checksums) {
    const auto* const bytes = static_cast<const std::byte*>(data);
    const std::size_t whole = place.bytes / kPageBytes;
    std::uint32_t* const crcs = checksums->data() + (place.offset / kPageBytes - first_);
    crc32c_pages(bytes, whole, crcs);
    write_all(descriptor_, bytes, whole * kPageBytes, place.offset);
    const std::size_t rest = place.bytes % kPageBytes;
    if (rest == 0) return;
    const std::vector<std::byte> last = padded({bytes + whole * kPageBytes, rest});
    crcs[whole] = crc32c(last.data(), last.size());
    write_all(descriptor_, last.data(), last.size(), place.offset + whole * kPageBytes);
  }

  int descriptor_;
  Header header_{};
  std::size_t end_ = kPageBytes;
  std::size_t first_ = 0;  // page whose checksum is the first
  std::vector<std::uint32_t> checksums_;
};

}  // namespace

void save(const Library& library, int descriptor, std::string_view notes) {
  library.bring(0, library.rows());
  const Strings ids(library.ids);
  std::vector<Bytes> sections{
      bytes_of(notes),
      bytes_of(library.first_row),
      bytes_of(library.keys),
      bytes_of(library.live),
      bytes_of(ids.starts),
      bytes_of(ids.bytes),
      bytes_of(library.asset_by_id.entries()),
      {library.plane.data(), library.plane.data_bytes()},
  };
  for (std::size_t f = 0; f < kIntFields; ++f) {
    const IntColumn& column = library.columns.of(static_cast<IntField>(f));
    sections.push_back(bytes_of(column.values));
    sections.push_back(bytes_of(column.present));
  }
  std::vector<Strings> strings;
  strings.reserve(kTextFields);  // sections point into it
  for (std::size_t f = 0; f < kTextFields; ++f) {
    const TextColumn& column = library.columns.of(static_cast<TextField>(f));
    strings.emplace_back(column.strings);
    sections.push_back(bytes_of(column.codes));
    sections.push_back(bytes_of(strings.back().starts));
    sections.push_back(bytes_of(strings.back().bytes));
    sections.push_back(bytes_of(column.code_of.entries()));
  }
  sections.push_back(bytes_of(library.codes));
  Writer(descriptor, sections).finish(library.dim);
}

}  // namespace facegrep::detail
