// exp, SiLU, sigmoid, tanh and softplus of vectors.
#pragma once

#include "vec.h"

namespace {

// e^x. Below -87 it is e^-87 = 1.6e-38, above 87 e^87. Relative error at most 1.0e-7, measured.
// x = n ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts; e^r by its Taylor polynomial of degree 7.
INLINE vf exponential(vf x) {
    x = min(max(x, all(-87.0f)), all(87.0f));
    const vf n = nearest(x * all(1.44269504f));
    vf r = fnma(n, all(0.693359375f), x);
    r = fma(n, all(2.12194440e-4f), r);
    vf p = all(1.98412698e-4f);
    p = fma(p, r, all(1.38888889e-3f));
    p = fma(p, r, all(8.33333333e-3f));
    p = fma(p, r, all(4.16666667e-2f));
    p = fma(p, r, all(1.66666667e-1f));
    p = fma(p, r, all(0.5f));
    p = fma(p, r, all(1.0f));
    p = fma(p, r, all(1.0f));
    return scale_by_power_of_two(p, n);
}

INLINE vf sigmoid(vf x) { return reciprocal(all(1.0f) + exponential(all(0.0f) - x)); }

#if defined(STEMSPLIT_SET_BF16)
// 1 / (1 + e^-x). Relative error at most 8e-5, measured: what is made of it is rounded to 8 bits, an error of 4e-3.
INLINE vf rough_sigmoid(vf x) {
    const vf y = min(max(all(0.0f) - x, all(-87.0f)), all(87.0f));
    const vf n = nearest(y * all(1.44269504f)), r = fnma(n, all(0.693147181f), y);
    vf p = fma(all(4.16666667e-2f), r, all(1.66666667e-1f));
    p = fma(p, r, all(0.5f));
    p = fma(p, r, all(1.0f));
    p = fma(p, r, all(1.0f));
    return rough_reciprocal(all(1.0f) + scale_by_power_of_two(p, n));
}
#else
// As exact as the products are. Relative error at most 1.7e-7, measured.
INLINE vf rough_sigmoid(vf x) { return sigmoid(x); }
#endif

INLINE vf silu(vf x) { return x * rough_sigmoid(x); }

// 2 sigmoid(2 x) - 1. The error is that of rounding the number 1, as in the network's own tanh on a CPU.
INLINE vf hyperbolic_tangent(vf x) { return fma(all(2.0f), rough_sigmoid(x + x), all(-1.0f)); }

// log(1 + e^x) = max(x, 0) + log(1 + u), u = e^-|x|; log(1 + u) = 2 artanh(s), s = u / (2 + u) <= 1/3, a series.
// Relative error at most 2.5e-7, measured.
INLINE vf softplus(vf x) {
    const vf u = exponential(min(x, all(0.0f) - x));
    const vf s = u * reciprocal(all(2.0f) + u), q = s * s;
    vf p = all(1.0f / 15);
    p = fma(p, q, all(1.0f / 13));
    p = fma(p, q, all(1.0f / 11));
    p = fma(p, q, all(1.0f / 9));
    p = fma(p, q, all(1.0f / 7));
    p = fma(p, q, all(1.0f / 5));
    p = fma(p, q, all(1.0f / 3));
    p = fma(p, q, all(1.0f));
    return fma(all(2.0f) * s, p, max(x, all(0.0f)));
}

}  // namespace
