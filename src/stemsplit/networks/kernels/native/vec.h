// Vectors of floats, one definition per instruction set. Included inside an anonymous namespace by each translation
// unit of its own flags; nothing of the standard library may be instantiated there, or the linker could keep a copy
// that an older processor cannot run.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(STEMSPLIT_SET_AVX2) || defined(STEMSPLIT_SET_AVX512)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace {

#define INLINE static inline __attribute__((always_inline))

#if defined(STEMSPLIT_SET_AVX512)

typedef __m512 vf;
constexpr int VW = 16;
constexpr int ROWS = 14;  // rows of a register tile: 14 x 2 accumulators, 2 panels' vectors, 1 broadcast
INLINE vf load(const float* p) { return _mm512_loadu_ps(p); }
INLINE void store(float* p, vf v) { _mm512_storeu_ps(p, v); }
INLINE vf all(float x) { return _mm512_set1_ps(x); }
INLINE vf fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
INLINE vf max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf nearest(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf scale_by_power_of_two(vf a, vf n) { return _mm512_scalef_ps(a, n); }  // n whole, -126 ... 127
INLINE vf rough_reciprocal(vf d) { return _mm512_rcp14_ps(d); }
INLINE vf reciprocal(vf d) {  // 1 ulp or two: 2^-14, and one Newton step squares that
    vf r = _mm512_rcp14_ps(d);
    return fma(r, fnma(d, r, all(1.0f)), r);
}
INLINE vf lanes() { return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
INLINE vf where_equal(vf a, vf b, vf yes, vf no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), no, yes);
}

#elif defined(STEMSPLIT_SET_AVX2)

typedef __m256 vf;
constexpr int VW = 8;
constexpr int ROWS = 6;
INLINE vf load(const float* p) { return _mm256_loadu_ps(p); }
INLINE void store(float* p, vf v) { _mm256_storeu_ps(p, v); }
INLINE vf all(float x) { return _mm256_set1_ps(x); }
INLINE vf fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
INLINE vf max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf nearest(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf scale_by_power_of_two(vf a, vf n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return a * _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
INLINE vf reciprocal(vf d) { return _mm256_div_ps(all(1.0f), d); }
INLINE vf lanes() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }
INLINE vf where_equal(vf a, vf b, vf yes, vf no) { return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_EQ_OQ)); }

#else  // four floats of the compiler's own vectors: SSE2, NEON, or plain code

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
constexpr int VW = 4;
constexpr int ROWS = 6;
INLINE vf load(const float* p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float* p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vf all(float x) { return vf{x, x, x, x}; }
INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf fnma(vf a, vf b, vf c) { return c - a * b; }
INLINE vf blend(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }
INLINE vf max(vf a, vf b) { return blend(a > b, a, b); }
INLINE vf min(vf a, vf b) { return blend(a < b, a, b); }
INLINE vf nearest(vf a) {  // adding 1.5 * 2^23 rounds away what lies behind the point; |a| < 2^22
    const vf magic = all(12582912.0f);
    return (a + magic) - magic;
}
INLINE vf scale_by_power_of_two(vf a, vf n) { return a * (vf)((__builtin_convertvector(n, vi) + 127) << 23); }
INLINE vf reciprocal(vf d) { return all(1.0f) / d; }
INLINE vf lanes() { return vf{0, 1, 2, 3}; }
INLINE vf where_equal(vf a, vf b, vf yes, vf no) { return blend(a == b, yes, no); }

#endif

constexpr int PANEL = 2 * VW;

#if defined(STEMSPLIT_SET_AVX512)
INLINE float sum(vf v) { return _mm512_reduce_add_ps(v); }
#else
INLINE float sum(vf v) {
    float lane[VW], total = 0;
    store(lane, v);
    for (int i = 0; i < VW; ++i) total += lane[i];
    return total;
}
#endif

// Columns of four rows (`from` apart) become rows (`to` apart).
INLINE void transpose_4x4(const float* in, ptrdiff_t from, float* out, ptrdiff_t to) {
#if defined(__SSE2__)
    __m128 a = _mm_loadu_ps(in), b = _mm_loadu_ps(in + from), c = _mm_loadu_ps(in + 2 * from), d = _mm_loadu_ps(in + 3 * from);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(out, a), _mm_storeu_ps(out + to, b), _mm_storeu_ps(out + 2 * to, c), _mm_storeu_ps(out + 3 * to, d);
#else
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) out[j * to + i] = in[i * from + j];
#endif
}

// VW complex numbers, real part and imaginary part in turns ⇄ a vector of each.
#if defined(STEMSPLIT_SET_AVX512)
INLINE void load_complex(const float* p, vf& re, vf& im) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const vf a = load(p), b = load(p + VW);
    re = _mm512_permutex2var_ps(a, even, b);
    im = _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b);
}
INLINE void store_complex(float* p, vf re, vf im) {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    store(p, _mm512_permutex2var_ps(re, low, im));
    store(p + VW, _mm512_permutex2var_ps(re, _mm512_add_epi32(low, _mm512_set1_epi32(8)), im));
}
#elif defined(STEMSPLIT_SET_AVX2)
INLINE void load_complex(const float* p, vf& re, vf& im) {
    const vf a = load(p), b = load(p + VW);
    const vf low = _mm256_permute2f128_ps(a, b, 0x20), high = _mm256_permute2f128_ps(a, b, 0x31);
    re = _mm256_shuffle_ps(low, high, 0x88);
    im = _mm256_shuffle_ps(low, high, 0xdd);
}
INLINE void store_complex(float* p, vf re, vf im) {
    const vf low = _mm256_unpacklo_ps(re, im), high = _mm256_unpackhi_ps(re, im);
    store(p, _mm256_permute2f128_ps(low, high, 0x20));
    store(p + VW, _mm256_permute2f128_ps(low, high, 0x31));
}
#else
INLINE void load_complex(const float* p, vf& re, vf& im) {
    for (int i = 0; i < VW; ++i) re[i] = p[2 * i], im[i] = p[2 * i + 1];
}
INLINE void store_complex(float* p, vf re, vf im) {
    for (int i = 0; i < VW; ++i) p[2 * i] = re[i], p[2 * i + 1] = im[i];
}
#endif

// How a cell holds values and how cells are multiplied. `A` operands are rows of cells, read one by one and broadcast;
// `B` operands have consecutive inner values in one cell.
#if defined(STEMSPLIT_SET_BF16)
constexpr int PACK = 2;
INLINE vf mul_add(vf a, vf b, vf c) { return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b); }
// VW values of a row → VW / 2 cells.
INLINE void store_row(float* cells, vf v) {
    _mm256_storeu_si256((__m256i*)cells, (__m256i)_mm512_cvtneps_pbh(v));
}
// Values of two consecutive inner steps → VW cells.
INLINE vf pair(vf even, vf odd) {
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
#else
constexpr int PACK = 1;
INLINE vf mul_add(vf a, vf b, vf c) { return fma(a, b, c); }
INLINE void store_row(float* cells, vf v) { store(cells, v); }
#endif

constexpr ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t unit) { return (n + unit - 1) / unit * unit; }
constexpr ptrdiff_t cells(ptrdiff_t values) { return (values + PACK - 1) / PACK; }

}  // namespace
