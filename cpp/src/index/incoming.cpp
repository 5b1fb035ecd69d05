#include "index/incoming.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

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

Groups group_by_id(const std::vector<std::string_view>& ids, const Library& library) {
  const std::size_t rows = ids.size();
  Groups groups;
  groups.group_of.resize(rows);
  std::unordered_map<std::string_view, std::uint32_t> group_by_id;
  group_by_id.reserve(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    if (row > 0 && ids[row] == ids[row - 1]) {  // the usual case costs no look-up
      groups.group_of[row] = groups.group_of[row - 1];
      continue;
    }
    const auto next = static_cast<std::uint32_t>(groups.lead.size());
    const auto [entry, added] = group_by_id.emplace(ids[row], next);
    groups.group_of[row] = entry->second;
    if (!added) continue;
    groups.lead.push_back(row);
    const auto live = library.asset_by_id.find(ids[row]);
    groups.existing.push_back(live == library.asset_by_id.end() ? kNone : live->second);
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
std::string quoted(std::string_view id) { return "'" + std::string(id.substr(0, 80)) + "'"; }

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

// Makes a vector's reserve at least `more` larger, at most doubling: amortised, and bad_alloc comes
// before anything has changed.
template <typename T>
void reserve_more(std::vector<T>& values, std::size_t more) {
  const std::size_t size = values.size() + more;
  if (values.capacity() < size) values.reserve(std::max(size, values.size() + values.size() / 2));
}

void check_same(const Library& library, std::uint32_t asset, const IncomingFaces& incoming,
                std::size_t lead, const std::int8_t* codes, std::size_t rows) {
  const bool same_faces =
      library.rows_of(asset) == rows &&
      std::memcmp(library.code(library.first_row[asset]), codes, rows * library.dim) == 0;
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
  const Groups groups = group_by_id(incoming.media_ids, library);
  check_agreement(incoming, groups);

  // Codes in the order of the groups, beside the library's own.
  std::vector<std::int8_t> codes(rows * dim);
  if (incoming.embeddings != nullptr) {
    std::vector<std::int8_t> as_given(rows * dim);
    quantize(incoming.embeddings, rows, dim, as_given.data());
    for (std::size_t i = 0; i < rows; ++i) {
      std::memcpy(codes.data() + i * dim, as_given.data() + groups.order[i] * dim, dim);
    }
  } else {
    for (std::size_t i = 0; i < rows; ++i) {
      std::memcpy(codes.data() + i * dim, incoming.codes + groups.order[i] * dim, dim);
    }
  }
  std::vector<float> inverse_norms(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    const double norm = norm_of(codes.data() + i * dim, dim);
    if (norm == 0.0) {
      throw InvalidArgument("codes: row " + std::to_string(groups.order[i]) + " is all zero");
    }
    inverse_norms[i] = static_cast<float>(1.0 / norm);
  }

  // Everything that can throw, before anything is visible.
  std::size_t new_rows = 0;
  std::vector<std::uint32_t> fresh;
  std::vector<EncodedFields> fields;
  std::vector<std::string_view> ids;
  for (std::uint32_t group = 0; group < groups.lead.size(); ++group) {
    const std::size_t first = groups.start[group];
    const std::size_t count = groups.start[group + 1] - first;
    if (groups.existing[group] != kNone) {
      check_same(library, groups.existing[group], incoming, groups.lead[group],
                 codes.data() + first * dim, count);
      continue;
    }
    fresh.push_back(group);
    new_rows += count;
  }
  for (const std::uint32_t group : fresh) {
    fields.push_back(library.columns.encode(fields_at(incoming, groups.lead[group])));
    ids.push_back(library.arena.store(incoming.media_ids[groups.lead[group]]));
  }
  reserve_more(library.codes, new_rows * dim);
  reserve_more(library.inverse_norms, new_rows);
  reserve_more(library.asset_of, new_rows);
  reserve_more(library.first_row, fresh.size());
  reserve_more(library.ids, fresh.size());
  reserve_more(library.keys, fresh.size());
  reserve_more(library.live, words_for(library.assets() + fresh.size()) - library.live.size());
  library.columns.reserve(fresh.size());
  std::unordered_map<std::string_view, std::uint32_t> nodes;  // allocated here, moved in below
  nodes.reserve(fresh.size());
  library.asset_by_id.reserve(library.asset_by_id.size() + fresh.size());
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    nodes.emplace(ids[i], static_cast<std::uint32_t>(library.assets() + i));
  }

  for (std::size_t i = 0; i < fresh.size(); ++i) {
    const std::size_t first = groups.start[fresh[i]];
    const std::size_t last = groups.start[fresh[i] + 1];
    const auto asset = static_cast<std::uint32_t>(library.assets());
    library.codes.insert(library.codes.end(), codes.data() + first * dim,
                         codes.data() + last * dim);
    library.inverse_norms.insert(library.inverse_norms.end(), inverse_norms.data() + first,
                                 inverse_norms.data() + last);
    library.asset_of.insert(library.asset_of.end(), last - first, asset);
    library.first_row.push_back(library.rows());
    library.ids.push_back(ids[i]);
    library.keys.push_back(key_at(incoming, groups.lead[fresh[i]]));
    library.live.resize(words_for(library.assets()));
    set(library.live, asset);
    library.columns.append(fields[i]);
  }
  library.asset_by_id.merge(nodes);
  library.live_rows += new_rows;
  return new_rows;
}

}  // namespace facegrep::detail
