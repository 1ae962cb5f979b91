// What the layers around the blocks do to rows of a tile: norm a sequence, add a bias, tanh.
#pragma once

#include "arena.h"
#include "gemm.h"
#include "norm.h"

namespace {

constexpr ptrdiff_t LAYER_ROWS = 4 * ROWS < 48 ? 48 : 4 * ROWS;

// Rows of a layer that takes `features`: cells of a row, padded to whole vectors.
INLINE ptrdiff_t row_cells(ptrdiff_t features) { return round_up(features, VW) / PACK; }

// tanh(rows + bias) of `width` floats, a multiple of VW → cells.
INLINE void tanh_cells(const float* rows, ptrdiff_t stride, const float* bias, ptrdiff_t count, ptrdiff_t width, float* out,
                       ptrdiff_t out_stride) {
    for (ptrdiff_t t = 0; t < count; ++t)
        for (ptrdiff_t i = 0; i < width; i += VW)
            store_row(out + t * out_stride + i / PACK, hyperbolic_tangent(load(rows + t * stride + i) + load(bias + i)));
}

// Asks for n floats at p, so that they are in the cache when they are needed. The rows of a spectrum lie pages apart, which
// no processor foresees: without this it waits for memory at each of them.
INLINE void fetch(const float* p, ptrdiff_t n) {
    constexpr ptrdiff_t LINE_FLOATS = 16;
    for (ptrdiff_t i = 0; i < n; i += LINE_FLOATS) __builtin_prefetch(p + i);
    __builtin_prefetch(p + n - 1);
}

// The first n ≤ VW complex numbers at p.
INLINE void load_some_complex(const float* p, ptrdiff_t n, vf& re, vf& im) {
    if (n >= VW) return load_complex(p, re, im);
    float lane[2 * VW] = {0};
    memcpy(lane, p, (size_t)(2 * n) * sizeof(float));
    load_complex(lane, re, im);
}

INLINE void store_some_complex(float* p, ptrdiff_t n, vf re, vf im) {
    if (n >= VW) return store_complex(p, re, im);
    float lane[2 * VW];
    store_complex(lane, re, im);
    memcpy(p, lane, (size_t)(2 * n) * sizeof(float));
}

}  // namespace
