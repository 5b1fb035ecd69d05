#pragma once

namespace facegrep::detail {

/// True when the CPU has the instructions of the tier and the operating system saves its registers.
bool has_avx2() noexcept;
bool has_avx512vnni() noexcept;

}  // namespace facegrep::detail
