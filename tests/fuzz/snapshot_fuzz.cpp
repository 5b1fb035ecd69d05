// Fuzz target: any bytes as a saved index, with checksums that are right, or with one byte that is
// not. Whoever made it up gets SnapshotDamaged, or an index that works: searching, filtering,
// changing and saving it throw nothing else and touch no memory that is not theirs.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "facegrep/error.hpp"
#include "facegrep/face_index.hpp"
#include "memory_file.hpp"
#include "snapshot_image.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace facegrep::fuzz {
namespace {

#define REQUIRE(condition)                                                     \
  do {                                                                         \
    if (!(condition)) {                                                        \
      std::fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                            \
    }                                                                          \
  } while (false)

std::vector<std::string> found_by(const FaceIndex& index, const SearchOptions& options) {
  std::vector<float> query(index.dim(), 0.5F);
  query[0] = 1;
  const auto result = index.search(query.data(), 1, options).front();
  REQUIRE(result->size() <= result->total);
  REQUIRE(result->total <= index.media_count());
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < result->size(); ++i) {
    ids.emplace_back(result->media_id(i));
    REQUIRE(!ids.back().empty());
    // -2: a code of zeros, which only somebody who makes up an index can bring into one.
    REQUIRE(std::abs(result->scores[i]) <= 1 || result->scores[i] == -2);
    if (options.threshold) REQUIRE(result->scores[i] >= *options.threshold);
    if (i == 0) continue;
    REQUIRE(result->scores[i] <= result->scores[i - 1]);
    if (result->scores[i] == result->scores[i - 1]) REQUIRE(ids[i - 1] <= ids[i]);
  }
  return ids;
}

std::vector<std::string> search_all(const FaceIndex& index) {
  SearchOptions options;
  options.limit = 1 << 20;
  options.threads = 1;
  std::vector<std::string> ids = found_by(index, options);
  options.threshold = -1;
  found_by(index, options);
  options.filter.ints = {{IntField::kIntField1, {{0, 1}, {7, 7}}}};
  found_by(index, options);
  options.filter.texts = {{TextField::kStrField1, {"a", "", "b"}},
                          {TextField::kNamespace, {"\xC3\xA9", "b", "a"}}};
  found_by(index, options);
  options.filter = {};
  options.filter.keys = {0, 3, 4, 5};
  found_by(index, options);
  return ids;
}

// Whether its tables find each id, and each string of a column. The hashes in them are taken on
// trust (see read_table() of snapshot/load.cpp): whoever made them up may not find his assets, nor
// be rid of their entries.
bool has_true_tables(int descriptor) {
  std::string notes;
  const detail::Library library = detail::load(descriptor, notes);
  const auto finds = [](const detail::IdTable& table, const std::vector<std::string_view>& texts,
                        std::size_t number) { return table.find(texts[number], texts) == number; };
  for (std::size_t asset = 0; asset < library.assets(); ++asset) {
    if (library.ids[asset].empty()) continue;  // removed
    if (!finds(library.asset_by_id, library.ids, asset)) return false;
  }
  for (std::size_t f = 0; f < kTextFields; ++f) {
    const detail::TextColumn& column = library.columns.of(static_cast<TextField>(f));
    for (const std::uint32_t code : column.codes) {
      if (code != 0 && !finds(column.code_of, column.strings, code)) return false;
    }
  }
  return true;
}

// Not every asset is found whose table somebody made up.
template <typename Call>
void unless_unknown(const Call& call) {
  try {
    call();
  } catch (const MediaNotFound&) {  // NOLINT(bugprone-empty-catch): see above
  }
}

