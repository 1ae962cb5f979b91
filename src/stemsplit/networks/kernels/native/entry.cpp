// The C entry points: what this library is, and the block at inference.

#include <atomic>

#include "dispatch.h"

#ifndef STEMSPLIT_SOURCE_HASH
#define STEMSPLIT_SOURCE_HASH "unknown"
#endif

namespace {

bool sound(const stemsplit_kernels& kernels, const stemsplit_shape& s) {
    const ptrdiff_t vector = kernels.vector;
    return s.features > 0 && s.inner > 0 && s.heads > 0 && s.taps > 0 && s.state > 0 && s.channels > 0 &&
           s.state % vector == 0 && s.channels % vector == 0 && s.heads_padded % vector == 0 && s.heads_padded >= s.heads &&
           s.inner <= s.heads * s.channels;
}

int64_t words_of_thread(const stemsplit_kernels& kernels, const stemsplit_shape& shape, int64_t steps) {
    return whole_lines(kernels.scratch_words(shape, steps));
}

}  // namespace

int32_t stemsplit_abi(void) { return STEMSPLIT_ABI; }

const char* stemsplit_source_hash(void) { return STEMSPLIT_SOURCE_HASH; }

uint32_t stemsplit_supported(void) {
    uint32_t sets = 0;
    for (int32_t set = 0; set < STEMSPLIT_SETS; ++set) sets |= usable(set) ? 1u << set : 0u;
    return sets;
}

int32_t stemsplit_bfloat16(void) {
    if (usable(STEMSPLIT_AMX)) return STEMSPLIT_AMX;
    return usable(STEMSPLIT_AVX512BF16) && !made_by_intel() ? STEMSPLIT_AVX512BF16 : -1;
}

int64_t stemsplit_vector(int32_t set) { return compiled(set) ? compiled(set)->vector : 0; }

int64_t stemsplit_panel(int32_t set) { return compiled(set) ? compiled(set)->panel : 0; }

int64_t stemsplit_scratch(int32_t set, const stemsplit_shape* shape, int64_t steps) {
    const stemsplit_kernels* kernels = usable(set);
    return kernels && steps > 0 && sound(*kernels, *shape) ? words_of_thread(*kernels, *shape, steps) + LINE : 0;
}

int32_t stemsplit_block(int32_t set, const stemsplit_block_weights* weights, const float* x, float* out,
                        const stemsplit_places* places, int64_t steps, int32_t threads, float* scratch, int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    if (!kernels) return STEMSPLIT_UNSUPPORTED;
    const int64_t sequences = places->sequences, inner = places->inner;
    if (!sound(*kernels, weights->shape) || sequences < 0 || inner < 1 || steps < 0 || threads < 1) return STEMSPLIT_INVALID;
    if (sequences == 0 || steps == 0) return STEMSPLIT_OK;
    if (threads > sequences) threads = static_cast<int32_t>(sequences);
    const int64_t each = words_of_thread(*kernels, weights->shape, steps);
    if (scratch_words < threads * each + LINE) return STEMSPLIT_INVALID;
    float* first = on_a_line(scratch);

    std::atomic<int64_t> next{0};
    const auto work = [&](int32_t thread) {
        const NoDenormals guard;
        for (int64_t n = next++; n < sequences; n = next++) {
            const int64_t at = n / inner * places->group_stride + n % inner * places->sequence_stride;
            kernels->sequence(*weights, x + at, out + at, places->step_stride, steps, first + thread * each);
        }
    };
    on_threads(threads, work);
    return STEMSPLIT_OK;
}
