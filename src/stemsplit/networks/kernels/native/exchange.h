// The exchange between audio channels: transform, average, concatenate, for one band.
#pragma once

#include "abi.h"
#include "rows.h"

namespace {

struct ExchangeSpace {
    float *normed, *hidden, *own, *mean, *shared, *common, *made;
    ptrdiff_t words;
};

INLINE ExchangeSpace exchange_space(const stemsplit_exchange& e, ptrdiff_t channels, ptrdiff_t steps, float* scratch) {
    const ptrdiff_t features = round_up(e.features, VW);
    Arena at = {scratch, 0};
    ExchangeSpace space;
    space.normed = take(at, channels * steps * row_cells(e.features));
    space.hidden = take(at, LAYER_ROWS * e.hidden);
    space.own = take(at, channels * LAYER_ROWS * e.hidden / PACK);
    space.mean = take(at, LAYER_ROWS * e.hidden);
    space.shared = take(at, LAYER_ROWS * e.hidden / PACK);
    space.common = take(at, LAYER_ROWS * features);
    space.made = take(at, LAYER_ROWS * features);
    space.words = at.used;
    return space;
}

// tanh(rows + bias) → cells in `out`, and its share of the mean over channels is added to `mean`.
INLINE void tanh_and_mean(const float* rows, const float* bias, ptrdiff_t count, ptrdiff_t width, float share, float* out,
                          float* mean, bool add) {
    for (ptrdiff_t t = 0; t < count; ++t)
        for (ptrdiff_t i = 0; i < width; i += VW) {
            const vf value = hyperbolic_tangent(load(rows + t * width + i) + load(bias + i));
            store_row(out + (t * width + i) / PACK, value);
            float* sum = mean + t * width + i;
            store(sum, add ? fma(value, all(share), load(sum)) : value * all(share));
        }
}

// out = x + tanh(made + bias), row by row.
INLINE void tanh_added(const stemsplit_exchange& e, float* made, ptrdiff_t stride, const float* x, float* out, ptrdiff_t rows) {
    for (ptrdiff_t t = 0; t < rows; ++t, made += stride, x += e.features, out += e.features) {
        for (ptrdiff_t i = 0; i < stride; i += VW) store(made + i, hyperbolic_tangent(load(made + i) + load(e.bias + i)));
        for (ptrdiff_t i = 0; i < e.features; ++i) out[i] = x[i] + made[i];
    }
}

// x, out: (channels, steps, features), the channels `stride` floats apart.
void exchange(const stemsplit_exchange& e, const float* x, float* out, ptrdiff_t channels, ptrdiff_t stride, ptrdiff_t steps,
              float* scratch) {
    const TileUse tiles;
    const ExchangeSpace space = exchange_space(e, channels, steps, scratch);
    const ptrdiff_t row = row_cells(e.features), features = round_up(e.features, VW), hidden_cells = e.hidden / PACK;
    const ptrdiff_t inner_cells = cells(e.features);
    for (ptrdiff_t c = 0; c < channels; ++c)
        group_norm(x + c * stride, steps, e.features, e.norm_weight, e.norm_bias, space.normed + c * steps * row, row);
    for (ptrdiff_t first = 0; first < steps; first += LAYER_ROWS) {
        const ptrdiff_t rows = steps - first < LAYER_ROWS ? steps - first : LAYER_ROWS;
        for (ptrdiff_t c = 0; c < channels; ++c) {
            multiply<false>(rows, e.hidden, inner_cells, space.normed + (c * steps + first) * row, row,
                            packed(e.transform, inner_cells), space.hidden, e.hidden);
            tanh_and_mean(space.hidden, e.transform_bias, rows, e.hidden, 1.0f / (float)channels,
                          space.own + c * LAYER_ROWS * hidden_cells, space.mean, c > 0);
        }
        for (ptrdiff_t i = 0; i < rows * e.hidden; i += VW) store_row(space.shared + i / PACK, load(space.mean + i));
        multiply<false>(rows, e.hidden, hidden_cells, space.shared, hidden_cells, packed(e.average, hidden_cells), space.hidden,
                        e.hidden);
        tanh_cells(space.hidden, e.hidden, e.average_bias, rows, e.hidden, space.shared, hidden_cells);
        multiply<false>(rows, features, hidden_cells, space.shared, hidden_cells, packed(e.concatenate_shared, hidden_cells),
                        space.common, features);
        for (ptrdiff_t c = 0; c < channels; ++c) {
            memcpy(space.made, space.common, (size_t)(rows * features) * sizeof(float));
            multiply<true>(rows, features, hidden_cells, space.own + c * LAYER_ROWS * hidden_cells, hidden_cells,
                           packed(e.concatenate_own, hidden_cells), space.made, features);
            tanh_added(e, space.made, features, x + c * stride + first * e.features, out + c * stride + first * e.features, rows);
        }
    }
}

ptrdiff_t exchange_words(const stemsplit_exchange& e, ptrdiff_t channels, ptrdiff_t steps) {
    return exchange_space(e, channels, steps, nullptr).words;
}

}  // namespace
