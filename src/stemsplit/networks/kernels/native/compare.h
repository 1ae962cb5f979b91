// The last maps of the heads of both stages, the masks, and how far the stems are from the true ones: for training, band by
// band. Nothing that has a value per bin is stored; for the gradients it is computed again.
//
// A block is VW bins of a band, padded with zeros, which add nothing to any energy. In a block every map of a group has N =
// stems * channels outputs of VW bins. Stage 1 is that of the masks, stage 2 that of the map.
#pragma once

#include "abi.h"
#include "narrow.h"
#include "products.h"
#include "rows.h"

namespace {

constexpr ptrdiff_t MAPS = 8;  // (stage, value | gate, re | im)

struct Compare {
    ptrdiff_t stems, channels, n, m, inner, width;  // N and what is compared; I, and I in whole vectors
    ptrdiff_t outputs;                              // N * VW
    float *map[MAPS], *bias[MAPS];   // (I, outputs), (outputs)
    float *last[MAPS];               // (rows, outputs)
    float* out;                      // (stage, re | im, N, VW): value * sigmoid(gate)
    float* estimate;                 // (stage 1, both; re | im; N; VW)
    float* away;                     // (stage 1, both; re | im; M; VW): the folded estimate less what is true
    float* sums;                     // (stage 1, both, truth; M; VW)
    // For gradients only.
    float *turned[MAPS], *dmap[MAPS], *dbias[MAPS];  // (outputs, width), the same, (outputs)
    float *hidden, *dhidden;                         // (rows, width)
    ptrdiff_t words;

