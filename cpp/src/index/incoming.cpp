#include "index/incoming.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>

#include "facegrep/error.hpp"
#include "facegrep/quantize.hpp"
#include "score/exact.hpp"

namespace facegrep::detail {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

// The assets of one call in the order of first appearance, and each one's rows in theirs.
struct Groups {
  std::vector<std::uint32_t> group_of;  // (rows)
  std::vector<std::size_t> lead;        // (groups): the first row of each
  std::vector<std::size_t> start{0};    // (groups + 1): where its rows begin in `order`
  std::vector<std::size_t> order;       // (rows): rows by group
  std::vector<std::uint32_t> existing;  // (groups): the live asset of that id, or kNone
};

// The entries that a call makes in `asset_by_id`, taken back unless keep() is called: one look-up
// an asset finds out whether it is new, and is its entry.
class NewEntries {
 public:
  explicit NewEntries(Library& library) : library_(library) {}
  NewEntries(const NewEntries&) = delete;
  NewEntries& operator=(const NewEntries&) = delete;
  ~NewEntries() {
    if (kept_) return;
    auto asset = static_cast<std::uint32_t>(library_.assets());
    for (const std::string_view id : ids_) library_.asset_by_id.erase(id, asset++, *this);
    for (const std::string_view id : ids_) wipe(id);
  }

  /// The ordinal of the asset of this id; `true` if this call is the first to name it.
  std::pair<std::uint32_t, bool> find_or_add(std::string_view id) {
    const std::string_view stored = library_.arena.store(id);
    ids_.push_back(stored);
    const auto next = static_cast<std::uint32_t>(library_.assets() + ids_.size() - 1);
    const std::uint32_t asset = library_.asset_by_id.find_or_add(stored, next, *this);
    if (asset != next) {
      ids_.pop_back();
      library_.arena.take_back(stored);
    }
    return {asset, asset == next};
  }
  std::string_view id(std::size_t i) const { return ids_[i]; }
  /// The id of any asset, the library's and the new ones'.
  std::string_view operator[](std::uint32_t asset) const {
    return asset < library_.assets() ? library_.ids[asset] : ids_[asset - library_.assets()];
  }
  void keep() noexcept { kept_ = true; }

 private:
  Library& library_;
  std::vector<std::string_view> ids_;
  bool kept_ = false;
};

// The strings that a call brings into the dictionaries, taken back unless keep() is called.
class NewStrings {
 public:
  explicit NewStrings(Columns& columns) : columns_(columns) {}
  NewStrings(const NewStrings&) = delete;
  NewStrings& operator=(const NewStrings&) = delete;
  ~NewStrings() {
    if (!kept_) columns_.take_back(fields_);
  }

  void encode(const AssetFields& fields) {
    fields_.emplace_back();  // first: what has a code must not be forgotten
    fields_.back() = columns_.encode(fields);
  }
  const std::vector<EncodedFields>& fields() const noexcept { return fields_; }
  void keep() noexcept { kept_ = true; }

