// The whole block for one sequence, tile of rows by tile of rows, so that what a tile makes is used while it is in cache.
#pragma once

#include "abi.h"
#include "arena.h"
#include "gemm.h"
#include "norm.h"
#include "rows.h"
#include "ssd.h"

namespace {

constexpr ptrdiff_t TILE_ROWS = 4 * ROWS < 48 ? 48 : 4 * ROWS;
constexpr ptrdiff_t LONGEST_CHUNK = 512;

// Steps of a chunk, even: as few multiplications as can be. Inside a chunk they grow with its length, states cost the same
// per step at any length, and a single chunk needs none.
INLINE ptrdiff_t chunk_steps(const stemsplit_shape& s, ptrdiff_t steps) {
    const double inner = (double)(s.heads * s.channels), state = (double)s.state;
    ptrdiff_t best = 0;
    double least = 0;
    for (ptrdiff_t chunks = 1; chunks <= steps; ++chunks) {
        const ptrdiff_t q = round_up((steps + chunks - 1) / chunks, 2);
        if (q > LONGEST_CHUNK) continue;
        const double cost = 0.5 * (double)(q + ROWS) * (state + 1.3 * inner) + 2.2 * state * inner * (double)(chunks - 1) / (double)chunks;
        if (!best || cost < least) best = q, least = cost;
        if (q <= TILE_ROWS) break;
    }
    return best ? best : 2;
}

struct Workspace {
    ptrdiff_t columns, mixed_width, conv_width, inner, row_cells, features;
    float *rows, *normed, *total, *mixed, *active, *y, *z, *gated;
    Chunk chunk;
    ptrdiff_t words;
};

INLINE Workspace lay_out(const stemsplit_shape& s, ptrdiff_t steps, float* scratch) {
    Arena at = {scratch, 0};
    Workspace w;
    Chunk& k = w.chunk;
    const ptrdiff_t q = chunk_steps(s, steps);
    w.inner = s.heads * s.channels;
    w.features = round_up(s.features, VW);
    w.row_cells = w.features / PACK;
    w.conv_width = w.inner + 2 * s.state;
    w.mixed_width = w.conv_width + s.heads_padded;
    w.columns = round_up(q, PANEL) + PANEL;
    w.rows = take(at, steps * s.features);
    w.normed = take(at, steps * w.row_cells);
    w.total = take(at, steps * w.features);
    w.mixed = take(at, (TILE_ROWS + s.taps - 1) * w.mixed_width);
    w.active = take(at, TILE_ROWS * 2 * s.state);
    w.y = take(at, TILE_ROWS * w.inner);
    w.z = take(at, TILE_ROWS * w.inner);
    w.gated = take(at, TILE_ROWS * w.inner / PACK);
    k.state = s.state, k.heads = s.heads, k.channels = s.channels, k.heads_padded = s.heads_padded;
    k.columns = w.columns;
    k.panels = (s.channels + PANEL - 1) / PANEL;
    k.capacity = cells(q);
    k.x = take(at, s.heads * k.panels * k.capacity * PANEL);
    k.b = take(at, s.state * w.columns);
    k.pairs = PACK == 1 ? k.b : take(at, s.state / PACK * w.columns);
    k.c = take(at, TILE_ROWS * s.state / PACK);
    k.scores = take(at, TILE_ROWS * w.columns);
    k.decay = take(at, s.heads * w.columns);
    k.dt = take(at, TILE_ROWS * s.heads_padded);
    k.keep = take(at, TILE_ROWS * s.heads_padded);
    k.enter = take(at, s.heads);
    k.weights = take(at, ROWS * (w.columns > s.state ? w.columns : s.state));
    k.states = k.state_cells = nullptr;
    if (q < steps) {
        k.states = take(at, s.heads * k.panels * s.state * PANEL);
        k.state_cells = PACK == 1 ? k.states : take(at, s.heads * k.panels * s.state * PANEL / PACK);
    }
    w.words = at.used;
    return w;
}

// dt = softplus(dt + bias) and e^{a dt}, of the last columns of the mixed rows.
INLINE void step_sizes(const Workspace& w, const stemsplit_direction& d, const float* mixed, ptrdiff_t rows) {
    const Chunk& k = w.chunk;
    for (ptrdiff_t t = 0; t < rows; ++t)
        for (ptrdiff_t h = 0; h < k.heads_padded; h += VW) {
            const vf dt = softplus(load(mixed + t * w.mixed_width + w.conv_width + h) + load(d.dt_bias + h));
            store(k.dt + t * k.heads_padded + h, dt);
            store(k.keep + t * k.heads_padded + h, exponential(dt * load(d.a + h)));
        }
}

// One tile of one direction; `normed` and `total` are its first rows, the next ones `sign` rows further.
INLINE void run_tile(const stemsplit_block_weights& weights, const stemsplit_direction& d, const Workspace& w,
                     const float* normed, float* total, ptrdiff_t sign, ptrdiff_t first, ptrdiff_t rows, bool entered) {
    const stemsplit_shape& s = weights.shape;
    const ptrdiff_t inner_cells = cells(s.features), step = sign * w.row_cells;
    float* mixed = w.mixed + (s.taps - 1) * w.mixed_width;  // after the rows that the convolution still reaches
    multiply<false>(rows, w.mixed_width, inner_cells, normed, step, packed(d.mixed, inner_cells), mixed, w.mixed_width);
    const Convolution conv = {w.mixed, d.conv, d.conv_bias, w.mixed_width, w.conv_width, s.taps};
    if (s.taps == 4)
        admit<4>(w.chunk, conv, first, rows, w.active);
    else
        admit<0>(w.chunk, conv, first, rows, w.active);
    turn(w.chunk, w.active, first, rows);
    step_sizes(w, d, mixed, rows);
    memmove(w.mixed, w.mixed + rows * w.mixed_width, (size_t)((s.taps - 1) * w.mixed_width) * sizeof(float));
    dual(w.chunk, w.active + s.state, 2 * s.state, first, rows, d.skip, entered, w.y);
    multiply<false>(rows, w.inner, inner_cells, normed, step, packed(d.gate, inner_cells), w.z, w.inner);
    for (ptrdiff_t t = 0; t < rows; ++t)
        gated_norm(w.y + t * w.inner, w.z + t * w.inner, w.inner, s.inner, w.gated + t * w.inner / PACK);
    const ptrdiff_t gated_cells = w.inner / PACK;
    multiply<true>(rows, w.features, gated_cells, w.gated, gated_cells, packed(d.out, gated_cells), total, sign * w.features);
}

INLINE void run_direction(const stemsplit_block_weights& weights, bool backward, const Workspace& w, ptrdiff_t steps) {
    const stemsplit_shape& s = weights.shape;
    const Chunk& k = w.chunk;
    const ptrdiff_t q = chunk_steps(s, steps), sign = backward ? -1 : 1;
    memset(w.mixed, 0, (size_t)((s.taps - 1) * w.mixed_width) * sizeof(float));
    for (ptrdiff_t start = 0; start < steps; start += q) {
        const ptrdiff_t length = steps - start < q ? steps - start : q;
        const ptrdiff_t tiles = (length + TILE_ROWS - 1) / TILE_ROWS, height = round_up((length + tiles - 1) / tiles, 2);
        memset(k.decay, 0, (size_t)(s.heads * k.columns) * sizeof(float));
        for (ptrdiff_t h = 0; h < s.heads; ++h) k.enter[h] = 1.0f;
        for (ptrdiff_t first = 0; first < length; first += height) {
            const ptrdiff_t rows = length - first < height ? length - first : height;
            const ptrdiff_t at = backward ? steps - 1 - start - first : start + first;
            run_tile(weights, weights.direction[backward], w, w.normed + at * w.row_cells, w.total + at * w.features, sign,
                     first, rows, start > 0);
        }
        if (start + q < steps) carry(k, length, start > 0);
    }
}

// Rows that lie apart → one after the other.
INLINE const float* gather(const float* x, ptrdiff_t stride, ptrdiff_t steps, ptrdiff_t features, float* rows) {
    if (stride == features) return x;
    for (ptrdiff_t t = 0; t < steps; ++t) fetch(x + t * stride, features);
    for (ptrdiff_t t = 0; t < steps; ++t) memcpy(rows + t * features, x + t * stride, (size_t)features * sizeof(float));
    return rows;
}

void sequence(const stemsplit_block_weights& weights, const float* from, float* out, ptrdiff_t step_stride, ptrdiff_t steps,
              float* scratch) {
    const TileUse tiles;
    const stemsplit_shape& s = weights.shape;
    const Workspace w = lay_out(s, steps, scratch);
    const ptrdiff_t inner_cells = cells(s.features);
    const float* x = gather(from, step_stride, steps, s.features, w.rows);
    if (weights.by_row)
        row_cells_of<false>(x, steps, s.features, w.normed, w.row_cells);
    else
        group_norm(x, steps, s.features, weights.norm_weight, weights.norm_bias, w.normed, w.row_cells);
    for (ptrdiff_t t = 0; t < steps; t += TILE_ROWS)
        multiply<false>(steps - t < TILE_ROWS ? steps - t : TILE_ROWS, w.features, inner_cells, w.normed + t * w.row_cells,
                        w.row_cells, packed(weights.straight, inner_cells), w.total + t * w.features, w.features);
    if (weights.by_row) row_cells_of<true>(x, steps, s.features, w.normed, w.row_cells);
    run_direction(weights, false, w, steps);
    run_direction(weights, true, w, steps);
    for (ptrdiff_t t = 0; t < steps; ++t) {
        const float *row = x + t * s.features, *added = w.total + t * w.features;
        for (ptrdiff_t i = 0; i < s.features; ++i) out[t * step_stride + i] = row[i] + (added[i] + weights.bias[i]);
    }
}

ptrdiff_t scratch_words(const stemsplit_shape& s, ptrdiff_t steps) {
    return lay_out(s, steps, nullptr).words;
}

}  // namespace
