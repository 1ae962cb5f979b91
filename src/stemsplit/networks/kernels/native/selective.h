// Mamba-1 between its projections, at inference (arXiv 2312.00752, algorithm 2): convolution, SiLU, the map to dt, B and C,
// the selective scan, D x, and the gate. Vectors hold neighbouring channels; the state stays in the first cache.
#pragma once

#include "abi.h"
#include "arena.h"
#include "functions.h"
#include "norm.h"

namespace {

struct Selective {
    ptrdiff_t inner, mixed;  // channels, and [dt | B | C]: padded
    float* active;           // (inner): convolved x, after SiLU
    float* low;              // (mixed)
    float* state;            // (state, inner)
    ptrdiff_t words;
};

INLINE Selective lay_out_selective(const stemsplit_selective& n, float* scratch) {
    Arena at = {scratch, 0};
    Selective k = {};
    k.inner = round_up(n.inner, VW), k.mixed = round_up(n.low + 2 * n.state, VW);
    k.active = take(at, k.inner), k.low = take(at, k.mixed), k.state = take(at, n.state * k.inner);
    k.words = at.used;
    return k;
}

ptrdiff_t selective_words(const stemsplit_selective& n) { return lay_out_selective(n, nullptr).words; }

INLINE vf load_up_to(const float* p, ptrdiff_t n) { return n >= VW ? load(p) : load_some(p, n); }

INLINE void store_up_to(float* p, vf v, ptrdiff_t n) {
    if (n >= VW) return store(p, v);
    float lane[VW];
    store(lane, v);
    memcpy(p, lane, (size_t)n * sizeof(float));
}

INLINE vf exact_silu(vf x) { return x * sigmoid(x); }

// SiLU of the convolved x of step t. `x` is that of the step, `back` floats on that of the step before.
INLINE void convolve(const stemsplit_selective& n, const Selective& k, const float* x, ptrdiff_t back, ptrdiff_t t) {
    const ptrdiff_t taps = t + 1 < n.taps ? t + 1 : n.taps;  // before the first step there are zeros
    for (ptrdiff_t i = 0; i < k.inner; i += VW) {
        vf total = load(n.conv_bias + i);
        for (ptrdiff_t lag = 0; lag < taps; ++lag)
            total = fma(load_up_to(x + lag * back + i, n.inner - i), load(n.conv + (n.taps - 1 - lag) * k.inner + i), total);
        store(k.active + i, exact_silu(total));
    }
}

// [dt | B | C] of the step: two sums at once, because each has to wait for itself.
INLINE void mix(const stemsplit_selective& n, const Selective& k) {
    for (ptrdiff_t o = 0; o < k.mixed; o += VW) {
        vf even = all(0), odd = all(0);
        ptrdiff_t i = 0;
        for (; i + 2 <= n.inner; i += 2) {
            even = fma(all(k.active[i]), load(n.mix + i * k.mixed + o), even);
            odd = fma(all(k.active[i + 1]), load(n.mix + (i + 1) * k.mixed + o), odd);
        }
        if (i < n.inner) even = fma(all(k.active[i]), load(n.mix + i * k.mixed + o), even);
        store(k.low + o, even + odd);
    }
}

// One direction of a sequence: rows [x | z] → y silu(z), `stride` and `out_stride` floats from step to step.
void selective(const stemsplit_selective& n, const float* rows, ptrdiff_t stride, float* out, ptrdiff_t out_stride,
               ptrdiff_t steps, float* scratch) {
    const Selective k = lay_out_selective(n, scratch);
    const float *b = k.low + n.low, *c = b + n.state;
    for (ptrdiff_t i = 0; i < n.state * k.inner; i += VW) store(k.state + i, all(0));
    for (ptrdiff_t t = 0; t < steps; ++t, rows += stride, out += out_stride) {
        convolve(n, k, rows, -stride, t);
        mix(n, k);
        for (ptrdiff_t i = 0; i < k.inner; i += VW) {
            vf dt = load(n.dt_bias + i);
            for (ptrdiff_t r = 0; r < n.low; ++r) dt = fma(all(k.low[r]), load(n.dt + r * k.inner + i), dt);
            dt = softplus(dt);
            const vf x = load(k.active + i), into = dt * x;
            vf y = load(n.skip + i) * x;
            for (ptrdiff_t s = 0; s < n.state; ++s) {
                const vf decay = exponential(dt * load(n.a + s * k.inner + i));
                const vf h = fma(decay, load(k.state + s * k.inner + i), into * all(b[s]));
                store(k.state + s * k.inner + i, h);
                y = fma(h, all(c[s]), y);
            }
            store_up_to(out + i, y * exact_silu(load_up_to(rows + n.inner + i, n.inner - i)), n.inner - i);
        }
    }
}

}  // namespace
