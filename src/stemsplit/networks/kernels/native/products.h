// Products of small float matrices that lie in cache as they are, for training: C = or += A B or Aᵀ B, row-major, of which
// the part above the diagonal may be known to be zero or not wanted. Float in every instruction set.
#pragma once

#include "gemm.h"

namespace {

// What is known of the step map in a product: nothing; it is the left factor, (rows, inner), zero above the diagonal; it
// is the left factor, transposed; it is what comes out, and above the diagonal not wanted.
enum Triangle { FULL, LEFT, LEFT_TRANSPOSED, OUT };

struct Left {
    const float* data;  // element (i, k) at data[i * stride + k], transposed data[k * stride + i]
    ptrdiff_t stride;
};

template <int M, int V, bool TRANSPOSED>
__attribute__((noinline)) void small_tile(ptrdiff_t inner, const float* a, ptrdiff_t lda, const float* b, ptrdiff_t ldb,
                                          float* c, ptrdiff_t ldc, bool add) {
    vf total[M][V];
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) total[i][v] = all(0.0f);
    const float* base[(M + 2) / 3];
#pragma GCC unroll 8
    for (int i = 0; i < (M + 2) / 3; ++i) base[i] = TRANSPOSED ? a : a + 3 * i * lda;
    for (ptrdiff_t k = 0; k < inner; ++k) {
        vf right[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) right[v] = load(b + v * VW);
        b += ldb;
#pragma GCC unroll 16
        for (int i = 0; i < M; ++i) {
            const vf left = all(TRANSPOSED ? base[0][i] : base[i / 3][(i % 3) * lda]);
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) total[i][v] = fma(left, right[v], total[i][v]);
        }
        if (TRANSPOSED)
            base[0] += lda;
        else
#pragma GCC unroll 8
            for (int i = 0; i < (M + 2) / 3; ++i) ++base[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
            float* to = c + i * ldc + v * VW;
            store(to, add ? load(to) + total[i][v] : total[i][v]);
        }
}

typedef void (*SmallTile)(ptrdiff_t, const float*, ptrdiff_t, const float*, ptrdiff_t, float*, ptrdiff_t, bool);

#define SMALL(V, T)                                                                                                   \
    {                                                                                                                 \
        small_tile<1, V, T>, small_tile<2, V, T>, small_tile<3, V, T>, small_tile<4, V, T>, small_tile<5, V, T>,      \
            small_tile<6, V, T>, SMALL_MORE(V, T)                                                                     \
    }
#if defined(STEMSPLIT_SET_AVX512)
#define SMALL_MORE(V, T)                                                                                              \
    small_tile<7, V, T>, small_tile<8, V, T>, small_tile<9, V, T>, small_tile<10, V, T>, small_tile<11, V, T>,        \
        small_tile<12, V, T>, small_tile<13, V, T>, small_tile<14, V, T>
#else
#define SMALL_MORE(V, T)
#endif
constexpr SmallTile SMALL_TABLE[2][2][ROWS] = {{SMALL(1, false), SMALL(2, false)}, {SMALL(1, true), SMALL(2, true)}};
#undef SMALL
#undef SMALL_MORE

// `outputs` is a multiple of VW. With OUT, columns from the diagonal's vector on are left as they are.
INLINE void product(Triangle known, ptrdiff_t rows, ptrdiff_t outputs, ptrdiff_t inner, Left a, const float* b, ptrdiff_t ldb,
                    float* c, ptrdiff_t ldc, bool add, bool transposed = false) {
    const Blocks blocks(rows);
    for (ptrdiff_t block = 0; block < blocks.count; ++block) {
        const ptrdiff_t first = blocks.start(block), end = blocks.start(block + 1);
        const ptrdiff_t start = known == LEFT_TRANSPOSED ? first : 0, stop = known == LEFT && end < inner ? end : inner;
        const ptrdiff_t columns = known == OUT && round_up(end, VW) < outputs ? round_up(end, VW) : outputs;
        const float* left = a.data + (transposed ? start * a.stride + first : first * a.stride);
        for (ptrdiff_t j = 0; j < columns; j += PANEL)
            SMALL_TABLE[transposed][columns - j > VW][end - first - 1](stop - start, left, a.stride, b + start * ldb + j, ldb,
                                                                       c + first * ldc + j, ldc, add);
    }
}

// Rows (rows, columns) → (columns, out's stride), zeros after the last column of out.
INLINE void turn_rows(const float* in, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t columns, float* out, ptrdiff_t out_stride) {
    ptrdiff_t t = 0;
    for (; t + 4 <= rows; t += 4)
        for (ptrdiff_t i = 0; i < columns; i += 4) transpose_4x4(in + t * stride + i, stride, out + i * out_stride + t, out_stride);
    for (; t < out_stride; ++t)
        for (ptrdiff_t i = 0; i < columns; ++i) out[i * out_stride + t] = t < rows ? in[t * stride + i] : 0.0f;
}

}  // namespace
