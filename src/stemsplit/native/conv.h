// Causal depthwise convolution along the rows, and SiLU.
#pragma once

#include "functions.h"

namespace {

// One row: in (taps rows, `stride` apart, the last is its own step) → out (channels). TAPS 0: any number of them.
template <int TAPS>
INLINE void convolve_row(const float* in, ptrdiff_t stride, ptrdiff_t taps, const float* weight, const float* bias,
                         ptrdiff_t channels, float* out) {
    const ptrdiff_t count = TAPS ? TAPS : taps;
    for (ptrdiff_t c = 0; c < channels; c += VW) {
        vf total = load(bias + c);
        for (ptrdiff_t j = 0; j < count; ++j)
            total = fma(load(in + j * stride + c), load(weight + j * channels + c), total);
        store(out + c, silu(total));
    }
}

// in (rows + taps - 1, stride): the rows of this tile after those before it; out (rows, channels).
INLINE void convolve(const float* in, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t taps, const float* weight,
                     const float* bias, ptrdiff_t channels, float* out) {
    for (ptrdiff_t t = 0; t < rows; ++t, in += stride, out += channels)
        if (taps == 4)
            convolve_row<4>(in, stride, 4, weight, bias, channels, out);
        else
            convolve_row<0>(in, stride, taps, weight, bias, channels, out);
}

}  // namespace
