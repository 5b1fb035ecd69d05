// Vectors that begin on a cache line.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace facegrep::detail {

template <typename T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};

  CacheLineAllocator() = default;
  template <typename U>
  explicit CacheLineAllocator(const CacheLineAllocator<U>& /*other*/) noexcept {}

  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), kAlignment));
  }
  void deallocate(T* memory, std::size_t /*count*/) noexcept {
    ::operator delete(memory, kAlignment);
  }
  bool operator==(const CacheLineAllocator& /*other*/) const noexcept { return true; }
  bool operator!=(const CacheLineAllocator& /*other*/) const noexcept { return false; }
};

template <typename T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

}  // namespace facegrep::detail