 private:
  Columns& columns_;
  std::vector<EncodedFields> fields_;  // (assets)
  bool kept_ = false;
};

Groups group_by_id(const std::vector<std::string_view>& ids, const Library& library,
                   NewEntries& entries) {
  const std::size_t rows = ids.size();
  const auto base = static_cast<std::uint32_t>(library.assets());
  Groups groups;
  groups.group_of.resize(rows);
  std::vector<std::uint32_t> group_of_new;  // by ordinal - base
  std::unordered_map<std::uint32_t, std::uint32_t> group_of_existing;
  for (std::size_t row = 0; row < rows; ++row) {
    if (row > 0 && ids[row] == ids[row - 1]) {  // the usual case costs no look-up
      groups.group_of[row] = groups.group_of[row - 1];
      continue;
    }
    const auto next = static_cast<std::uint32_t>(groups.lead.size());
    const auto [asset, added] = entries.find_or_add(ids[row]);
    if (added) {
      group_of_new.push_back(next);
    } else if (asset >= base) {
      groups.group_of[row] = group_of_new[asset - base];
      continue;
    } else {
      const auto [known, first] = group_of_existing.emplace(asset, next);
      groups.group_of[row] = known->second;
      if (!first) continue;
    }
    groups.group_of[row] = next;
    groups.lead.push_back(row);
    groups.existing.push_back(added ? kNone : asset);
  }
  std::vector<std::size_t> count(groups.lead.size());
  for (const std::uint32_t group : groups.group_of) ++count[group];
  for (const std::size_t n : count) groups.start.push_back(groups.start.back() + n);
  std::vector<std::size_t> next(groups.start.begin(), groups.start.end() - 1);
  groups.order.resize(rows);
  for (std::size_t row = 0; row < rows; ++row) groups.order[next[groups.group_of[row]]++] = row;
  return groups;
}

// Ids and messages quote at most this much of an id.
std::string quoted(std::string_view id) {
  constexpr std::size_t kMostBytes = 80;
  if (id.size() <= kMostBytes) return "'" + std::string(id) + "'";
  std::size_t end = kMostBytes;
  while ((static_cast<unsigned char>(id[end]) & 0xC0) == 0x80) --end;  // not within a character
  return "'" + std::string(id.substr(0, end)) + "...'";
}

void check_id(std::string_view id, std::size_t row) {
  const std::string where = "media_ids: entry " + std::to_string(row);
  if (id.empty()) throw InvalidArgument(where + " is empty");
  for (std::size_t i = 0; i < id.size(); ++i) {
    const auto byte = static_cast<unsigned char>(id[i]);
    const bool c1 = byte == 0xC2 && i + 1 < id.size() &&
                    static_cast<unsigned char>(id[i + 1]) < 0xA0;  // U+0080..U+009F
    if (byte < 0x20 || byte == 0x7F || c1) {
      throw InvalidArgument(where + " has a control character at byte " + std::to_string(i));
    }
  }
}

AssetFields fields_at(const IncomingFaces& incoming, std::size_t row) {
  AssetFields fields;
  for (std::size_t f = 0; f < kIntFields; ++f) {
    if (!incoming.ints[f].empty()) fields.ints[f] = incoming.ints[f][row];
  }
  for (std::size_t f = 0; f < kTextFields; ++f) {
    if (!incoming.texts[f].empty()) fields.texts[f] = incoming.texts[f][row];
  }
  return fields;
}

std::int64_t key_at(const IncomingFaces& incoming, std::size_t row) {
  return incoming.keys.empty() ? 0 : incoming.keys[row];
}

void check_agreement(const IncomingFaces& incoming, const Groups& groups) {
  for (std::size_t row = 0; row < incoming.media_ids.size(); ++row) {
    const std::size_t lead = groups.lead[groups.group_of[row]];
    if (row == lead) {
      check_id(incoming.media_ids[row], row);
    } else if (!(fields_at(incoming, row) == fields_at(incoming, lead)) ||
               key_at(incoming, row) != key_at(incoming, lead)) {
      throw InvalidArgument("fields: rows " + std::to_string(lead) + " and " + std::to_string(row) +
                            " are both faces of media " + quoted(incoming.media_ids[row]) +
                            " but their fields differ; fields belong to the asset");
    }
  }
}

// Makes a vector's reserve at least `more` larger, at least by half: amortised, and bad_alloc comes
// before anything has changed.
template <typename T>
void reserve_more(std::vector<T>& values, std::size_t more) {
  const std::size_t size = values.size() + more;
  if (values.capacity() < size) values.reserve(std::max(size, values.size() + values.size() / 2));
}

// An asset that is there already may come again, but only as it is.
void check_same(const Library& library, const IncomingFaces& incoming, const Groups& groups,
                std::uint32_t group, const std::int8_t* codes) {
  const std::uint32_t asset = groups.existing[group];
  const std::size_t lead = groups.lead[group];
  const std::size_t first = groups.start[group];
  const std::size_t rows = groups.start[group + 1] - first;
  bool same_faces = library.rows_of(asset) == rows;
  if (same_faces) library.bring(library.first_row[asset], library.first_row[asset + 1]);
  for (std::size_t i = 0; same_faces && i < rows; ++i) {
    same_faces = std::memcmp(library.code(library.first_row[asset] + i),
                             codes + groups.order[first + i] * library.dim, library.dim) == 0;
  }
  if (same_faces && library.columns.at(asset) == fields_at(incoming, lead)) return;
  throw AlreadyExists("media " + quoted(incoming.media_ids[lead]) + " is in the index with other " +
                      (same_faces ? "fields" : "faces") + "; remove it first");
}

}  // namespace

std::size_t add(const IncomingFaces& incoming, Library& library) {
  const std::size_t rows = incoming.media_ids.size();
  const std::size_t dim = library.dim;
  if (library.rows() + rows >= kNone) {
    throw InvalidArgument("vectors: an index holds at most 2^32 - 2 faces; make another one");
  }
  NewEntries entries(library);
  const Groups groups = group_by_id(incoming.media_ids, library, entries);
  check_agreement(incoming, groups);

  std::vector<std::int8_t> made;
  if (incoming.embeddings != nullptr) {
    made.resize(rows * dim);
    quantize(incoming.embeddings, rows, dim, made.data());
  }
  const std::int8_t* codes = incoming.embeddings != nullptr ? made.data() : incoming.codes;
  std::vector<double> norms(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    norms[row] = norm_of(codes + row * dim, dim);
    if (norms[row] == 0.0) {
      throw InvalidArgument("codes: row " + std::to_string(row) + " is all zero");
    }
  }

  // Everything that can throw, before anything is visible.
  std::size_t new_rows = 0;
  std::vector<std::uint32_t> fresh;
  NewStrings strings(library.columns);
  for (std::uint32_t group = 0; group < groups.lead.size(); ++group) {
    if (groups.existing[group] == kNone) {
      fresh.push_back(group);
      strings.encode(fields_at(incoming, groups.lead[group]));
      new_rows += groups.start[group + 1] - groups.start[group];
    } else {
      check_same(library, incoming, groups, group, codes);
    }
  }
  library.codes.reserve((library.rows() + new_rows) * dim);
  library.plane.reserve(new_rows);
  library.asset_of.reserve(library.rows() + new_rows);
  library.first_row.reserve(library.first_row.size() + fresh.size());
  reserve_more(library.ids, fresh.size());
  library.keys.reserve(library.assets() + fresh.size());
  reserve_more(library.live, words_for(library.assets() + fresh.size()) - library.live.size());
  library.columns.reserve(strings.fields());

  for (std::size_t i = 0; i < fresh.size(); ++i) {
    const auto asset = static_cast<std::uint32_t>(library.assets());
    for (std::size_t at = groups.start[fresh[i]]; at < groups.start[fresh[i] + 1]; ++at) {
      const std::size_t row = groups.order[at];
      const std::int8_t* code = codes + row * dim;
      library.codes.append(code, dim);
      library.plane.append(code, norms[row]);
      library.asset_of.push_back(asset);
    }
    library.first_row.push_back(library.rows());
    library.ids.push_back(entries.id(i));
    library.keys.push_back(key_at(incoming, groups.lead[fresh[i]]));
    library.live.resize(words_for(library.assets()));
    set(library.live, asset);
    library.columns.append(strings.fields()[i]);
  }
  library.live_rows += new_rows;
  entries.keep();
  strings.keep();
  return new_rows;
}

}  // namespace facegrep::detail