void change(FaceIndex& index, const std::vector<std::string>& ids) {
  for (const std::string& id : ids) {
    unless_unknown([&] { REQUIRE(!index.codes({id}).empty()); });
    unless_unknown([&] { REQUIRE(index.face_counts({id}).front() > 0); });
  }
  std::vector<std::string_view> gone;
  for (std::size_t i = 0; i < ids.size(); i += 2) gone.emplace_back(ids[i]);
  index.remove(gone);
  index.remove_keys({0, 1, 7});
  IncomingFaces incoming;
  std::vector<std::int8_t> codes(3 * index.dim(), 1);
  incoming.media_ids = {"new", "newer", "newer"};
  incoming.keys = {1000, 1001, 1001};
  incoming.codes = codes.data();
  incoming.ints[0] = {1, 7, 7};
  incoming.texts[0] = {"a", "an unknown text", "an unknown text"};
  try {
    REQUIRE(index.add(incoming) <= 3);
    index.add(incoming);
  } catch (const AlreadyExists&) {  // NOLINT(bugprone-empty-catch): the file may have them
  }
}

void require_saved(const FaceIndex& index, const std::string& notes) {
  const MemoryFile file;
  index.save(file.descriptor(), notes);
  std::string same_notes;
  const std::unique_ptr<FaceIndex> again = FaceIndex::load(file.descriptor(), same_notes);
  REQUIRE(notes == same_notes);
  REQUIRE(again->media_count() == index.media_count());
  REQUIRE(search_all(*again) == search_all(index));
}

void try_file(const Bytes& bytes, bool must_be_noticed) {
  const MemoryFile file(bytes);
  std::string notes;
  const std::unique_ptr<FaceIndex> index = FaceIndex::load(file.descriptor(), notes);
  if (must_be_noticed) {
    index->bring_codes();
    const bool noticed = false;
    REQUIRE(noticed);
  }
  const bool is_true = has_true_tables(file.descriptor());
  REQUIRE(index->keys({}).size() == index->media_count());
  change(*index, search_all(*index));
  search_all(*index);
  try {
    require_saved(*index, notes);
  } catch (const SnapshotDamaged& error) {
    if (is_true) std::fputs(error.what(), stderr);
    REQUIRE(!is_true);
  }
}

}  // namespace
}  // namespace facegrep::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace facegrep::fuzz;
  const Image image = image_of(data, size);
  const Bytes file = file_of(image);
  const bool flipped = image.frame.flip_at < file.size() && image.frame.flip_bits != 0;
  try {
    try_file(file, flipped);
  } catch (const facegrep::SnapshotDamaged&) {  // NOLINT(bugprone-empty-catch): as it may be
  }
  return 0;
}

// Changes one section or the frame, most often without changing its length: the lengths must agree.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned int seed) {
  using namespace facegrep::fuzz;
  std::minstd_rand rng(seed);
  Image image = image_of(data, size);
  if (rng() % 16 == 0) {
    auto* const frame = reinterpret_cast<std::uint8_t*>(&image.frame);
    LLVMFuzzerMutate(frame, sizeof(image.frame), sizeof(image.frame));
  } else {
    Bytes& section = image.sections[rng() % Image::kSections];
    const std::size_t length = section.size();
    const bool may_grow = rng() % 8 == 0;
    section.resize(length + (may_grow ? 64 : 0));
    if (section.empty()) section.resize(8);
    const std::size_t now = LLVMFuzzerMutate(section.data(), length, section.size());
    section.resize(may_grow ? now : length);
  }
  const Bytes input = input_of(image);
  if (input.size() > most) return size;
  std::copy(input.begin(), input.end(), data);
  return input.size();
}

// Each section from one of the two.
extern "C" std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* data1, std::size_t size1,
                                                 const std::uint8_t* data2, std::size_t size2,
                                                 std::uint8_t* out, std::size_t most,
                                                 unsigned int seed) {
  using namespace facegrep::fuzz;
  std::minstd_rand rng(seed);
  Image image = image_of(data1, size1);
  const Image other = image_of(data2, size2);
  for (std::size_t i = 0; i < Image::kSections; ++i) {
    if (rng() % 4 == 0) image.sections[i] = other.sections[i];
  }
  const Bytes input = input_of(image);
  if (input.size() > most) return 0;
  std::copy(input.begin(), input.end(), out);
  return input.size();
}
