// The C entry points of Mamba-1 at inference.

#include <atomic>

#include "dispatch.h"

namespace {

bool sound(const stemsplit_selective& s) {
    constexpr int64_t most = 1 << 20;
    return s.inner > 0 && s.state > 0 && s.low > 0 && s.taps > 0 && s.inner < most && s.state < most && s.low < most && s.taps < most;
}

}  // namespace

int64_t stemsplit_selective_scratch(int32_t set, const stemsplit_selective* weights) {
    const stemsplit_kernels* kernels = usable(set);
    return kernels && sound(*weights) ? whole_lines(kernels->selective_words(*weights)) + LINE : 0;
}

int32_t stemsplit_selective_run(int32_t set, const stemsplit_selective* weights, const float* rows, float* out, int64_t sequences,
                                int64_t steps, int32_t backward, int32_t threads, float* scratch, int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    if (!kernels) return STEMSPLIT_UNSUPPORTED;
    if (!sound(*weights) || sequences < 0 || steps < 0 || threads < 1) return STEMSPLIT_INVALID;
    if (sequences == 0 || steps == 0) return STEMSPLIT_OK;
    if (threads > sequences) threads = static_cast<int32_t>(sequences);
    const int64_t each = whole_lines(kernels->selective_words(*weights));
    if (scratch_words < threads * each + LINE) return STEMSPLIT_INVALID;
    const int64_t width = weights->inner, first = backward ? steps - 1 : 0, step = backward ? -width : width;
    float* own = on_a_line(scratch);
    std::atomic<int64_t> next{0};
    on_threads(threads, [&](int32_t thread) {
        const NoDenormals guard;
        for (int64_t n = next++; n < sequences; n = next++) {
            const int64_t at = (n * steps + first) * width;
            kernels->selective(*weights, rows + 2 * at, 2 * step, out + at, step, steps, own + thread * each);
        }
    });
    return STEMSPLIT_OK;
}
