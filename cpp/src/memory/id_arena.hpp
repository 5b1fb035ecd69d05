// Ids one after the other in chunks that never move, so that views of them stay valid.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace facegrep::detail {

class IdArena {
 public:
  std::string_view store(std::string_view id) {
    if (chunks_.empty() || capacity_ - used_ < id.size()) {
      const std::size_t capacity = std::max(kChunkBytes, id.size());
      chunks_.push_back(std::make_unique<char[]>(capacity));
      capacity_ = capacity;
      used_ = 0;
    }
    char* place = chunks_.back().get() + used_;
    std::memcpy(place, id.data(), id.size());
    used_ += id.size();
    return {place, id.size()};
  }

  /// Room for ids that lie one after the other already; the caller fills it.
  char* store_at_once(std::size_t bytes) {
    chunks_.emplace_back(new char[bytes]);
    capacity_ = used_ = bytes;
    return chunks_.back().get();
  }

  /// Takes back what the last store() returned.
  void take_back(std::string_view id) noexcept { used_ -= id.size(); }

 private:
  static constexpr std::size_t kChunkBytes = 1 << 16;
  std::vector<std::unique_ptr<char[]>> chunks_;
  std::size_t capacity_ = 0;
  std::size_t used_ = 0;
};

/// Overwrites an id that store() returned and that nothing refers to any more.
inline void wipe(std::string_view id) noexcept {
  std::memset(const_cast<char*>(id.data()), 0, id.size());
}

}  // namespace facegrep::detail
