#pragma once

#include <cstddef>

namespace facegrep::detail {

/// True when the CPU has the instructions of the tier and the operating system saves its registers.
bool has_avx2() noexcept;
bool has_avx512vnni() noexcept;
/// arm64's SDOT and UDOT: optional from Armv8.2, in every Apple Silicon Mac.
bool has_dotprod() noexcept;

/// The cores that this process may run on (its affinity mask, as containers set it), at least 1.
std::size_t cores_available() noexcept;

}  // namespace facegrep::detail
