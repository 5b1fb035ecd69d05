// Which instruction sets this CPU runs, and which of them facegrep was told to use.
#pragma once

namespace facegrep {

/// The tier in use: "scalar", "avx2" or "avx512vnni", on arm64 "scalar", "neon" or "neon_dotprod".
/// Chosen once, the best that the CPU and the operating system run, unless the environment variable
/// FACEGREP_ISA names another.
/// Threads  reentrant.
/// Throws   InvalidArgument when FACEGREP_ISA is an unknown word or a tier that this CPU lacks.
const char* active_isa();

}  // namespace facegrep
