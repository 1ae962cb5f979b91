// Rows in float or bfloat16, whatever torch has, ⇄ floats to compute with.
#pragma once

#include "vec.h"

namespace {

typedef uint16_t bf16;

INLINE float value_of(float x) { return x; }
INLINE float value_of(bf16 x) {
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE void put(float* to, float x) { *to = x; }
INLINE void put(bf16* to, float x) {  // to the nearest, ties to even; NaN stays NaN
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    *to = x != x ? 0x7fc0 : (bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

INLINE vf load_wide(const float* p) { return load(p); }
INLINE void store_narrow(float* p, vf v) { store(p, v); }

#if defined(STEMSPLIT_SET_AVX512)
INLINE vf load_wide(const bf16* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
INLINE void store_narrow(bf16* p, vf v) {
#if defined(STEMSPLIT_SET_BF16)
    _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(v));
#else
    const __m512i bits = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
    up = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), up, _mm512_set1_epi32(0x7fc0));
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(up));
#endif
}
#elif defined(STEMSPLIT_SET_AVX2)
INLINE vf load_wide(const bf16* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
INLINE void store_narrow(bf16* p, vf v) {
    const __m256i bits = _mm256_castps_si256(v), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
    up = _mm256_blendv_epi8(up, _mm256_set1_epi32(0x7fc0), _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    _mm_storeu_si128((__m128i*)p, _mm_packus_epi32(_mm256_castsi256_si128(up), _mm256_extracti128_si256(up, 1)));
}
#else
INLINE vf load_wide(const bf16* p) {
    float lane[VW];
    for (int i = 0; i < VW; ++i) lane[i] = value_of(p[i]);
    return load(lane);
}
INLINE void store_narrow(bf16* p, vf v) {
    float lane[VW];
    store(lane, v);
    for (int i = 0; i < VW; ++i) put(p + i, lane[i]);
}
#endif

// n values → floats, with zeros up to `padded`.
template <class Value>
INLINE void widen(const Value* from, ptrdiff_t n, float* to, ptrdiff_t padded) {
    ptrdiff_t i = 0;
    for (; i + VW <= n; i += VW) store(to + i, load_wide(from + i));
    for (; i < n; ++i) to[i] = value_of(from[i]);
    for (; i < padded; ++i) to[i] = 0;
}

template <class Value>
INLINE void narrow(const float* from, ptrdiff_t n, Value* to) {
    ptrdiff_t i = 0;
    for (; i + VW <= n; i += VW) store_narrow(to + i, load(from + i));
    for (; i < n; ++i) put(to + i, from[i]);
}

}  // namespace
