// Matrix products by register tiles: C (rows, outputs) = or += A (rows, inner) B (inner, outputs).
//
// B lies in panels: output j of inner cell k is at b[(j / PANEL) * panel_stride + k * row_stride + j % PANEL]. A packed
// matrix has row_stride PANEL; a plain row-major one is the same with panel_stride PANEL.
#pragma once

#include "tiles.h"
#include "vec.h"

namespace {

struct Right {
    const float* data;
    ptrdiff_t panel_stride, row_stride;
};

INLINE Right packed(const float* data, ptrdiff_t inner_cells) { return {data, inner_cells * PANEL, PANEL}; }

// One register tile: M rows, V vectors. Rows of A are reached from every third one: few pointers, all in registers.
template <int M, int V, bool ADD>
__attribute__((noinline)) void tile(ptrdiff_t inner, const float* a, ptrdiff_t lda, const float* b, ptrdiff_t ldb,
                                    float* c, ptrdiff_t ldc) {
    vf total[M][V];
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) total[i][v] = all(0.0f);
    const float* base[(M + 2) / 3];
#pragma GCC unroll 8
    for (int i = 0; i < (M + 2) / 3; ++i) base[i] = a + 3 * i * lda;
    for (ptrdiff_t k = 0; k < inner; ++k) {
        vf right[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) right[v] = load(b + v * VW);
        b += ldb;
#pragma GCC unroll 16
        for (int i = 0; i < M; ++i) {
            const vf left = all(base[i / 3][(i % 3) * lda]);
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) total[i][v] = mul_add(left, right[v], total[i][v]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < (M + 2) / 3; ++i) ++base[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
            float* to = c + i * ldc + v * VW;
            store(to, ADD ? load(to) + total[i][v] : total[i][v]);  // not from the start: short sums round less
        }
}

typedef void (*Tile)(ptrdiff_t, const float*, ptrdiff_t, const float*, ptrdiff_t, float*, ptrdiff_t);

#define TILES(V, ADD)                                                                                          \
    {                                                                                                          \
        tile<1, V, ADD>, tile<2, V, ADD>, tile<3, V, ADD>, tile<4, V, ADD>, tile<5, V, ADD>, tile<6, V, ADD>, MORE(V, ADD) \
    }
#if defined(STEMSPLIT_SET_AVX512)
#define MORE(V, ADD)                                                                                          \
    tile<7, V, ADD>, tile<8, V, ADD>, tile<9, V, ADD>, tile<10, V, ADD>, tile<11, V, ADD>, tile<12, V, ADD>, \
        tile<13, V, ADD>, tile<14, V, ADD>
#else
#define MORE(V, ADD)
#endif
constexpr Tile TILE_TABLE[2][2][ROWS] = {{TILES(1, false), TILES(2, false)}, {TILES(1, true), TILES(2, true)}};
#undef TILES
#undef MORE

constexpr ptrdiff_t DEPTH = 128;  // inner cells of one sum: longer ones are sums of sums, which round less

INLINE ptrdiff_t depth_of(ptrdiff_t left) { return left < DEPTH ? left : DEPTH; }

// One register tile, or the matrix unit's: `rows` (at most ROWS) against the first PANEL of `outputs`, or the last VW.
template <bool ADD>
INLINE void multiply_tile(ptrdiff_t rows, ptrdiff_t outputs, ptrdiff_t inner, bool more, const float* a, ptrdiff_t lda,
                          const float* b, ptrdiff_t ldb, float* c, ptrdiff_t ldc) {
#if defined(STEMSPLIT_SET_AMX)
    if (outputs > VW)
        tile_product<2>(ADD || more, rows, inner, a, lda, b, ldb, c, ldc);
    else
        tile_product<1>(ADD || more, rows, inner, a, lda, b, ldb, c, ldc);
#else
    TILE_TABLE[ADD || more][outputs > VW][rows - 1](inner, a, lda, b, ldb, c, ldc);
#endif
}

// One block of at most ROWS rows against all outputs (a multiple of VW).
template <bool ADD>
INLINE void multiply_rows(ptrdiff_t rows, ptrdiff_t outputs, ptrdiff_t inner, const float* a, ptrdiff_t lda, Right b,
                          float* c, ptrdiff_t ldc) {
    for (ptrdiff_t j = 0, panel = 0; j < outputs; j += PANEL, ++panel)
        for (ptrdiff_t k = 0; k < inner; k += DEPTH)
            multiply_tile<ADD>(rows, outputs - j, depth_of(inner - k), k > 0, a + k, lda,
                               b.data + panel * b.panel_stride + k * b.row_stride, b.row_stride, c + j, ldc);
}

// Rows are split into blocks that differ by at most one row: no block of one row after many of fourteen.
struct Blocks {
    ptrdiff_t rows, count;
    explicit Blocks(ptrdiff_t n) : rows(n), count((n + ROWS - 1) / ROWS) {}
    ptrdiff_t start(ptrdiff_t block) const { return block * rows / count; }
};

// All rows: panels outside, so that a panel stays in the first cache while the rows pass.
template <bool ADD>
INLINE void multiply(ptrdiff_t rows, ptrdiff_t outputs, ptrdiff_t inner, const float* a, ptrdiff_t lda, Right b,
                     float* c, ptrdiff_t ldc) {
    const Blocks blocks(rows);
    for (ptrdiff_t j = 0, panel = 0; j < outputs; j += PANEL, ++panel)
        for (ptrdiff_t k = 0; k < inner; k += DEPTH)
            for (ptrdiff_t block = 0; block < blocks.count; ++block) {
                const ptrdiff_t first = blocks.start(block), n = blocks.start(block + 1) - first;
                multiply_tile<ADD>(n, outputs - j, depth_of(inner - k), k > 0, a + first * lda + k, lda,
                                   b.data + panel * b.panel_stride + k * b.row_stride, b.row_stride, c + first * ldc + j, ldc);
            }
}

}  // namespace
