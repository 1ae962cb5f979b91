// State-space duality (arXiv 2405.21060, section 6) in chunks, causal; tile of rows by tile of rows.
//
// Inside a chunk y_t = sum over s <= t of (c_t . b_s) decay(t, s) dt_s x_s + D x_t: one product of a small matrix of
// weights, made row block by row block in the first cache, with x. Rows of decay(t, s) dt_s follow from each other by
// one multiplication (the same recurrence that the state obeys), so there is no exponential per pair of steps.
// Earlier chunks reach this one through the state alone.
#pragma once

#include "conv.h"
#include "gemm.h"

namespace {

struct Chunk {
    ptrdiff_t state, heads, channels;  // S, H, P, padded
    ptrdiff_t columns;                 // row length of b, pairs, scores and decay: steps of a chunk, padded
    ptrdiff_t panels;                  // of one head's channels
    float* x;                          // cells [head][panel][step cells][PANEL]
    float* b;                          // floats (S, columns)
    float* pairs;                      // bf16: cells (S / 2, columns) of b; fp32: the same as b
    float* c;                          // cells of this tile (rows, S)
    float* scores;                     // (rows, columns): c_t . b_s
    float* decay;                      // (heads, columns): decay(last step done, s) dt_s
    float* dt;                         // (rows, heads padded)
    float* keep;                       // (rows, heads padded): e^{a_t}
    float* enter;                      // (heads): decay from the start of the chunk to the last step done
    float* weights;                    // cells (ROWS, columns or S)
    float* states;                     // floats [head][panel][S][PANEL], before this chunk
    float* state_cells;                // bf16: cells of it; fp32: the same
    ptrdiff_t heads_padded, capacity;  // capacity: step cells of x
    float* head(ptrdiff_t h) const { return x + h * panels * capacity * PANEL; }
};

// Convolve `count` rows [x | B | C] into where the products want them; `first` in the chunk is even in bf16.
// `rows` (count, 2 S) is left with B and C as floats.
template <int TAPS>
INLINE void admit(const Chunk& k, const Convolution& conv, ptrdiff_t first, ptrdiff_t count, float* rows) {
    const ptrdiff_t inner = k.heads * k.channels, width = 2 * k.state;
    for (ptrdiff_t t = 0; t < count; t += PACK)
        for (ptrdiff_t h = 0; h < k.heads; ++h)
            for (ptrdiff_t p = 0; p < k.channels; p += VW) {
                float* to = k.head(h) + ((p / PANEL) * k.capacity + (first + t) / PACK) * PANEL + p % PANEL;
                const ptrdiff_t c = h * k.channels + p;
#if defined(STEMSPLIT_SET_BF16)
                store(to, pair(convolved<TAPS>(conv, t, c), t + 1 < count ? convolved<TAPS>(conv, t + 1, c) : all(0)));
#else
                store(to, convolved<TAPS>(conv, t, c));
#endif
            }
    for (ptrdiff_t t = 0; t < count; ++t) {
        for (ptrdiff_t i = 0; i < k.state; i += VW) store(rows + t * width + i, convolved<TAPS>(conv, t, inner + i));
        for (ptrdiff_t i = 0; i < k.state; i += VW) {
            const vf c = convolved<TAPS>(conv, t, inner + k.state + i);
            store(rows + t * width + k.state + i, c);
            store_row(k.c + (t * k.state + i) / PACK, c);
        }
    }
}

// B of the rows just admitted → columns of b (and pairs).
INLINE void turn(const Chunk& k, const float* rows, ptrdiff_t first, ptrdiff_t count) {
    const ptrdiff_t width = 2 * k.state;
    ptrdiff_t t = 0;
    for (; t + 4 <= count; t += 4)
        for (ptrdiff_t i = 0; i < k.state; i += 4)
            transpose_4x4(rows + t * width + i, width, k.b + i * k.columns + first + t, k.columns);
    for (; t < count; ++t)
        for (ptrdiff_t i = 0; i < k.state; ++i) k.b[i * k.columns + first + t] = rows[t * width + i];
    const ptrdiff_t past = first + count;  // products go on to the end of a vector: no rubbish there
    const ptrdiff_t fill = round_up(past, VW) - past;
    for (ptrdiff_t i = 0; i < k.state && fill; ++i) memset(k.b + i * k.columns + past, 0, (size_t)fill * sizeof(float));
#if defined(STEMSPLIT_SET_BF16)
    for (ptrdiff_t i = 0; i < k.state; i += 2)
        for (ptrdiff_t s = first / VW * VW; s < past; s += VW)
            store(k.pairs + i / 2 * k.columns + s, pair(load(k.b + i * k.columns + s), load(k.b + (i + 1) * k.columns + s)));
#endif
}

// Weights of `count` rows from `t0` (in the chunk; `row` in the tile) and head h, up to column `end`; moves decay on.
INLINE void weigh(const Chunk& k, ptrdiff_t h, ptrdiff_t t0, ptrdiff_t row, ptrdiff_t count, ptrdiff_t end, float skip) {
    float* decay = k.decay + h * k.columns;
    const float *keep = k.keep + row * k.heads_padded + h, *dt = k.dt + row * k.heads_padded + h;
    const float* scores = k.scores + row * k.columns;
    const ptrdiff_t stride = k.columns / PACK, hp = k.heads_padded;
    const ptrdiff_t before = t0 / VW * VW;  // whole vectors of steps before all of these rows
    for (ptrdiff_t s = 0; s < before; s += VW) {
        vf d = load(decay + s);
        for (ptrdiff_t i = 0; i < count; ++i) {
            d = d * all(keep[i * hp]);
            store_row(k.weights + i * stride + s / PACK, d * load(scores + i * k.columns + s));
        }
        store(decay + s, d);
    }
    for (ptrdiff_t s = before; s < end; s += VW) {  // these hold the diagonal
        vf d = load(decay + s);
        const vf step = lanes() + all((float)s);
        for (ptrdiff_t i = 0; i < count; ++i) {
            const vf now = all((float)(t0 + i));
            d = where_equal(step, now, all(dt[i * hp]), d * all(keep[i * hp]));
            const vf w = d * load(scores + i * k.columns + s);
            store_row(k.weights + i * stride + s / PACK, where_equal(step, now, w + all(skip), w));
        }
        store(decay + s, d);
    }
}

// What the state before this chunk adds to rows: (c_t decay(start, t)) times the state.
INLINE void recall(const Chunk& k, const float* c, ptrdiff_t width, ptrdiff_t h, ptrdiff_t row, ptrdiff_t count, float* y,
                   ptrdiff_t ldy) {
    const ptrdiff_t stride = k.state / PACK;
    float enter = k.enter[h];
    for (ptrdiff_t i = 0; i < count; ++i) {
        enter *= k.keep[(row + i) * k.heads_padded + h];
        for (ptrdiff_t s = 0; s < k.state; s += VW)
            store_row(k.weights + i * stride + s / PACK, load(c + (row + i) * width + s) * all(enter));
    }
    k.enter[h] = enter;
    const Right states = {k.state_cells + h * k.panels * stride * PANEL, stride * PANEL, PANEL};
    multiply_rows<true>(count, k.channels, stride, k.weights, stride, states, y, ldy);
}

// One tile: rows `first` ... of the chunk, already admitted → y (count, heads * channels). `c` are C's floats.
INLINE void dual(const Chunk& k, const float* c, ptrdiff_t width, ptrdiff_t first, ptrdiff_t count, const float* skip,
                 bool entered, float* y) {
    const ptrdiff_t ldy = k.heads * k.channels, inner = k.state / PACK;
    const Blocks blocks(count);
    const Right pairs = {k.pairs, PANEL, k.columns};
    for (ptrdiff_t block = 0; block < blocks.count; ++block) {
        const ptrdiff_t row = blocks.start(block), n = blocks.start(block + 1) - row, end = first + row + n;
        multiply_rows<false>(n, round_up(end, VW), inner, k.c + row * inner, inner, pairs, k.scores + row * k.columns, k.columns);
    }
    for (ptrdiff_t h = 0; h < k.heads; ++h)
        for (ptrdiff_t block = 0; block < blocks.count; ++block) {
            const ptrdiff_t row = blocks.start(block), n = blocks.start(block + 1) - row, end = first + row + n;
            float* to = y + row * ldy + h * k.channels;
            weigh(k, h, first + row, row, n, end, skip[h]);
            const Right x = {k.head(h), k.capacity * PANEL, PANEL};
            multiply_rows<false>(n, k.channels, cells(end), k.weights, k.columns / PACK, x, to, ldy);
            if (entered) recall(k, c, width, h, row, n, to, ldy);
        }
}

// The state after `steps` of this chunk: decayed by all of it, plus sum over s of b_s decay(end, s) dt_s x_s.
INLINE void carry(const Chunk& k, ptrdiff_t steps, bool entered) {
    const ptrdiff_t stride = k.columns / PACK, size = k.state * PANEL;
    for (ptrdiff_t h = 0; h < k.heads; ++h) {
        float* state = k.states + h * k.panels * size;
        const vf passed = all(entered ? k.enter[h] : 0.0f);
        for (ptrdiff_t i = 0; i < k.panels * size; i += VW) store(state + i, entered ? load(state + i) * passed : all(0));
        const float* decay = k.decay + h * k.columns;
        const Right x = {k.head(h), k.capacity * PANEL, PANEL};
        for (ptrdiff_t i = 0; i < k.state; i += ROWS) {
            const ptrdiff_t n = k.state - i < ROWS ? k.state - i : ROWS;
            for (ptrdiff_t r = 0; r < n; ++r)
                for (ptrdiff_t s = 0; s < steps; s += VW)
                    store_row(k.weights + r * stride + s / PACK, load(k.b + (i + r) * k.columns + s) * load(decay + s));
            for (ptrdiff_t p = 0, j = 0; p < k.channels; p += PANEL, ++j)
                multiply_rows<true>(n, k.channels - p < PANEL ? k.channels - p : PANEL, cells(steps), k.weights, stride,
                                    Right{x.data + j * x.panel_stride, 0, PANEL}, state + j * size + i * PANEL, PANEL);
        }
#if defined(STEMSPLIT_SET_BF16)
        float* out = k.state_cells + h * k.panels * size / 2;
        for (ptrdiff_t j = 0; j < k.panels * k.state; j += 2)
            for (ptrdiff_t i = 0; i < PANEL; i += VW)
                store(out + j / 2 * PANEL + i, pair(load(state + j * PANEL + i), load(state + (j + 1) * PANEL + i)));
#endif
    }
}

}  // namespace
