// Causal depthwise convolution along the rows, and SiLU, one vector of channels at a time: each goes where it is wanted.
#pragma once

#include "functions.h"

namespace {

// Rows of `in` are `stride` apart; row t reads in's rows t ... t + taps - 1. Weights (taps, channels).
struct Convolution {
    const float *in, *weight, *bias;
    ptrdiff_t stride, channels, taps;
};

// Row t, channels c ... c + VW - 1. TAPS 0: any number of them.
template <int TAPS>
INLINE vf convolved(const Convolution& conv, ptrdiff_t t, ptrdiff_t c) {
    const ptrdiff_t taps = TAPS ? TAPS : conv.taps;
    const float* in = conv.in + t * conv.stride + c;
    vf total = load(conv.bias + c);
    for (ptrdiff_t j = 0; j < taps; ++j)
        total = fma(load(in + j * conv.stride), load(conv.weight + j * conv.channels + c), total);
    return silu(total);
}

}  // namespace
