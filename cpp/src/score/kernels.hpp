// The int8 dot kernels: one table an instruction set, one .cpp each. Scalar is the specification.
// ISA files include C headers, intrinsics and this: an inline function of the STL compiled there
// could become the copy that the whole program uses, and kill an older CPU.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace facegrep::detail {

struct ScoreKernels {
  const char* isa;

  /// dots[r] = sum over d of query[d] * rows[r * dim + d], exact in int32.
  /// Shapes   query (dim), rows (count, dim) contiguous, dots (count); reads and writes nothing
  /// else. Units    query in [-127, 127], rows in [-128, 127]; dim <= 4096, so |dot| < 2^27.
  void (*dot_rows)(const int8_t* query, const int8_t* rows, size_t count, size_t dim,
                   int32_t* dots) noexcept;
};

extern const ScoreKernels kScoreScalar;
extern const ScoreKernels kScoreAvx2;
extern const ScoreKernels kScoreAvx512Vnni;

}  // namespace facegrep::detail
