// An array that grows without copying.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

namespace facegrep::detail {

/// Memory for the scan: 64-byte aligned; from 4 MiB on, on pages of its own, 2 MiB aligned and,
/// where the kernel lets us ask (Linux, transparent huge pages set to "madvise" or "always"), huge.
/// A scan crosses a page every few hundred nanoseconds, and the hardware prefetcher stops at each:
/// 1M x 128-d on a Zen 3 took 3.4 ms on small pages and 2.4 ms on huge ones. Throws bad_alloc.
void* allocate(std::size_t bytes);
/// Keeps the first `used` bytes. Large blocks move as page tables (Linux), so that growing by a
/// little costs little. When it throws (bad_alloc), the old block is as it was.
void* reallocate(void* memory, std::size_t old_bytes, std::size_t used, std::size_t new_bytes);
void deallocate(void* memory, std::size_t bytes) noexcept;
/// Says whether a large block, or a part of one, is to be on huge pages; a wish. They are what a
/// block begins with; what is filled here and there, and not soon all of it, takes less memory on
/// small ones.
void use_huge_pages(void* memory, std::size_t bytes) noexcept;
void use_small_pages(void* memory, std::size_t bytes) noexcept;
/// How large a block of `old_bytes` should become when it must hold `needed`.
std::size_t bytes_to_grow_to(std::size_t old_bytes, std::size_t needed) noexcept;

/// As much of std::vector as the index needs, for values that are copied as bytes.
template <typename T>
class GrowingArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  GrowingArray() = default;
  explicit GrowingArray(std::size_t size) { resize(size); }
  GrowingArray(GrowingArray&& other) noexcept { swap(other); }
  GrowingArray& operator=(GrowingArray&& other) noexcept {
    swap(other);
    return *this;
  }
  GrowingArray(const GrowingArray&) = delete;
  GrowingArray& operator=(const GrowingArray&) = delete;
  ~GrowingArray() {
    if (data_ != nullptr) deallocate(data_, capacity_bytes_);
  }

  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  std::size_t capacity_bytes() const noexcept { return capacity_bytes_; }
  bool empty() const noexcept { return size_ == 0; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  const T& back() const noexcept { return data_[size_ - 1]; }

  /// Room for `size` values, and for a share more: so that what is added one by one is moved a
  /// bounded number of times.
  void reserve(std::size_t size) {
    if (size <= capacity_) return;
    const std::size_t bytes = bytes_to_grow_to(capacity_bytes_, size * sizeof(T));
    void* const grown = data_ == nullptr
                            ? allocate(bytes)
                            : reallocate(data_, capacity_bytes_, size_ * sizeof(T), bytes);
    data_ = static_cast<T*>(grown);
    capacity_bytes_ = bytes;
    capacity_ = bytes / sizeof(T);
  }
  /// Adds values that hold anything, for the caller to fill; returns the first of them.
  T* extend(std::size_t count) {
    reserve(size_ + count);
    size_ += count;
    return data_ + size_ - count;
  }
  /// New values are zero.
  void resize(std::size_t size) {
    reserve(size);
    if (size > size_) std::memset(data_ + size_, 0, (size - size_) * sizeof(T));
    size_ = size;
  }
  void push_back(const T& value) {
    const T copy = value;  // it may lie in this array
    reserve(size_ + 1);
    data_[size_++] = copy;
  }
  /// Values of another array.
  void append(const T* values, std::size_t count) {
    if (count == 0) return;
    reserve(size_ + count);
    std::memcpy(data_ + size_, values, count * sizeof(T));
    size_ += count;
  }
  void append(std::size_t count, const T& value) {
    reserve(size_ + count);
    std::fill_n(data_ + size_, count, value);
    size_ += count;
  }

 private:
  void swap(GrowingArray& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(capacity_bytes_, other.capacity_bytes_);
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  std::size_t capacity_bytes_ = 0;
};

}  // namespace facegrep::detail
