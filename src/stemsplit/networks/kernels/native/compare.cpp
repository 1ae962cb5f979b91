// The C entry points of training's comparison of stems: bands are shared out among threads.

#include <atomic>
#include <cstring>

#include "dispatch.h"

namespace {

bool sound(const stemsplit_compare& c) {
    constexpr int64_t most = 1 << 20;
    if (c.bands < 1 || c.bins < 1 || c.inner < 1 || c.stems < 1 || c.channels < 1 || c.compared < 1 || c.items < 0 || c.steps < 0)
        return false;
    if (c.bins > most || c.inner > most || c.stems > most || c.channels > most || c.compared > most || !c.widths) return false;
    int64_t bins = 0;
    for (int64_t band = 0; band < c.bands; ++band) {
        if (c.widths[band] < 1) return false;
        bins += c.widths[band];
    }
    return bins == c.bins;
}

// work(band, scratch of its thread). The last bands are the widest as a rule: they come first.
template <class Work>
int32_t share_bands(const stemsplit_kernels& kernels, const stemsplit_compare& c, bool gradient, int32_t threads, float* scratch,
                    int64_t scratch_words, const Work& work) {
    if (!sound(c) || threads < 1) return STEMSPLIT_INVALID;
    if (threads > c.bands) threads = static_cast<int32_t>(c.bands);
    const int64_t each = whole_lines(kernels.compare_words(c, gradient));
    if (scratch_words < threads * each + LINE) return STEMSPLIT_INVALID;
    std::atomic<int64_t> next{0};
    float* first = on_a_line(scratch);
    on_threads(threads, [&](int32_t thread) {
        const NoDenormals guard;
        for (int64_t n = next++; n < c.bands; n = next++) work(c.bands - 1 - n, first + thread * each);
    });
    return STEMSPLIT_OK;
}

}  // namespace

int64_t stemsplit_compare_scratch(int32_t set, const stemsplit_compare* compare, int32_t gradient) {
    const stemsplit_kernels* kernels = usable(set);
    return kernels && sound(*compare) ? whole_lines(kernels->compare_words(*compare, gradient != 0)) + LINE : 0;
}

int32_t stemsplit_compare_run(int32_t set, const stemsplit_compare* compare, double* energies, int32_t threads, float* scratch,
                              int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    if (!kernels) return STEMSPLIT_UNSUPPORTED;
    const stemsplit_compare& c = *compare;
    const int64_t size = 3 * c.items * c.compared;
    return share_bands(*kernels, c, false, threads, scratch, scratch_words, [&](int64_t band, float* own) {
        double* sums = energies + band * size;
        for (int64_t i = 0; i < size; ++i) sums[i] = 0;
        kernels->compare(c, band, sums, nullptr, nullptr, own);
    });
}

int32_t stemsplit_compare_gradient(int32_t set, const stemsplit_compare* compare, const float* slopes,
                                   const stemsplit_last_gradient* gradients, int32_t threads, float* scratch,
                                   int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    if (!kernels) return STEMSPLIT_UNSUPPORTED;
    const stemsplit_compare& c = *compare;
    const size_t size = static_cast<size_t>(4 * c.items * c.steps * c.inner);
    return share_bands(*kernels, c, true, threads, scratch, scratch_words, [&](int64_t band, float* own) {
        for (int stage = 0; stage < 2; ++stage) std::memset(gradients[stage].hidden + band * size, 0, size * sizeof(float));
        kernels->compare(c, band, nullptr, slopes, gradients, own);
    });
}
