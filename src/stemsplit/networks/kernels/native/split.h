// The band split: one band of a spectrum → tokens.
#pragma once

#include "abi.h"
#include "rows.h"

namespace {

struct SplitSpace {
    float *rows, *normed, *made;
    ptrdiff_t words;
};

INLINE ptrdiff_t values_of(const stemsplit_split& s, const stemsplit_split_band& b) { return 2 * s.channels * b.width; }

INLINE SplitSpace split_space(const stemsplit_split& s, ptrdiff_t steps, float* scratch) {
    ptrdiff_t most = 0;
    for (ptrdiff_t k = 0; k < s.bands; ++k)
        if (values_of(s, s.band[k]) > most) most = values_of(s, s.band[k]);
    Arena at = {scratch, 0};
    SplitSpace space;
    space.rows = take(at, steps * most);
    space.normed = take(at, steps * row_cells(most));
    space.made = take(at, LAYER_ROWS * round_up(s.features, VW));
    space.words = at.used;
    return space;
}

// spectrum (channels, steps, bins, 2) → tokens (steps, features).
void split(const stemsplit_split& s, ptrdiff_t band, const float* spectrum, float* tokens, ptrdiff_t steps, float* scratch) {
    const TileUse tiles;
    const stemsplit_split_band& b = s.band[band];
    const SplitSpace space = split_space(s, steps, scratch);
    const ptrdiff_t values = values_of(s, b), stride = row_cells(values), part = 2 * b.width, padded = round_up(s.features, VW);
    for (ptrdiff_t t = 0; t < steps; ++t)
        for (ptrdiff_t c = 0; c < s.channels; ++c)
            memcpy(space.rows + t * values + c * part, spectrum + 2 * ((c * steps + t) * s.bins + b.first),
                   (size_t)part * sizeof(float));
    group_norm(space.rows, steps, values, b.norm_weight, b.norm_bias, space.normed, stride);
    for (ptrdiff_t first = 0; first < steps; first += LAYER_ROWS) {
        const ptrdiff_t rows = steps - first < LAYER_ROWS ? steps - first : LAYER_ROWS;
        multiply<false>(rows, padded, cells(values), space.normed + first * stride, stride, packed(b.map, cells(values)),
                        space.made, padded);
        for (ptrdiff_t t = 0; t < rows; ++t)
            for (ptrdiff_t i = 0; i < s.features; ++i)
                tokens[(first + t) * s.features + i] = space.made[t * padded + i] + b.bias[i];
    }
}

ptrdiff_t split_words(const stemsplit_split& s, ptrdiff_t steps) { return split_space(s, steps, nullptr).words; }

}  // namespace