    float* out_of(ptrdiff_t stage, ptrdiff_t part, ptrdiff_t i) const { return out + ((2 * stage + part) * n + i) * VW; }
    float* estimate_of(ptrdiff_t stage, ptrdiff_t part, ptrdiff_t i) const { return estimate + ((2 * stage + part) * n + i) * VW; }
    float* away_of(ptrdiff_t stage, ptrdiff_t part, ptrdiff_t i) const { return away + ((2 * stage + part) * m + i) * VW; }
};

INLINE Compare lay_out_compare(const stemsplit_compare& c, bool gradient, float* scratch) {
    Arena at = {scratch, 0};
    Compare k = {};
    k.stems = c.stems, k.channels = c.channels, k.n = c.stems * c.channels, k.m = c.compared, k.inner = c.inner;
    k.width = round_up(c.inner, VW), k.outputs = k.n * VW;
    for (ptrdiff_t i = 0; i < MAPS; ++i) {
        k.map[i] = take(at, k.inner * k.outputs), k.bias[i] = take(at, k.outputs);
        k.last[i] = take(at, LAYER_ROWS * k.outputs);
        if (!gradient) continue;
        k.turned[i] = take(at, k.outputs * k.width), k.dmap[i] = take(at, k.outputs * k.width);
        k.dbias[i] = take(at, k.outputs);
    }
    k.out = take(at, 4 * k.outputs), k.estimate = take(at, 4 * k.outputs);
    k.away = take(at, 4 * k.m * VW), k.sums = take(at, 3 * k.m * VW);
    k.hidden = take(at, gradient ? LAYER_ROWS * k.width : 0), k.dhidden = take(at, gradient ? LAYER_ROWS * k.width : 0);
    k.words = at.used;
    return k;
}

// The weights of map i in `bins` bins from `bin` on: inner values first, and for gradients outputs first as well.
INLINE void pack_map(const Compare& k, const stemsplit_last_map& from, ptrdiff_t i, ptrdiff_t all_bins, ptrdiff_t bin, ptrdiff_t bins) {
    const ptrdiff_t group = i % 4;
    memset(k.map[i], 0, (size_t)(k.inner * k.outputs) * sizeof(float));
    memset(k.bias[i], 0, (size_t)k.outputs * sizeof(float));
    if (k.turned[i]) memset(k.turned[i], 0, (size_t)(k.outputs * k.width) * sizeof(float));
    for (ptrdiff_t n = 0; n < k.n; ++n) {
        const float* rows = from.weight + ((group * k.n + n) * all_bins + bin) * k.inner;
        for (ptrdiff_t j = 0; j < k.inner; ++j)
            for (ptrdiff_t b = 0; b < bins; ++b) k.map[i][j * k.outputs + n * VW + b] = rows[b * k.inner + j];
        for (ptrdiff_t b = 0; b < bins; ++b) {
            const ptrdiff_t source = (group * k.n + n) * all_bins + bin + b, output = n * VW + b;
            k.bias[i][output] = from.bias[source];
            if (k.turned[i]) memcpy(k.turned[i] + output * k.width, rows + b * k.inner, (size_t)k.inner * sizeof(float));
        }
    }
}

// A frame of an item, in one block.
struct Frame {
    const float* spectrum;         // of the first channel, at the first bin
    const float* known;            // likewise of the first of what is compared with
    const int64_t *spectrum_at, *known_at;
    const float* fold;             // (M, N)
    float factor;
    ptrdiff_t bins;
};

// Asks for what a frame `ahead` floats on is compared with.
INLINE void fetch_frame(const Compare& k, const Frame& f, ptrdiff_t ahead) {
    for (ptrdiff_t c = 0; c < k.channels; ++c) fetch(f.spectrum + f.spectrum_at[c] + ahead, 2 * f.bins);
    for (ptrdiff_t m = 0; m < k.m; ++m) fetch(f.known + f.known_at[m] + ahead, 2 * f.bins);
}

// value sigmoid(gate) of row t; the sigmoid takes the gate's place.
INLINE void gate_outputs(const Compare& k, ptrdiff_t t) {
    for (ptrdiff_t stage = 0; stage < 2; ++stage)
        for (ptrdiff_t part = 0; part < 2; ++part) {
            const ptrdiff_t value = 4 * stage + part, gate = value + 2;
            for (ptrdiff_t i = 0; i < k.outputs; i += VW) {
                float* at = k.last[gate] + t * k.outputs + i;
                const vf open = sigmoid(load(at) + load(k.bias[gate] + i));
                store(at, open);
                store(k.out_of(stage, part, 0) + i,
                      (load(k.last[value] + t * k.outputs + i) + load(k.bias[value] + i)) * open);
            }
        }
}

// Masks are shifted so that they add up to 1 → masked stems, and these with what is added.
INLINE void estimate_stems(const Compare& k, const Frame& f) {
    const vf share = all(1.0f / (float)k.stems);
    for (ptrdiff_t c = 0; c < k.channels; ++c) {
        vf re, im, excess_re = all(0.0f), excess_im = all(0.0f);
        load_some_complex(f.spectrum + f.spectrum_at[c], f.bins, re, im);
        for (ptrdiff_t n = c; n < k.n; n += k.channels)
            excess_re = excess_re + load(k.out_of(0, 0, n)), excess_im = excess_im + load(k.out_of(0, 1, n));
        excess_re = (excess_re - all(1.0f)) * share, excess_im = excess_im * share;
        for (ptrdiff_t n = c; n < k.n; n += k.channels) {
            const vf mask_re = load(k.out_of(0, 0, n)) - excess_re, mask_im = load(k.out_of(0, 1, n)) - excess_im;
            const vf masked_re = fnma(mask_im, im, mask_re * re), masked_im = fma(mask_im, re, mask_re * im);
            store(k.estimate_of(0, 0, n), masked_re), store(k.estimate_of(0, 1, n), masked_im);
            store(k.estimate_of(1, 0, n), masked_re + load(k.out_of(1, 0, n)));
            store(k.estimate_of(1, 1, n), masked_im + load(k.out_of(1, 1, n)));
        }
    }
}

INLINE vf folded(const Compare& k, const float* fold, const float* estimates) {
    vf total = all(0.0f);
    for (ptrdiff_t n = 0; n < k.n; ++n)
        if (fold[n] != 0.0f) total = fma(all(fold[n]), load(estimates + n * VW), total);
    return total;
}

// Differences from the truth, and their energies.
INLINE void compare_stems(const Compare& k, const Frame& f) {
    for (ptrdiff_t m = 0; m < k.m; ++m) {
        vf known[2], truth = load(k.sums + (2 * k.m + m) * VW);
        load_some_complex(f.known + f.known_at[m], f.bins, known[0], known[1]);
        for (ptrdiff_t part = 0; part < 2; ++part) {
            known[part] = known[part] * all(f.factor);
            truth = fma(known[part], known[part], truth);
        }
        store(k.sums + (2 * k.m + m) * VW, truth);
        for (ptrdiff_t stage = 0; stage < 2; ++stage) {
            vf energy = load(k.sums + (stage * k.m + m) * VW);
            for (ptrdiff_t part = 0; part < 2; ++part) {
                const vf away = folded(k, f.fold + m * k.n, k.estimate_of(stage, part, 0)) - known[part];
                energy = fma(away, away, energy);
                store(k.away_of(stage, part, m), away);
            }
            store(k.sums + (stage * k.m + m) * VW, energy);
        }
    }
}

// The gradient of the estimates, in their place: with the slope d of a row's energy, that of the difference is 2 d times it.
INLINE void estimate_gradient(const Compare& k, const Frame& f, const float* slopes, ptrdiff_t stage_slopes) {
    for (ptrdiff_t i = 0; i < 4 * k.outputs; i += VW) store(k.estimate + i, all(0.0f));
    for (ptrdiff_t stage = 0; stage < 2; ++stage)
        for (ptrdiff_t m = 0; m < k.m; ++m)
            for (ptrdiff_t part = 0; part < 2; ++part) {
                const vf d = load(k.away_of(stage, part, m)) * all(2.0f * slopes[stage * stage_slopes + m]);
                for (ptrdiff_t n = 0; n < k.n; ++n)
                    if (f.fold[m * k.n + n] != 0.0f) {
                        float* to = k.estimate_of(stage, part, n);
                        store(to, fma(all(f.fold[m * k.n + n]), d, load(to)));
                    }
            }
}

// Through the gate: d of an output → of its value and its gate, in their places in row t.
INLINE void gate_gradient_of(const Compare& k, ptrdiff_t t, ptrdiff_t stage, ptrdiff_t part, ptrdiff_t n, vf d) {
    const ptrdiff_t value = 4 * stage + part, at = t * k.outputs + n * VW;
    float* gate = k.last[value + 2] + at;
    const vf open = load(gate), through = d * load(k.out_of(stage, part, n)) * (all(1.0f) - open);
    float *sum = k.dbias[value] + n * VW, *gate_sum = k.dbias[value + 2] + n * VW;
    d = d * open;
    store(k.last[value] + at, d), store(sum, load(sum) + d);
    store(gate, through), store(gate_sum, load(gate_sum) + through);
}

// The gradient of the estimates → that of all last maps' outputs, in their place in row t.
INLINE void output_gradient(const Compare& k, const Frame& f, ptrdiff_t t) {
    const vf share = all(1.0f / (float)k.stems);
    for (ptrdiff_t c = 0; c < k.channels; ++c) {
        vf re, im, mean_re = all(0.0f), mean_im = all(0.0f);
        load_some_complex(f.spectrum + f.spectrum_at[c], f.bins, re, im);
        for (ptrdiff_t n = c; n < k.n; n += k.channels) {
            const vf map_re = load(k.estimate_of(1, 0, n)), map_im = load(k.estimate_of(1, 1, n));
            const vf d_re = load(k.estimate_of(0, 0, n)) + map_re, d_im = load(k.estimate_of(0, 1, n)) + map_im;
            const vf mask_re = fma(d_im, im, d_re * re), mask_im = fnma(d_re, im, d_im * re);
            mean_re = mean_re + mask_re, mean_im = mean_im + mask_im;
            store(k.estimate_of(0, 0, n), mask_re), store(k.estimate_of(0, 1, n), mask_im);
            gate_gradient_of(k, t, 1, 0, n, map_re), gate_gradient_of(k, t, 1, 1, n, map_im);
        }
        mean_re = mean_re * share, mean_im = mean_im * share;
        for (ptrdiff_t n = c; n < k.n; n += k.channels) {
            gate_gradient_of(k, t, 0, 0, n, load(k.estimate_of(0, 0, n)) - mean_re);
            gate_gradient_of(k, t, 0, 1, n, load(k.estimate_of(0, 1, n)) - mean_im);
        }
    }
}

// Rows of hidden values of a band and map, and of their gradients.
INLINE ptrdiff_t hidden_at(const stemsplit_compare& c, ptrdiff_t band, ptrdiff_t i, ptrdiff_t row) {
    return ((band * 4 + i % 4) * c.items * c.steps + row) * c.inner;
}

// Through map i of `rows` rows: adds to the gradients of its weights and of the hidden values.
INLINE void map_gradient(const Compare& k, ptrdiff_t i, const float* hidden, float* dhidden, ptrdiff_t rows) {
    for (ptrdiff_t t = 0; t < rows; ++t) widen(hidden + t * k.inner, k.inner, k.hidden + t * k.width, k.width);
    product(FULL, k.outputs, k.width, rows, {k.last[i], k.outputs}, k.hidden, k.width, k.dmap[i], k.width, true, true);
    product(FULL, rows, k.width, k.outputs, {k.last[i], k.outputs}, k.turned[i], k.width, k.dhidden, k.width, false);
    for (ptrdiff_t t = 0; t < rows; ++t)
        for (ptrdiff_t j = 0; j < k.inner; ++j) dhidden[t * k.inner + j] += k.dhidden[t * k.width + j];
}

INLINE void release_map(const Compare& k, const stemsplit_last_gradient& to, ptrdiff_t i, ptrdiff_t all_bins, ptrdiff_t bin,
                        ptrdiff_t bins) {
    for (ptrdiff_t n = 0; n < k.n; ++n)
        for (ptrdiff_t b = 0; b < bins; ++b) {
            const ptrdiff_t target = (i % 4 * k.n + n) * all_bins + bin + b, output = n * VW + b;
            memcpy(to.weight + target * k.inner, k.dmap[i] + output * k.width, (size_t)k.inner * sizeof(float));
            to.bias[target] = k.dbias[i][output];
        }
}

INLINE Frame frame_of(const stemsplit_compare& c, ptrdiff_t item, ptrdiff_t bin, ptrdiff_t bins) {
    return {c.spectrum + 2 * bin, c.known + 2 * bin, c.spectrum_at + item * c.channels, c.known_at + item * c.compared,
            c.fold + item * c.compared * c.stems * c.channels, c.factor[item], bins};
}

// One item in a block of bins, tile of rows by tile of rows. Without `slopes` no gradients.
INLINE void compare_item(const stemsplit_compare& c, const Compare& k, ptrdiff_t band, ptrdiff_t item, Frame f,
                         const float* slopes, const stemsplit_last_gradient* gradients) {
    const ptrdiff_t tiles = (c.steps + LAYER_ROWS - 1) / LAYER_ROWS;
    for (ptrdiff_t tile = 0; tile < tiles; ++tile) {
        const ptrdiff_t first = tile * c.steps / tiles, rows = (tile + 1) * c.steps / tiles - first;
        const ptrdiff_t row = item * c.steps + first;
        for (ptrdiff_t i = 0; i < MAPS; ++i)
            product(FULL, rows, k.outputs, k.inner, {c.maps[i / 4].hidden + hidden_at(c, band, i, row), k.inner}, k.map[i], k.outputs,
                    k.last[i], k.outputs, false);
        for (ptrdiff_t t = 0; t < rows; ++t, f.spectrum += 2 * c.bins, f.known += 2 * c.bins) {
            if (first + t + 1 < c.steps) fetch_frame(k, f, 2 * c.bins);
            gate_outputs(k, t);
            estimate_stems(k, f);
            compare_stems(k, f);
            if (!slopes) continue;
            estimate_gradient(k, f, slopes + item * k.m, c.items * k.m);
            output_gradient(k, f, t);
        }
        for (ptrdiff_t i = 0; slopes && i < MAPS; ++i) {
            const ptrdiff_t at = hidden_at(c, band, i, row);
            map_gradient(k, i, c.maps[i / 4].hidden + at, gradients[i / 4].hidden + at, rows);
        }
    }
}

// Band `band` of all items. Adds to energies (3, items, M): of stage 1's differences, of both stages', of the truth. With
// slopes (2, items, M) of the first two it writes the gradients of the maps, and adds to those of the hidden values.
void compare(const stemsplit_compare& c, ptrdiff_t band, double* energies, const float* slopes,
             const stemsplit_last_gradient* gradients, float* scratch) {
    const Compare k = lay_out_compare(c, slopes != nullptr, scratch);
    ptrdiff_t start = 0;
    for (ptrdiff_t before = 0; before < band; ++before) start += c.widths[before];
    const ptrdiff_t end = start + c.widths[band];
    for (ptrdiff_t bin = start; bin < end; bin += VW) {
        const ptrdiff_t bins = end - bin < VW ? end - bin : VW;
        for (ptrdiff_t i = 0; i < MAPS; ++i) {
            pack_map(k, c.maps[i / 4], i, c.bins, bin, bins);
            if (!slopes) continue;
            memset(k.dmap[i], 0, (size_t)(k.outputs * k.width) * sizeof(float));
            memset(k.dbias[i], 0, (size_t)k.outputs * sizeof(float));
        }
        for (ptrdiff_t item = 0; item < c.items; ++item) {
            memset(k.sums, 0, (size_t)(3 * k.m * VW) * sizeof(float));
            compare_item(c, k, band, item, frame_of(c, item, bin, bins), slopes, gradients);
            for (ptrdiff_t i = 0; i < 3 * k.m && energies; ++i)
                energies[(i / k.m * c.items + item) * k.m + i % k.m] += (double)sum(load(k.sums + i * VW));
        }
        for (ptrdiff_t i = 0; slopes && i < MAPS; ++i) release_map(k, gradients[i / 4], i, c.bins, bin, bins);
    }
}

ptrdiff_t compare_words(const stemsplit_compare& c, bool gradient) { return lay_out_compare(c, gradient, nullptr).words; }

}  // namespace
