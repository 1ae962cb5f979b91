// Gradients of scan.h, sequence by sequence: forward once more, then back from the gate to the projected rows.
//
// With M = (C Bᵀ) ∘ decay of a head, chunk by chunk: dM = dy (x dt)ᵀ, d(C Bᵀ) = Σ over heads of dM ∘ decay, d(x dt) = Mᵀ dy.
// The log decays a_t act on every pair of steps across them: with E = dM ∘ M, da_t is the sum of E_us over u >= t > s, which
// is the sum of rows minus that of columns from t on. The diagonal, which no decay acts on, is left out from the start:
// where decays are fast it is all there is, and its rounding would be all that is left.
#pragma once

#include "scan.h"

namespace {

// From the norm and the gate: dy, and dz in place of z; adds to the gradient of D.
template <class Value>
INLINE void gate_gradient(const Scan& k, const ScanParameters& with, const ScanParameters& grads, const Value* grad,
                          ptrdiff_t stride) {
    const float width = (float)(k.heads * k.channels);
    float *g = k.row, *gate = k.row + k.inner, *slope = k.row + 2 * k.inner;
    for (ptrdiff_t t = 0; t < k.steps; ++t, grad += stride) {
        float *z = k.rows + t * k.width, *dy = k.dy + t * k.inner;
        const float *x = k.active + t * k.mixed, *y = k.y + t * k.inner;
        widen_heads(k, grad, dy);
        vf squares = all(0.0f), along = all(0.0f);
        for (ptrdiff_t i = 0; i < k.inner; i += VW) {
            const vf at = load(z + i), sigma = sigmoid(at), opened = at * sigma;
            const vf full = fma(load(with.skip + i), load(x + i), load(y + i)), gated = full * opened;
            squares = fma(gated, gated, squares), along = fma(gated, load(dy + i), along);
            store(g + i, gated), store(gate + i, opened), store(slope + i, silu_slope(sigma, opened) * full);
        }
        const float scale = 1.0f / root(sum(squares) / width + RMS_EPS);
        const vf factor = all(scale), pull = all(scale * scale * scale * sum(along) / width);
        for (ptrdiff_t i = 0; i < k.inner; i += VW) {
            const vf dg = fnma(pull, load(g + i), factor * load(dy + i)), d = dg * load(gate + i);
            store(z + i, dg * load(slope + i)), store(dy + i, d);
        }
    }
    for (ptrdiff_t i = 0; i < k.inner; i += VW) {
        vf total = all(0.0f);
        for (ptrdiff_t t = 0; t < k.steps; ++t) total = fma(load(k.dy + t * k.inner + i), load(k.active + t * k.mixed + i), total);
        store(grads.skip + i, load(grads.skip + i) + total);
    }
}

// dscores = or += dweights times decay, zero above the diagonal; da = sums over rows less sums over columns of dweights
// times weights, without the diagonal.
INLINE void decay_gradient(const Scan& k, const float* weights, const float* keep, ptrdiff_t count, float* da, bool add) {
    const ptrdiff_t columns = k.columns;
    for (ptrdiff_t s = 0; s < columns; s += VW) {
        const vf step = lanes() + all((float)s);
        const ptrdiff_t first = s < count ? s : count, diagonal = s + VW < count ? s + VW : count;
        const float *dweights = k.dweights + s, *own = weights + s;
        float* dscores = k.dscores + s;
        vf d = all(0.0f), down = d;
        for (ptrdiff_t t = 0; t < first && !add; ++t) store(dscores + t * columns, d);
        for (ptrdiff_t t = first; t < diagonal; ++t) {
            const vf now = all((float)t), dw = load(dweights + t * columns);
            d = where_equal(step, now, all(1.0f), d * all(keep[t]));
            const vf pairs = where_equal(step, now, all(0.0f), dw * load(own + t * columns)), got = d * dw;
            down = down + pairs;
            store(k.across + t * VW, s ? load(k.across + t * VW) + pairs : pairs);
            store(dscores + t * columns, add ? load(dscores + t * columns) + got : got);
        }
        for (ptrdiff_t t = diagonal; t < count; ++t) {
            const vf dw = load(dweights + t * columns), pairs = dw * load(own + t * columns);
            d = d * all(keep[t]), down = down + pairs;
            const vf got = d * dw;
            store(k.across + t * VW, s ? load(k.across + t * VW) + pairs : pairs);
            store(dscores + t * columns, add ? load(dscores + t * columns) + got : got);
        }
        store(k.down + s, down);
    }
    for (ptrdiff_t t = 0; t < count; ++t) da[t] = sum(load(k.across + t * VW)) - k.down[t];
}

// What crosses a chunk's borders, through dstate, the gradient of the state that it left …
INLINE void leaving_gradient(const Scan& k, ptrdiff_t index, ptrdiff_t first, ptrdiff_t count) {
    const float *b = k.active + first * k.mixed + k.inner, *after = k.states + (index + 1) * k.s * k.inner;
    float *dx = k.dmixed + first * k.mixed, *db = dx + k.inner;
    float* got = k.y + first * k.inner;  // y has been used
    scale_heads(k, k.xdt + first * k.inner, k.leave, first, count, k.scaled);
    turn_rows(k.dstate, k.inner, k.s, k.inner, k.turned, k.s);
    product(FULL, count, k.s, k.inner, {k.scaled, k.inner}, k.turned, k.s, db, k.mixed, true);
    product(FULL, count, k.inner, k.s, {b, k.mixed}, k.dstate, k.inner, got, k.inner, false);
    for (ptrdiff_t t = 0; t < count; ++t, got += k.inner)
        for (ptrdiff_t h = 0; h < k.heads; ++h) {
            const vf leave = all(k.leave[h * k.line + first + t]);
            vf total = all(0.0f);
            for (ptrdiff_t i = h * k.p; i < (h + 1) * k.p; i += VW) {
                total = fma(load(got + i), load(k.scaled + t * k.inner + i), total);
                store(dx + t * k.mixed + i, fma(load(got + i), leave, load(dx + t * k.mixed + i)));
            }
            k.da[h * k.line + first + t] -= sum(total);
        }
    for (ptrdiff_t h = 0; h < k.heads; ++h) {  // what the decay of the whole chunk gets, noted at its last step
        const ptrdiff_t last = h * k.line + first + count - 1;
        const vf decay = all(k.enter[last]);
        vf total = all(0.0f);
        for (ptrdiff_t i = 0; i < k.s; ++i)
            for (ptrdiff_t j = i * k.inner + h * k.p; j < i * k.inner + (h + 1) * k.p; j += VW) {
                total = fma(load(k.dstate + j), load(after + j), total);
                store(k.dstate + j, load(k.dstate + j) * decay);
            }
        k.da[last] += sum(total);
    }
}

// … and through the one that entered it, whose gradient is added to dstate, or becomes it.
INLINE void entering_gradient(const Scan& k, ptrdiff_t index, ptrdiff_t first, ptrdiff_t count, bool add) {
    const float* c = k.active + first * k.mixed + k.inner + k.s;
    float* dc = k.dmixed + first * k.mixed + k.inner + k.s;
    scale_heads(k, k.dy + first * k.inner, k.enter, first, count, k.scaled);
    for (ptrdiff_t t = 0; t < count; ++t)
        for (ptrdiff_t h = 0; h < k.heads; ++h) {
            vf total = all(0.0f);
            for (ptrdiff_t i = t * k.inner + h * k.p; i < t * k.inner + (h + 1) * k.p; i += VW)
                total = fma(load(k.scaled + i), load(k.reached + first * k.inner + i), total);
            k.da[h * k.line + first + t] += sum(total);
        }
    turn_rows(k.states + index * k.s * k.inner, k.inner, k.s, k.inner, k.turned, k.s);
    product(FULL, count, k.s, k.inner, {k.scaled, k.inner}, k.turned, k.s, dc, k.mixed, true);
    product(FULL, k.s, k.inner, count, {c, k.mixed}, k.scaled, k.inner, k.dstate, k.inner, add, true);
}

// d(x dt), dB and dC of a chunk → dmixed; what the time at each step gets → da.
INLINE void chunk_gradient(const Scan& k, ptrdiff_t index) {
    const ptrdiff_t first = index * k.chunk, count = k.steps - first < k.chunk ? k.steps - first : k.chunk;
    const float *b = k.active + first * k.mixed + k.inner, *c = b + k.s;
    float *dx = k.dmixed + first * k.mixed, *db = dx + k.inner, *dc = db + k.s;
    for (ptrdiff_t h = 0; h < k.heads; ++h) {
        const float *weights = k.weights + (h * k.steps + first) * k.columns, *dy = k.dy + first * k.inner + h * k.p;
        turn_rows(k.xdt + first * k.inner + h * k.p, k.inner, count, k.p, k.turned, k.columns);
        product(OUT, count, k.columns, k.p, {dy, k.inner}, k.turned, k.columns, k.dweights, k.columns, false);
        decay_gradient(k, weights, k.keep + h * k.line + first, count, k.da + h * k.line + first, h > 0);
        product(LEFT_TRANSPOSED, count, k.p, count, {weights, k.columns}, dy, k.inner, dx + h * k.p, k.mixed, false, true);
    }
    product(LEFT, count, k.s, count, {k.dscores, k.columns}, b, k.mixed, dc, k.mixed, false);
    product(LEFT_TRANSPOSED, count, k.s, count, {k.dscores, k.columns}, c, k.mixed, db, k.mixed, false, true);
    const bool left = index + 1 < k.chunks;
    if (left) leaving_gradient(k, index, first, count);
    if (index > 0) entering_gradient(k, index, first, count, left);
}

// d(x dt) → dx, in place; what the steps' lengths and the decays get; the gradient of raw dt in its place.
INLINE void step_gradient(const Scan& k, const ScanParameters& with, const ScanParameters& grads) {
    for (ptrdiff_t h = 0; h < k.heads; ++h) {
        const float* dt = k.dt + h * k.line;
        float *da = k.da + h * k.line, *raw = k.raw + h * k.line, *ddt = k.leave + h * k.line, run = 0;
        for (ptrdiff_t t = k.steps - 1; t >= 0; --t) {
            const float *x = k.active + t * k.mixed + h * k.p, *dy = k.dy + t * k.inner + h * k.p;
            float* dx = k.dmixed + t * k.mixed + h * k.p;
            const vf length = all(dt[t]);
            vf along = all(0.0f);
            for (ptrdiff_t i = 0; i < k.p; i += VW) {
                const vf d = load(dx + i);
                along = fma(d, load(x + i), along);
                store(dx + i, fma(d, length, load(with.skip + h * k.p + i) * load(dy + i)));
            }
            if ((t + 1) % k.chunk == 0) run = 0;
            run += da[t];
            da[t] = run, ddt[t] = sum(along);
        }
        for (ptrdiff_t t = k.steps; t < k.line; ++t) da[t] = ddt[t] = 0;
        vf bias = all(0.0f), log = all(0.0f);
        const vf a = all(with.a[h]);
        for (ptrdiff_t t = 0; t < k.line; t += VW) {
            const vf d = load(da + t) * a, to = fma(load(da + t), a, load(ddt + t)) * sigmoid(load(raw + t));
            log = fma(d, load(dt + t), log), bias = bias + to;
            store(raw + t, to);
        }
        grads.dt_bias[h] += sum(bias), grads.a[h] += sum(log);
    }
}

// Through SiLU and the convolution: the gradient of [x | B | C] in place of them.
INLINE void convolution_gradient(const Scan& k, const float* conv, float* grads) {
    for (ptrdiff_t c = 0; c < k.mixed; c += VW) {
        float* in = k.rows + k.inner + c;
        const float *d = k.dmixed + c, *slope = k.slope + c;
        vf bias = all(0.0f);
        if (k.taps == 4) {
            const vf w0 = load(conv + c), w1 = load(conv + k.mixed + c), w2 = load(conv + 2 * k.mixed + c);
            const vf w3 = load(conv + 3 * k.mixed + c);
            vf d0 = bias, d1 = bias, d2 = bias, d3 = bias, one = bias, two = bias, three = bias;  // of the steps after
            for (ptrdiff_t t = k.steps - 1; t >= 0; --t) {
                const vf now = load(d + t * k.mixed) * load(slope + t * k.mixed), x = load(in + t * k.width);
                bias = bias + now, d3 = fma(now, x, d3), d2 = fma(one, x, d2), d1 = fma(two, x, d1), d0 = fma(three, x, d0);
                store(in + t * k.width, fma(w3, now, fma(w2, one, fma(w1, two, w0 * three))));
                three = two, two = one, one = now;
            }
            float* to = grads + c;
            store(to, load(to) + d0), store(to + k.mixed, load(to + k.mixed) + d1);
            store(to + 2 * k.mixed, load(to + 2 * k.mixed) + d2), store(to + 3 * k.mixed, load(to + 3 * k.mixed) + d3);
        } else {
            for (ptrdiff_t t = 0; t < k.steps; ++t) {
                float* at = k.dmixed + t * k.mixed + c;
                const vf now = load(at) * load(slope + t * k.mixed);
                store(at, now), bias = bias + now;
            }
            for (ptrdiff_t lag = 0; lag < k.taps; ++lag) {
                float* to = grads + (k.taps - 1 - lag) * k.mixed + c;
                vf total = all(0.0f);
                for (ptrdiff_t t = lag; t < k.steps; ++t) total = fma(load(d + t * k.mixed), load(in + (t - lag) * k.width), total);
                store(to, load(to) + total);
            }
            for (ptrdiff_t t = 0; t < k.steps; ++t) {
                vf total = all(0.0f);
                for (ptrdiff_t lag = 0; lag < k.taps && t + lag < k.steps; ++lag)
                    total = fma(load(d + (t + lag) * k.mixed), load(conv + (k.taps - 1 - lag) * k.mixed + c), total);
                store(in + t * k.width, total);
            }
        }
        float* to = grads + k.taps * k.mixed + c;
        store(to, load(to) + bias);
    }
}

template <class Value>
INLINE void release_rows(const Scan& k, Value* out, ptrdiff_t stride) {
    const ptrdiff_t z = k.heads * k.channels;
    for (ptrdiff_t t = 0; t < k.steps; ++t, out += stride) {
        const float* row = k.rows + t * k.width;
        narrow_heads(k, row, out);
        narrow_heads(k, row + k.inner, out + z);
        narrow(row + 2 * k.inner, k.state, out + 2 * z);
        narrow(row + 2 * k.inner + k.s, k.state, out + 2 * z + k.state);
        for (ptrdiff_t h = 0; h < k.heads; ++h) put(out + 2 * z + 2 * k.state + h, k.raw[h * k.line + t]);
    }
}

// One sequence and direction; the parameters' gradients are added to what is there.
template <class Value>
void scan_gradient(const stemsplit_scan_shape& shape, float* parameters, const void* in, ptrdiff_t in_stride,
                   const void* grad_out, ptrdiff_t out_stride, void* grad_in, float* grad_parameters, ptrdiff_t steps,
                   float* scratch) {
    const Scan k = lay_out_scan(shape, steps, true, scratch);
    const ScanParameters with = lay_out_parameters(shape, parameters), grads = lay_out_parameters(shape, grad_parameters);
    run_forward<true>(k, with, (const Value*)in, in_stride);
    gate_gradient(k, with, grads, (const Value*)grad_out, out_stride);
    for (ptrdiff_t index = k.chunks - 1; index >= 0; --index) chunk_gradient(k, index);
    step_gradient(k, with, grads);
    convolution_gradient(k, with.conv, grads.conv);
    release_rows(k, (Value*)grad_in, in_stride);
}

ptrdiff_t scan_words(const stemsplit_scan_shape& shape, ptrdiff_t steps, bool gradient) {
    return lay_out_scan(shape, steps, gradient, nullptr).words;
}

ptrdiff_t parameter_words(const stemsplit_scan_shape& shape) { return parameter_count(shape); }

}  // namespace
