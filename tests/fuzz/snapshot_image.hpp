// A saved index as a fuzzer may change it: its sections, and how the file is made of them. The
// checksums are made right, else no change would get past them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "checksum/crc32c.hpp"
#include "snapshot/snapshot.hpp"

namespace facegrep::fuzz {

using Bytes = std::vector<std::uint8_t>;

struct Image {
  /// All of them but the table of checksums.
  static constexpr std::size_t kSections = detail::kSections - detail::kNotes;

  /// What is not a section. It comes from the input as it is: no padding, no pointers.
  struct Frame {
    std::uint64_t header_value;  // put into the header, before its checksum is made,
    std::uint32_t header_word;   // in place of this word of 8 bytes; none: beyond the header
    std::uint32_t flip_at;       // a byte of the finished file,
    std::uint8_t flip_bits;      // of which these bits are flipped: behind the checksums' back
    std::uint8_t reserved;
    std::uint16_t dim;
    std::uint32_t zero;
  };
  static_assert(std::has_unique_object_representations_v<Frame>);

  Frame frame{0, 0xFFFFFFFF, 0, 0, 0, 1, 0};
  std::array<Bytes, kSections> sections;
};

/// An input is the frame, then each section behind its length, two bytes. Any bytes are one.
inline Image image_of(const std::uint8_t* data, std::size_t size) {
  Image image;
  const auto take = [&](void* to, std::size_t bytes) {
    bytes = std::min(bytes, size);
    if (bytes > 0) std::memcpy(to, data, bytes);
    data += bytes;
    size -= bytes;
  };
  take(&image.frame, sizeof(image.frame));
  for (Bytes& section : image.sections) {
    std::uint16_t length = 0;
    take(&length, sizeof(length));
    section.resize(std::min<std::size_t>(length, size));
    take(section.data(), section.size());
  }
  return image;
}

inline Bytes input_of(const Image& image) {
  const auto* const frame = reinterpret_cast<const std::uint8_t*>(&image.frame);
  Bytes input(frame, frame + sizeof(image.frame));
  for (const Bytes& section : image.sections) {
    const std::size_t length = std::min<std::size_t>(section.size(), 0xFFFF);
    input.push_back(static_cast<std::uint8_t>(length));
    input.push_back(static_cast<std::uint8_t>(length >> 8));
    input.insert(input.end(), section.begin(), section.begin() + static_cast<long>(length));
  }
  return input;
}

/// The file, as snapshot/save.cpp would lay it out.
inline Bytes file_of(const Image& image) {
  using detail::kPageBytes;
  detail::Header header{};
  std::memcpy(header.magic, detail::kMagic, sizeof(header.magic));
  header.version = detail::kVersion;
  header.byte_order = detail::kByteOrder;
  header.dim = image.frame.dim;
  header.id_hash = detail::IdTable::hash_of(detail::kMagic);
  header.int_fields = kIntFields;
  header.text_fields = kTextFields;

  std::size_t pages = 0;
  for (const Bytes& section : image.sections) pages += detail::pages_for(section.size());
  const std::size_t table = pages * sizeof(std::uint32_t);
  header.sections[detail::kChecksums] = {kPageBytes, table};
  Bytes file(kPageBytes * (1 + detail::pages_for(table)));
  const std::size_t first = file.size();
  for (std::size_t i = 0; i < Image::kSections; ++i) {
    const Bytes& section = image.sections[i];
    header.sections[detail::kNotes + i] = {file.size(), section.size()};
    file.insert(file.end(), section.begin(), section.end());
    file.resize((file.size() + kPageBytes - 1) / kPageBytes * kPageBytes);
  }
  std::vector<std::uint32_t> checksums(pages);
  detail::crc32c_pages(file.data() + first, pages, checksums.data());
  if (table > 0) std::memcpy(file.data() + kPageBytes, checksums.data(), table);
  header.checksums_crc = detail::crc32c(file.data() + kPageBytes, first - kPageBytes);

  std::memcpy(file.data(), &header, sizeof(header));
  if (image.frame.header_word < sizeof(header) / sizeof(std::uint64_t)) {
    std::memcpy(file.data() + image.frame.header_word * sizeof(std::uint64_t),
                &image.frame.header_value, sizeof(std::uint64_t));
  }
  const std::uint32_t crc = detail::crc32c(file.data(), kPageBytes - sizeof(std::uint32_t));
  std::memcpy(file.data() + kPageBytes - sizeof(crc), &crc, sizeof(crc));
  if (image.frame.flip_at < file.size()) file[image.frame.flip_at] ^= image.frame.flip_bits;
  return file;
}

/// What the file of save() is made of.
inline Image image_of_file(const Bytes& file) {
  detail::Header header;
  std::memcpy(&header, file.data(), sizeof(header));
  Image image;
  image.frame.dim = static_cast<std::uint16_t>(header.dim);
  for (std::size_t i = 0; i < Image::kSections; ++i) {
    const detail::Place& place = header.sections[detail::kNotes + i];
    const auto begin = file.begin() + static_cast<long>(place.offset);
    image.sections[i].assign(begin, begin + static_cast<long>(place.bytes));
  }
  return image;
}

}  // namespace facegrep::fuzz
