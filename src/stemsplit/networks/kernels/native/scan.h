// One direction of a Mamba-2 layer for training, between its projections: convolution, SiLU, state-space duality (arXiv
// 2405.21060, section 6), D x, gate, division by the root mean square. Everything of a sequence stays in the second cache.
// Widths are padded to whole vectors with zeros, which stay zeros; rows are turned round on the way in and out of the
// backward direction, so that everything between is causal.
#pragma once

#include "abi.h"
#include "arena.h"
#include "functions.h"
#include "narrow.h"
#include "norm.h"
#include "products.h"

namespace {

// 28 to 48 steps are equally fast at the mini network's widths, 65 slower by 5 per cent, 130 by 15.
constexpr ptrdiff_t LONGEST_SCAN_CHUNK = 48;

// Parameters of a direction, or their gradients.
struct ScanParameters {
    float* conv;     // (taps + 1, mixed): the last tap reads its own step; then the bias
    float* skip;     // (inner): D of each channel's head
    float* dt_bias;  // (heads)
    float* a;        // (heads): -e^A_log; as a gradient that of A_log
};

struct Scan {
    ptrdiff_t heads, channels, state, taps;  // as the network has them
    ptrdiff_t p, s, inner, mixed, width;     // padded: of a head, state, all heads, [x | B | C], [z | x | B | C]
    ptrdiff_t steps, chunk, chunks;
    ptrdiff_t columns, line;  // row length of step maps, and of what every step has one of
    float* rows;              // (steps, width): as projected
    float* active;            // (steps, mixed): convolved, after SiLU
    float* slope;             // (steps, mixed): derivative of SiLU there
    float *raw, *dt, *keep;   // (heads, line): dt before and after softplus, e^{a dt}
    float *enter, *leave;     // (heads, line): decay from the start of the step's chunk, and to its end
    float* xdt;               // (steps, inner): x dt
    float* y;                 // (steps, inner), without D x
    float* states;            // (chunks, s, inner): entering each chunk
    float* scores;            // (steps, columns): c_t . b_s
    float* weights;           // (heads, steps, columns): times the decay; without gradients one chunk of one head
    float* turned;            // (max(s, inner), columns or s)
    float* reached;           // (steps, inner): what comes through the state; without gradients those of one chunk
    float* scaled;            // (chunk, inner)
    float* row;               // (3, inner)
    // For gradients only.
    float *dy, *dmixed;            // (steps, inner), (steps, mixed)
    float *dscores, *dweights;     // (chunk, columns)
    float *dstate, *da;            // (s, inner), (heads, line)
    float *across, *down;          // (chunk, VW), (columns): sums of dweights times weights beside the diagonal
    ptrdiff_t words;
    const float* head(const float* of, ptrdiff_t h) const { return of + h * line; }
};

INLINE ptrdiff_t raw_width(const stemsplit_scan_shape& n) { return 2 * n.heads * n.channels + 2 * n.state + n.heads; }

INLINE Scan lay_out_scan(const stemsplit_scan_shape& n, ptrdiff_t steps, bool gradient, float* scratch) {
    Arena at = {scratch, 0};
    Scan k = {};
    k.heads = n.heads, k.channels = n.channels, k.state = n.state, k.taps = n.taps, k.steps = steps;
    k.p = round_up(n.channels, VW), k.s = round_up(n.state, VW);
    k.inner = k.heads * k.p, k.mixed = k.inner + 2 * k.s, k.width = k.inner + k.mixed;
    k.chunks = (steps + LONGEST_SCAN_CHUNK - 1) / LONGEST_SCAN_CHUNK;
    k.chunk = (steps + k.chunks - 1) / k.chunks;
    k.chunks = (steps + k.chunk - 1) / k.chunk;
    k.columns = round_up(k.chunk, VW), k.line = round_up(steps, VW);
    const bool states = k.chunks > 1;
    k.rows = take(at, steps * k.width);
    k.active = take(at, steps * k.mixed);
    k.raw = take(at, k.heads * k.line), k.dt = take(at, k.heads * k.line), k.keep = take(at, k.heads * k.line);
    k.enter = take(at, k.heads * k.line), k.leave = take(at, k.heads * k.line);
    k.xdt = take(at, steps * k.inner);
    k.y = take(at, steps * k.inner);
    k.states = take(at, states ? (gradient ? k.chunks : 2) * k.s * k.inner : 0);
    k.scores = take(at, (gradient ? steps : k.chunk) * k.columns);
    k.weights = take(at, (gradient ? k.heads * steps : k.chunk) * k.columns);
    const ptrdiff_t widest = k.inner > k.s ? k.inner : k.s;
    k.turned = take(at, widest * (k.columns > k.s ? k.columns : k.s));
    k.reached = take(at, states ? (gradient ? steps : k.chunk) * k.inner : 0);
    k.scaled = take(at, states ? k.chunk * k.inner : 0);
    k.row = take(at, 3 * k.inner);
    if (gradient) {
        k.slope = take(at, steps * k.mixed);
        k.dy = take(at, steps * k.inner);
        k.dmixed = take(at, steps * k.mixed);
        k.dscores = take(at, k.chunk * k.columns), k.dweights = take(at, k.chunk * k.columns);
        k.dstate = take(at, states ? k.s * k.inner : 0);
        k.da = take(at, k.heads * k.line);
        k.across = take(at, k.chunk * VW), k.down = take(at, k.columns);
    }
    k.words = at.used;
    return k;
}

INLINE ScanParameters lay_out_parameters(const stemsplit_scan_shape& n, float* at) {
    const ptrdiff_t inner = n.heads * round_up(n.channels, VW), mixed = inner + 2 * round_up(n.state, VW);
    float* skip = at + (n.taps + 1) * mixed;
    return {at, skip, skip + inner, skip + inner + n.heads};
}

INLINE ptrdiff_t parameter_count(const stemsplit_scan_shape& n) {
    const ptrdiff_t inner = n.heads * round_up(n.channels, VW), mixed = inner + 2 * round_up(n.state, VW);
    return round_up((n.taps + 1) * mixed + inner + 2 * n.heads, 16);
}

// The places of [x | B | C] in the network's own order and in the padded one, as runs.
template <class Visit>
INLINE void each_run(const stemsplit_scan_shape& n, const Visit& visit) {
    const ptrdiff_t p = round_up(n.channels, VW), s = round_up(n.state, VW);
    for (ptrdiff_t h = 0; h < n.heads; ++h) visit(h * n.channels, h * p, n.channels);
    visit(n.heads * n.channels, n.heads * p, n.state);
    visit(n.heads * n.channels + n.state, n.heads * p + s, n.state);
}

void pack_scan(const stemsplit_scan_shape& n, const stemsplit_scan_weights& from, float* packed) {
    memset(packed, 0, (size_t)parameter_count(n) * sizeof(float));
    const ScanParameters to = lay_out_parameters(n, packed);
    const ptrdiff_t p = round_up(n.channels, VW), mixed = n.heads * p + 2 * round_up(n.state, VW);
    each_run(n, [&](ptrdiff_t own, ptrdiff_t padded, ptrdiff_t count) {
        for (ptrdiff_t i = 0; i < count; ++i) {
            for (ptrdiff_t j = 0; j < n.taps; ++j) to.conv[j * mixed + padded + i] = from.conv[(own + i) * n.taps + j];
            to.conv[n.taps * mixed + padded + i] = from.conv_bias[own + i];
        }
    });
    for (ptrdiff_t h = 0; h < n.heads; ++h) {
        float lane[VW];
        store(lane, all(0.0f) - exponential(all(from.a_log[h])));
        to.a[h] = lane[0], to.dt_bias[h] = from.dt_bias[h];
        for (ptrdiff_t i = 0; i < n.channels; ++i) to.skip[h * p + i] = from.skip[h];
    }
}

void unpack_scan(const stemsplit_scan_shape& n, float* packed, const stemsplit_scan_gradients& to) {
    const ScanParameters from = lay_out_parameters(n, packed);
    const ptrdiff_t p = round_up(n.channels, VW), mixed = n.heads * p + 2 * round_up(n.state, VW);
    each_run(n, [&](ptrdiff_t own, ptrdiff_t padded, ptrdiff_t count) {
        for (ptrdiff_t i = 0; i < count; ++i) {
            for (ptrdiff_t j = 0; j < n.taps; ++j) to.conv[(own + i) * n.taps + j] = from.conv[j * mixed + padded + i];
            to.conv_bias[own + i] = from.conv[n.taps * mixed + padded + i];
        }
    });
    for (ptrdiff_t h = 0; h < n.heads; ++h) {
        to.a_log[h] = from.a[h], to.dt_bias[h] = from.dt_bias[h], to.skip[h] = 0;
        for (ptrdiff_t i = 0; i < n.channels; ++i) to.skip[h] += from.skip[h * p + i];
    }
}

// Heads side by side without padding → with it, or the other way.
template <class Value>
INLINE void widen_heads(const Scan& k, const Value* from, float* to) {
    if (k.p == k.channels) return widen(from, k.inner, to, k.inner);
    for (ptrdiff_t h = 0; h < k.heads; ++h) widen(from + h * k.channels, k.channels, to + h * k.p, k.p);
}

template <class Value>
INLINE void narrow_heads(const Scan& k, const float* from, Value* to) {
    if (k.p == k.channels) return narrow(from, k.inner, to);
    for (ptrdiff_t h = 0; h < k.heads; ++h) narrow(from + h * k.p, k.channels, to + h * k.channels);
}

// Rows [z | x | B | C | dt], `stride` apart, → rows and raw.
template <class Value>
INLINE void admit_rows(const Scan& k, const Value* in, ptrdiff_t stride) {
    const ptrdiff_t z = k.heads * k.channels;
    for (ptrdiff_t t = 0; t < k.steps; ++t, in += stride) {
        float* row = k.rows + t * k.width;
        widen_heads(k, in, row);
        widen_heads(k, in + z, row + k.inner);
        widen(in + 2 * z, k.state, row + 2 * k.inner, k.s);
        widen(in + 2 * z + k.state, k.state, row + 2 * k.inner + k.s, k.s);
        for (ptrdiff_t h = 0; h < k.heads; ++h) k.raw[h * k.line + t] = value_of(in[2 * z + 2 * k.state + h]);
    }
    for (ptrdiff_t h = 0; h < k.heads; ++h)
        for (ptrdiff_t t = k.steps; t < k.line; ++t) k.raw[h * k.line + t] = 0;
}

// x σ(x) = v has the derivative σ + v (1 - σ).
INLINE vf silu_slope(vf sigma, vf value) { return fma(sigma, all(1.0f) - value, value); }

template <bool GRADIENT>
INLINE void activate(const Scan& k, vf total, ptrdiff_t at) {
    const vf sigma = sigmoid(total), value = total * sigma;
    store(k.active + at, value);
    if (GRADIENT) store(k.slope + at, silu_slope(sigma, value));
}

// Causal convolution and SiLU, a vector of channels at a time down all rows.
template <bool GRADIENT>
INLINE void convolve(const Scan& k, const float* conv) {
    for (ptrdiff_t c = 0; c < k.mixed; c += VW) {
        const float* in = k.rows + k.inner + c;
        const vf bias = load(conv + k.taps * k.mixed + c);
        if (k.taps == 4) {
            const vf w0 = load(conv + c), w1 = load(conv + k.mixed + c), w2 = load(conv + 2 * k.mixed + c);
            const vf w3 = load(conv + 3 * k.mixed + c);
            vf a = all(0.0f), b = a, d = a;  // the three rows before
            for (ptrdiff_t t = 0; t < k.steps; ++t) {
                const vf now = load(in + t * k.width);
                activate<GRADIENT>(k, fma(a, w0, fma(b, w1, fma(d, w2, fma(now, w3, bias)))), t * k.mixed + c);
                a = b, b = d, d = now;
            }
        } else {
            for (ptrdiff_t t = 0; t < k.steps; ++t) {
                vf total = bias;
                for (ptrdiff_t j = t < k.taps - 1 ? k.taps - 1 - t : 0; j < k.taps; ++j)
                    total = fma(load(in + (t + j - (k.taps - 1)) * k.width), load(conv + j * k.mixed + c), total);
                activate<GRADIENT>(k, total, t * k.mixed + c);
            }
        }
    }
}

// dt = softplus(raw + bias), e^{a dt}, the decays from and to the ends of chunks, and x dt.
INLINE void step_through(const Scan& k, const ScanParameters& with) {
    for (ptrdiff_t h = 0; h < k.heads; ++h) {
        const vf bias = all(with.dt_bias[h]), a = all(with.a[h]);
        float *raw = k.raw + h * k.line, *dt = k.dt + h * k.line, *keep = k.keep + h * k.line;
        for (ptrdiff_t t = 0; t < k.line; t += VW) {
            const vf shifted = load(raw + t) + bias, step = softplus(shifted);
            store(raw + t, shifted), store(dt + t, step), store(keep + t, exponential(a * step));
        }
        for (ptrdiff_t t = 0; t < k.steps; ++t) {
            const float *x = k.active + t * k.mixed + h * k.p;
            float* to = k.xdt + t * k.inner + h * k.p;
            for (ptrdiff_t i = 0; i < k.p; i += VW) store(to + i, load(x + i) * all(dt[t]));
        }
        if (k.chunks == 1) continue;
        for (ptrdiff_t first = 0; first < k.steps; first += k.chunk) {
            const ptrdiff_t end = first + k.chunk < k.steps ? first + k.chunk : k.steps;
            float decay = 1;
            for (ptrdiff_t t = first; t < end; ++t) k.enter[h * k.line + t] = decay *= keep[t];
            decay = 1;
            for (ptrdiff_t t = end - 1; t >= first; --t) k.leave[h * k.line + t] = decay, decay *= keep[t];
        }
    }
}

// weights = scores times decay, row after row: the decay to a step is that to the step before, once more decayed.
INLINE void decay_scores(const float* scores, const float* keep, ptrdiff_t count, ptrdiff_t columns, float* weights) {
    for (ptrdiff_t s = 0; s < columns; s += VW) {
        const vf step = lanes() + all((float)s);
        const ptrdiff_t first = s < count ? s : count, diagonal = s + VW < count ? s + VW : count;
        vf d = all(0.0f);
        for (ptrdiff_t t = 0; t < first; ++t) store(weights + t * columns + s, d);
        for (ptrdiff_t t = first; t < diagonal; ++t) {
            d = where_equal(step, all((float)t), all(1.0f), d * all(keep[t]));
            store(weights + t * columns + s, d * load(scores + t * columns + s));
        }
        for (ptrdiff_t t = diagonal; t < count; ++t) {
            d = d * all(keep[t]);
            store(weights + t * columns + s, d * load(scores + t * columns + s));
        }
    }
}

// out (count, inner) = values, times one factor for each step and head.
INLINE void scale_heads(const Scan& k, const float* values, const float* factors, ptrdiff_t first, ptrdiff_t count, float* out) {
    for (ptrdiff_t t = 0; t < count; ++t)
        for (ptrdiff_t h = 0; h < k.heads; ++h) {
            const vf factor = all(factors[h * k.line + first + t]);
            for (ptrdiff_t i = h * k.p; i < (h + 1) * k.p; i += VW)
                store(out + t * k.inner + i, load(values + t * k.inner + i) * factor);
        }
}

// state = decay over the chunk times before, + Bᵀ (x dt, decayed to the end of the chunk); `before` null: from nothing.
INLINE void pass_on(const Scan& k, ptrdiff_t first, ptrdiff_t count, const float* before, float* state) {
    const float* b = k.active + first * k.mixed + k.inner;
    for (ptrdiff_t i = 0; before && i < k.s; ++i)
        for (ptrdiff_t h = 0; h < k.heads; ++h) {
            const vf decay = all(k.enter[h * k.line + first + count - 1]);
            for (ptrdiff_t j = i * k.inner + h * k.p; j < i * k.inner + (h + 1) * k.p; j += VW)
                store(state + j, load(before + j) * decay);
        }
    scale_heads(k, k.xdt + first * k.inner, k.leave, first, count, k.scaled);
    product(FULL, k.s, k.inner, count, {b, k.mixed}, k.scaled, k.inner, state, k.inner, before != nullptr, true);
}

// y of a chunk, without D x; and the state that it leaves behind.
INLINE void run_chunk(const Scan& k, ptrdiff_t index, bool gradient) {
    const ptrdiff_t first = index * k.chunk, count = k.steps - first < k.chunk ? k.steps - first : k.chunk;
    const float *b = k.active + first * k.mixed + k.inner, *c = b + k.s;
    float *scores = k.scores + (gradient ? first * k.columns : 0), *y = k.y + first * k.inner;
    turn_rows(b, k.mixed, count, k.s, k.turned, k.columns);
    product(OUT, count, k.columns, k.s, {c, k.mixed}, k.turned, k.columns, scores, k.columns, false);
    for (ptrdiff_t h = 0; h < k.heads; ++h) {
        float* weights = k.weights + (gradient ? (h * k.steps + first) * k.columns : 0);
        decay_scores(scores, k.keep + h * k.line + first, count, k.columns, weights);
        product(LEFT, count, k.p, count, {weights, k.columns}, k.xdt + first * k.inner + h * k.p, k.inner, y + h * k.p,
                k.inner, false);
    }
    const ptrdiff_t size = k.s * k.inner;
    const float* before = k.states + (gradient ? index : index % 2) * size;
    if (index > 0) {
        float* reached = k.reached + (gradient ? first * k.inner : 0);
        product(FULL, count, k.inner, k.s, {c, k.mixed}, before, k.inner, reached, k.inner, false);
        for (ptrdiff_t t = 0; t < count; ++t)
            for (ptrdiff_t h = 0; h < k.heads; ++h) {
                const vf enter = all(k.enter[h * k.line + first + t]);
                for (ptrdiff_t i = t * k.inner + h * k.p; i < t * k.inner + (h + 1) * k.p; i += VW)
                    store(y + i, fma(load(reached + i), enter, load(y + i)));
            }
    }
    if (index + 1 < k.chunks)
        pass_on(k, first, count, index ? before : nullptr, k.states + (gradient ? index + 1 : (index + 1) % 2) * size);
}

template <bool GRADIENT, class Value>
INLINE void run_forward(const Scan& k, const ScanParameters& with, const Value* in, ptrdiff_t stride) {
    admit_rows(k, in, stride);
    convolve<GRADIENT>(k, with.conv);
    step_through(k, with);
    for (ptrdiff_t index = 0; index < k.chunks; ++index) run_chunk(k, index, GRADIENT);
}

// One sequence and direction: in rows [z | x | B | C | dt], out rows of heads * channels; strides may be negative.
template <class Value>
void scan(const stemsplit_scan_shape& shape, float* parameters, const void* in, ptrdiff_t in_stride, void* out,
          ptrdiff_t out_stride, ptrdiff_t steps, float* scratch) {
    const Scan k = lay_out_scan(shape, steps, false, scratch);
    const ScanParameters with = lay_out_parameters(shape, parameters);
    run_forward<false>(k, with, (const Value*)in, in_stride);
    const float width = (float)(k.heads * k.channels);
    Value* to = (Value*)out;
    for (ptrdiff_t t = 0; t < steps; ++t, to += out_stride) {
        const float *z = k.rows + t * k.width, *x = k.active + t * k.mixed, *y = k.y + t * k.inner;
        vf total = all(0.0f);
        for (ptrdiff_t i = 0; i < k.inner; i += VW) {
            const vf gate = load(z + i);
            const vf gated = fma(load(with.skip + i), load(x + i), load(y + i)) * gate * sigmoid(gate);
            total = fma(gated, gated, total);
            store(k.row + i, gated);
        }
        const vf scale = all(1.0f / root(sum(total) / width + RMS_EPS));
        for (ptrdiff_t i = 0; i < k.inner; i += VW) store(k.row + i, load(k.row + i) * scale);
        narrow_heads(k, k.row, to);
    }
}

}  // namespace
