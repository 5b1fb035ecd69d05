// cpp/src/score/avx512vnni.cpp, compiled as plain C through SIMDe, so that its logic is tested on
// CPUs without AVX-512. The instructions themselves are then SIMDe's reading of Intel's manual.

#include <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <stddef.h>
#include <stdint.h>

namespace {

// Those that SIMDe 0.7.4 lacks. A masked-off byte is neither read nor kept.
__m512i emulated_maskz_loadu_epi8(uint64_t mask, const void* from) {
  alignas(64) int8_t bytes[64] = {};
  for (size_t i = 0; i < 64; ++i) {
    if (((mask >> i) & 1U) != 0) bytes[i] = static_cast<const int8_t*>(from)[i];
  }
  return simde_mm512_loadu_si512(bytes);
}

int32_t emulated_reduce_add_epi32(__m512i v) {
  alignas(64) int32_t lanes[16];
  simde_mm512_storeu_si512(lanes, v);
  int32_t sum = 0;
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

__m512 emulated_cvtepi32_ps(__m512i v) {
  alignas(64) int32_t lanes[16];
  alignas(64) float floats[16];
  simde_mm512_storeu_si512(lanes, v);
  for (size_t i = 0; i < 16; ++i) floats[i] = static_cast<float>(lanes[i]);
  return simde_mm512_loadu_ps(floats);
}

}  // namespace

#undef _mm512_maskz_loadu_epi8
#undef _mm512_reduce_add_epi32
#undef _mm512_cvtepi32_ps
#define _mm512_maskz_loadu_epi8 emulated_maskz_loadu_epi8
#define _mm512_reduce_add_epi32 emulated_reduce_add_epi32
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define kScoreAvx512Vnni kScoreAvx512VnniEmulated
#include "score/avx512vnni.cpp"
