#include "filter/columns.hpp"

#include <algorithm>

#include "facegrep/error.hpp"

namespace facegrep::detail {
namespace {

std::uint32_t add_string(std::string_view text, TextColumn& column) {
  if (column.strings.size() >= IdTable::kNone) {
    throw InvalidArgument("fields: more than 2^32 - 2 distinct strings in one field");
  }
  const auto code = static_cast<std::uint32_t>(column.strings.size());
  column.uses.resize(code + std::size_t{1});  // one too many does no harm
  column.strings.push_back(column.arena.store(text));
  try {
    column.code_of.find_or_add(text, code, column.strings);
  } catch (...) {  // so that the two cannot disagree
    wipe(column.strings.back());
    column.strings.pop_back();
    throw;
  }
  return code;
}

void forget_string(std::uint32_t code, TextColumn& column) noexcept {
  std::string_view& text = column.strings[code];
  if (text.data() == nullptr) return;  // already
  column.code_of.erase(text, code, column.strings);
  wipe(text);
  text = {};
}

}  // namespace

void Columns::reserve(const std::vector<EncodedFields>& more) {
  const std::size_t size = size_ + more.size();
  for (std::size_t f = 0; f < kIntFields; ++f) {
    IntColumn& column = ints_[f];
    const auto has_it = [f](const EncodedFields& fields) { return fields.ints[f].has_value(); };
    if (column.values.empty() && std::none_of(more.begin(), more.end(), has_it)) continue;
    column.values.reserve(size);
    if (column.present.capacity() < words_for(size)) column.present.reserve(2 * words_for(size));
  }
  for (std::size_t f = 0; f < kTextFields; ++f) {
    const auto has_it = [f](const EncodedFields& fields) { return fields.codes[f] != 0; };
    if (texts_[f].codes.empty() && std::none_of(more.begin(), more.end(), has_it)) continue;
    texts_[f].codes.reserve(size);
  }
}

EncodedFields Columns::encode(const AssetFields& fields) {
  EncodedFields encoded{fields.ints, {}};
  for (std::size_t f = 0; f < kTextFields; ++f) {
    if (!fields.texts[f]) continue;
    TextColumn& column = texts_[f];
    std::uint32_t code = column.code_of.find(*fields.texts[f], column.strings);
    if (code == IdTable::kNone) code = add_string(*fields.texts[f], column);
    encoded.codes[f] = code;
  }
  return encoded;
}

void Columns::take_back(const std::vector<EncodedFields>& fields) noexcept {
  for (const EncodedFields& one : fields) {
    for (std::size_t f = 0; f < kTextFields; ++f) {
      const std::uint32_t code = one.codes[f];
      if (code != 0 && texts_[f].uses[code] == 0) forget_string(code, texts_[f]);
    }
  }
}

void Columns::append(const EncodedFields& fields) {
  const std::size_t asset = size_++;
  for (std::size_t f = 0; f < kIntFields; ++f) {
    if (!fields.ints[f] && ints_[f].values.empty()) continue;  // still unused
    ints_[f].values.resize(size_);
    ints_[f].present.resize(words_for(size_));
    if (!fields.ints[f]) continue;
    ints_[f].values[asset] = *fields.ints[f];
    set(ints_[f].present, asset);
  }
  for (std::size_t f = 0; f < kTextFields; ++f) {
    if (fields.codes[f] == 0 && texts_[f].codes.empty()) continue;
    texts_[f].codes.resize(size_);
    texts_[f].codes[asset] = fields.codes[f];
    if (fields.codes[f] != 0) ++texts_[f].uses[fields.codes[f]];
  }
}

void Columns::wipe(std::size_t asset) noexcept {
  for (IntColumn& column : ints_) {
    if (!test(column.present, asset)) continue;
    column.values[asset] = 0;
    clear(column.present, asset);
  }
  for (TextColumn& column : texts_) {
    if (asset >= column.codes.size() || column.codes[asset] == 0) continue;
    const std::uint32_t code = column.codes[asset];
    column.codes[asset] = 0;
    if (--column.uses[code] == 0) forget_string(code, column);
  }
}

AssetFields Columns::at(std::size_t asset) const {
  AssetFields fields;
  for (std::size_t f = 0; f < kIntFields; ++f) {
    if (test(ints_[f].present, asset)) fields.ints[f] = ints_[f].values[asset];
  }
  for (std::size_t f = 0; f < kTextFields; ++f) {
    if (asset >= texts_[f].codes.size() || texts_[f].codes[asset] == 0) continue;
    fields.texts[f] = texts_[f].strings[texts_[f].codes[asset]];
  }
  return fields;
}

std::size_t Columns::nbytes() const noexcept {
  std::size_t bytes = 0;
  for (const IntColumn& column : ints_) {
    bytes += column.values.capacity_bytes();
    bytes += column.present.capacity() * sizeof(std::uint64_t);
  }
  for (const TextColumn& column : texts_) bytes += column.codes.capacity_bytes();
  return bytes;
}

}  // namespace facegrep::detail
