#include "memory/aligned.hpp"

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace facegrep::detail {
namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
constexpr std::size_t kLarge = 2 * kHugePageBytes;

std::align_val_t alignment_of(std::size_t bytes) noexcept {
  return std::align_val_t{bytes >= kLarge ? kHugePageBytes : std::size_t{64}};
}

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  void* memory = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  // A wish: where it is not granted, everything works on small pages.
  if (bytes >= kLarge) madvise(memory, bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
#endif
  return memory;
}

void free_aligned(void* memory, std::size_t bytes) noexcept {
  ::operator delete(memory, alignment_of(bytes));
}

}  // namespace facegrep::detail
