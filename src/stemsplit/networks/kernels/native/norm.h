// Group norm of a sequence, and the gate with its RMS norm.
#pragma once

#include "functions.h"

namespace {

constexpr float GROUP_EPS = 1.1920929e-7f;  // float32's own, as the network has it
constexpr float RMS_EPS = 1e-5f;

INLINE float root(float x) { return __builtin_sqrtf(x); }

// The first n < VW floats, then zeros.
INLINE vf load_some(const float* p, ptrdiff_t n) {
    float lane[VW] = {0};
    memcpy(lane, p, (size_t)n * sizeof(float));
    return load(lane);
}

// Sum of (x - shift)^power over n floats, power 1 or 2.
template <int POWER>
INLINE float moment(const float* x, ptrdiff_t n, float shift) {
    vf total[4] = {all(0), all(0), all(0), all(0)};
    const vf s = all(shift);
    ptrdiff_t i = 0;
    for (; i + 4 * VW <= n; i += 4 * VW)
        for (int v = 0; v < 4; ++v) {
            const vf d = load(x + i + v * VW) - s;
            total[v] = POWER == 1 ? total[v] + d : fma(d, d, total[v]);
        }
    float rest = 0;
    for (; i < n; ++i) rest += POWER == 1 ? x[i] - shift : (x[i] - shift) * (x[i] - shift);
    return rest + sum((total[0] + total[1]) + (total[2] + total[3]));
}

// Rows x (steps, features) → cells of the normed rows, `stride` cells apart. One mean and variance for all.
INLINE void group_norm(const float* x, ptrdiff_t steps, ptrdiff_t features, const float* weight, const float* bias,
                       float* out, ptrdiff_t stride) {
    const ptrdiff_t n = steps * features;
    float mean = moment<1>(x, n, 0.0f) / (float)n;
    mean += moment<1>(x, n, mean) / (float)n;  // once more: what rounding left of a large mean
    const float scale = 1.0f / root(moment<2>(x, n, mean) / (float)n + GROUP_EPS);
    const vf shift = all(mean), factor = all(scale);
    for (ptrdiff_t t = 0; t < steps; ++t, x += features, out += stride)
        for (ptrdiff_t i = 0; i < features; i += VW) {
            const vf v = i + VW <= features ? load(x + i) : load_some(x + i, features - i);
            store_row(out + i / PACK, fma((v - shift) * factor, load(weight + i), load(bias + i)));
        }
}

// Rows x (steps, features) → cells, `stride` cells apart; BY_ROW: each divided by its own root mean square.
template <bool BY_ROW>
INLINE void row_cells_of(const float* x, ptrdiff_t steps, ptrdiff_t features, float* out, ptrdiff_t stride) {
    for (ptrdiff_t t = 0; t < steps; ++t, x += features, out += stride) {
        const vf scale = all(BY_ROW ? 1.0f / root(moment<2>(x, features, 0.0f) / (float)features + RMS_EPS) : 1.0f);
        for (ptrdiff_t i = 0; i < features; i += VW)
            store_row(out + i / PACK, (i + VW <= features ? load(x + i) : load_some(x + i, features - i)) * scale);
    }
}

// y silu(z) / rms of a row of `width` (zeros from `inner` on) → cells; y is overwritten.
INLINE void gated_norm(float* y, const float* z, ptrdiff_t width, ptrdiff_t inner, float* out) {
    vf total = all(0);
    for (ptrdiff_t i = 0; i < width; i += VW) {
        const vf gated = load(y + i) * silu(load(z + i));
        total = fma(gated, gated, total);
        store(y + i, gated);
    }
    const vf scale = all(1.0f / root(sum(total) / (float)inner + RMS_EPS));
    for (ptrdiff_t i = 0; i < width; i += VW) store_row(out + i / PACK, load(y + i) * scale);
}

}  // namespace
