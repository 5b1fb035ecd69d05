#include "facegrep/search_result.hpp"

namespace facegrep {

void SearchResult::reserve(std::size_t matches, std::size_t id_bytes) {
  scores.reserve(matches);
  keys.reserve(matches);
  faces.reserve(matches);
  ends_.reserve(matches + 1);
  ids_.reserve(id_bytes);
}

void SearchResult::append(std::string_view media_id, double score, std::int64_t key,
                          std::uint32_t face) {
  ids_ += media_id;
  ends_.push_back(ids_.size());
  scores.push_back(score);
  keys.push_back(key);
  faces.push_back(face);
}

}  // namespace facegrep
