// The heads: the tokens of one band → the band's bins in all stems, finished while they are in cache.
#pragma once

#include "abi.h"
#include "rows.h"

namespace {

constexpr ptrdiff_t GROUPS = 4;  // of the last map: real and imaginary values, real and imaginary gates

struct HeadSpace {
    float *normed, *hidden, *first, *second, *last;
    ptrdiff_t last_stride;
    ptrdiff_t words;
};

// Outputs of a group of the last map, for `bins` bins, in whole panels.
INLINE ptrdiff_t last_outputs(const stemsplit_heads& h, ptrdiff_t bins) { return round_up(h.stems * h.channels * bins, PANEL); }

INLINE HeadSpace head_space(const stemsplit_heads& h, ptrdiff_t steps, float* scratch) {
    Arena at = {scratch, 0};
    HeadSpace space;
    space.last_stride = last_outputs(h, h.slice);
    space.normed = take(at, steps * row_cells(h.features));
    space.hidden = take(at, LAYER_ROWS * GROUPS * h.inner);
    space.first = take(at, LAYER_ROWS * GROUPS * h.inner / PACK);
    space.second = take(at, LAYER_ROWS * GROUPS * h.inner / PACK);
    space.last = take(at, LAYER_ROWS * GROUPS * space.last_stride + VW);  // a vector may be read across the end
    space.words = at.used;
    return space;
}

// The four maps of a grouped layer, one after the other in `map`: `outputs` of each are wanted, `padded` are packed.
INLINE void grouped(const stemsplit_heads& h, ptrdiff_t rows, ptrdiff_t outputs, ptrdiff_t padded, const float* in,
                    const float* map, float* out, ptrdiff_t group_stride, ptrdiff_t row_stride) {
    const ptrdiff_t inner = h.inner / PACK;
    for (ptrdiff_t g = 0; g < GROUPS; ++g)
        multiply<false>(rows, outputs, inner, in + g * inner, GROUPS * inner, packed(map + g * padded * inner, inner),
                        out + g * group_stride, row_stride);
}

// value sigmoid(gate), in place of the values.
INLINE void gate_row(float* last, ptrdiff_t stride, const float* bias, ptrdiff_t bias_stride, ptrdiff_t outputs) {
    for (ptrdiff_t g = 0; g < 2; ++g)
        for (ptrdiff_t i = 0; i < outputs; i += VW) {
            float* value = last + g * stride + i;
            const float* added = bias + g * bias_stride + i;
            const vf gate = load(value + 2 * stride) + load(added + 2 * bias_stride);
            store(value, (load(value) + load(added)) * rough_sigmoid(gate));
        }
}

// What is made of the bins of one frame and channel; all pointers are to the first bin of the first stem.
struct Bins {
    const float *re, *im;   // the stems are `stem_values` apart
    ptrdiff_t stem_values, stems;
    const float* spectrum;  // of the mixture
    float* out;             // the stems are `stem_out` floats apart
    ptrdiff_t stem_out;
};

// n ≤ VW bins from bin i on.
INLINE void finish_bins(const Bins& b, int32_t finish, ptrdiff_t i, ptrdiff_t n) {
    vf mix_re = all(0), mix_im = all(0), excess_re = all(0), excess_im = all(0);
    if (finish == STEMSPLIT_MASK) {  // masks are shifted so that they add up to 1
        for (ptrdiff_t s = 0; s < b.stems; ++s) {
            excess_re = excess_re + load(b.re + s * b.stem_values + i);
            excess_im = excess_im + load(b.im + s * b.stem_values + i);
        }
        const vf share = all(1.0f / (float)b.stems);
        excess_re = (excess_re - all(1.0f)) * share, excess_im = excess_im * share;
        load_some_complex(b.spectrum + 2 * i, n, mix_re, mix_im);
    }
    for (ptrdiff_t s = 0; s < b.stems; ++s) {
        vf re = load(b.re + s * b.stem_values + i), im = load(b.im + s * b.stem_values + i);
        float* to = b.out + s * b.stem_out + 2 * i;
        if (finish == STEMSPLIT_MASK) {
            const vf mask_re = re - excess_re, mask_im = im - excess_im;
            re = fnma(mask_im, mix_im, mask_re * mix_re), im = fma(mask_im, mix_re, mask_re * mix_im);
        } else if (finish == STEMSPLIT_ADD) {
            vf old_re, old_im;
            load_some_complex(to, n, old_re, old_im);
            re = re + old_re, im = im + old_im;
        }
        store_some_complex(to, n, re, im);
    }
}

// Frame t: `last` has the gated values of `bins` bins from `bin` on.
INLINE void finish_row(const stemsplit_heads& h, const stemsplit_finish& f, const float* last, ptrdiff_t stride, ptrdiff_t t,
                       ptrdiff_t steps, ptrdiff_t bin, ptrdiff_t bins) {
    for (ptrdiff_t c = 0; c < h.channels; ++c) {
        const ptrdiff_t at = 2 * ((c * steps + t) * h.bins + bin);
        const float* spectrum = f.spectrum ? f.spectrum + at : nullptr;
        const Bins b = {last + c * bins, last + stride + c * bins, h.channels * bins, h.stems, spectrum, f.out + at, f.stem_stride};
        for (ptrdiff_t i = 0; i < bins; i += VW) finish_bins(b, f.finish, i, bins - i < VW ? bins - i : VW);
    }
}

// Asks for what `finish_row` reads and writes.
INLINE void fetch_row(const stemsplit_heads& h, const stemsplit_finish& f, ptrdiff_t t, ptrdiff_t steps, ptrdiff_t bin, ptrdiff_t bins) {
    for (ptrdiff_t c = 0; c < h.channels; ++c) {
        const ptrdiff_t at = 2 * ((c * steps + t) * h.bins + bin);
        if (f.spectrum) fetch(f.spectrum + at, 2 * bins);
        for (ptrdiff_t s = 0; s < h.stems; ++s) fetch(f.out + at + s * f.stem_stride, 2 * bins);
    }
}

// The last map, slice by slice, of the rows from frame `first` on.
INLINE void last_map(const stemsplit_heads& h, const stemsplit_head& b, const stemsplit_finish& f, const HeadSpace& space,
                     ptrdiff_t first, ptrdiff_t rows, ptrdiff_t steps) {
    const float *map = b.map3, *bias = b.bias3;
    const ptrdiff_t stride = space.last_stride, row = GROUPS * stride;
    for (ptrdiff_t bin = 0; bin < b.width; bin += h.slice) {
        const ptrdiff_t bins = b.width - bin < h.slice ? b.width - bin : h.slice;
        const ptrdiff_t outputs = round_up(h.stems * h.channels * bins, VW), padded = last_outputs(h, bins);
        grouped(h, rows, outputs, padded, space.second, map, space.last, stride, row);
        for (ptrdiff_t t = 0; t < rows; ++t) {
            if (first + t + 1 < steps) fetch_row(h, f, first + t + 1, steps, b.first + bin, bins);
            gate_row(space.last + t * row, stride, bias, padded, outputs);
            finish_row(h, f, space.last + t * row, stride, first + t, steps, b.first + bin, bins);
        }
        map += GROUPS * padded * h.inner / PACK, bias += GROUPS * padded;
    }
}

// tokens (steps, features) of a band → its bins.
void head(const stemsplit_heads& h, ptrdiff_t band, const float* tokens, const stemsplit_finish& f, ptrdiff_t steps,
          float* scratch) {
    const TileUse tiles;
    const stemsplit_head& b = h.band[band];
    const HeadSpace space = head_space(h, steps, scratch);
    const ptrdiff_t stride = row_cells(h.features), width = GROUPS * h.inner, inner_cells = cells(h.features);
    group_norm(tokens, steps, h.features, b.norm_weight, b.norm_bias, space.normed, stride);
    for (ptrdiff_t first = 0; first < steps; first += LAYER_ROWS) {
        const ptrdiff_t rows = steps - first < LAYER_ROWS ? steps - first : LAYER_ROWS;
        multiply<false>(rows, width, inner_cells, space.normed + first * stride, stride, packed(b.map1, inner_cells), space.hidden,
                        width);
        tanh_cells(space.hidden, width, b.bias1, rows, width, space.first, width / PACK);
        grouped(h, rows, h.inner, round_up(h.inner, PANEL), space.first, b.map2, space.hidden, h.inner, width);
        tanh_cells(space.hidden, width, b.bias2, rows, width, space.second, width / PACK);
        last_map(h, b, f, space, first, rows, steps);
    }
}

ptrdiff_t head_words(const stemsplit_heads& h, ptrdiff_t steps) { return head_space(h, steps, nullptr).words; }

}  // namespace
