#include "memory/growing_array.hpp"

#include <algorithm>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace facegrep::detail {
namespace {

constexpr std::align_val_t kLine{64};
constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

std::size_t rounded_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

#if defined(__linux__)

constexpr std::size_t kLarge = 2 * kHugePageBytes;

// Address space of `bytes` that begins on a huge page. Nothing is there yet.
std::byte* reserve_pages(std::size_t bytes) {
  void* const found = mmap(nullptr, bytes + kHugePageBytes, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) throw std::bad_alloc();
  auto* const first = static_cast<std::byte*>(found);
  const std::size_t before =
      (kHugePageBytes - reinterpret_cast<std::size_t>(first) % kHugePageBytes) % kHugePageBytes;
  if (before > 0) munmap(first, before);
  if (before < kHugePageBytes) munmap(first + before + bytes, kHugePageBytes - before);
  return first + before;
}

// A wish: where it is not granted, everything works on small pages.
void wish_for_huge_pages(void* memory, std::size_t bytes) {
#if defined(MADV_HUGEPAGE)
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}

void wish_for_small_pages(void* memory, std::size_t bytes) {
#if defined(MADV_NOHUGEPAGE)
  madvise(memory, bytes, MADV_NOHUGEPAGE);
#endif
}

std::size_t whole_pages(std::size_t bytes) { return rounded_up(bytes, 4096); }

bool is_large(std::size_t bytes) { return bytes >= kLarge; }

void* allocate_pages(std::size_t bytes) {
  const std::size_t size = whole_pages(bytes);
  std::byte* const memory = reserve_pages(size);
  if (mmap(memory, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
      MAP_FAILED) {
    munmap(memory, size);
    throw std::bad_alloc();
  }
  wish_for_huge_pages(memory, size);
  return memory;
}

void* move_pages(void* memory, std::size_t old_bytes, std::size_t new_bytes) {
  const std::size_t from = whole_pages(old_bytes);
  const std::size_t to = whole_pages(new_bytes);
  void* moved = mremap(memory, from, to, 0);
  if (moved == MAP_FAILED) {
    std::byte* const place = reserve_pages(to);
    moved = mremap(memory, from, to, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    if (moved == MAP_FAILED) {
      munmap(place, to);
      throw std::bad_alloc();
    }
  }
  wish_for_huge_pages(moved, to);
  return moved;
}

void free_pages(void* memory, std::size_t bytes) noexcept { munmap(memory, whole_pages(bytes)); }

#else

bool is_large(std::size_t) { return false; }
void* allocate_pages(std::size_t) { throw std::bad_alloc(); }
void* move_pages(void*, std::size_t, std::size_t) { throw std::bad_alloc(); }
void free_pages(void*, std::size_t) noexcept {}
void wish_for_huge_pages(void*, std::size_t) {}
void wish_for_small_pages(void*, std::size_t) {}
std::size_t whole_pages(std::size_t bytes) { return bytes; }

#endif

}  // namespace

void* allocate(std::size_t bytes) {
  return is_large(bytes) ? allocate_pages(bytes) : ::operator new(bytes, kLine);
}

void* reallocate(void* memory, std::size_t old_bytes, std::size_t used, std::size_t new_bytes) {
  if (is_large(old_bytes) && is_large(new_bytes)) return move_pages(memory, old_bytes, new_bytes);
  void* const grown = allocate(new_bytes);
  std::memcpy(grown, memory, used);
  deallocate(memory, old_bytes);
  return grown;
}

void deallocate(void* memory, std::size_t bytes) noexcept {
  if (is_large(bytes)) {
    free_pages(memory, bytes);
  } else {
    ::operator delete(memory, kLine);
  }
}

void use_huge_pages(void* memory, std::size_t bytes) noexcept {
  if (is_large(bytes)) wish_for_huge_pages(memory, whole_pages(bytes));
}

void use_small_pages(void* memory, std::size_t bytes) noexcept {
  if (is_large(bytes)) wish_for_small_pages(memory, whole_pages(bytes));
}

// Huge pages are given at the first touch, to areas that are whole then. So a block of many of them
// grows by whole ones, or most of it would end up on small pages.
std::size_t bytes_to_grow_to(std::size_t old_bytes, std::size_t needed) noexcept {
  const std::size_t share = is_large(old_bytes) ? 32 : 2;
  const std::size_t bytes = std::max(needed, old_bytes + old_bytes / share);
  return bytes < 16 * kHugePageBytes ? rounded_up(bytes, 64) : rounded_up(bytes, kHugePageBytes);
}

}  // namespace facegrep::detail
