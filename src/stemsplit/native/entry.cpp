// The C entry points: which kernels this processor can run, and sequences shared out among threads.

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#ifndef STEMSPLIT_SOURCE_HASH
#define STEMSPLIT_SOURCE_HASH "unknown"
#endif

namespace {

const stemsplit_kernels* compiled(int32_t set) {
    switch (set) {
        case STEMSPLIT_PORTABLE: return stemsplit_portable();
        case STEMSPLIT_AVX2: return stemsplit_avx2();
        case STEMSPLIT_AVX512: return stemsplit_avx512();
        case STEMSPLIT_AVX512BF16: return stemsplit_avx512bf16();
        default: return nullptr;
    }
}

// cpuid, and whether the system saves the registers.
bool has_instructions(int32_t set) {
    if (set == STEMSPLIT_PORTABLE) return true;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma");
    switch (set) {
        case STEMSPLIT_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        case STEMSPLIT_AVX512: return avx512;
        case STEMSPLIT_AVX512BF16: return avx512 && __builtin_cpu_supports("avx512bf16");
    }
#endif
    return false;
}

const stemsplit_kernels* usable(int32_t set) { return has_instructions(set) ? compiled(set) : nullptr; }

// Decays underflow all the time, and denormal numbers are slow: they count as zero while this lives.
class NoDenormals {
#if defined(__x86_64__)
public:
    NoDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~NoDenormals() { _mm_setcsr(before_); }

private:
    unsigned before_;
#endif
};

bool sound(const stemsplit_kernels& kernels, const stemsplit_shape& s) {
    const ptrdiff_t vector = kernels.vector;
    return s.features > 0 && s.inner > 0 && s.heads > 0 && s.taps > 0 && s.state > 0 && s.channels > 0 &&
           s.state % vector == 0 && s.channels % vector == 0 && s.heads_padded % vector == 0 && s.heads_padded >= s.heads &&
           s.inner <= s.heads * s.channels;
}

constexpr int64_t LINE = 16;  // words of a cache line: every thread's scratch starts on one

int64_t words_of_thread(const stemsplit_kernels& kernels, const stemsplit_shape& shape, int64_t steps) {
    return (kernels.scratch_words(shape, steps) + 2 * LINE) / LINE * LINE;
}

float* on_a_line(float* at) { return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(at) + 63) & ~uintptr_t{63}); }

}  // namespace

int32_t stemsplit_abi(void) { return STEMSPLIT_ABI; }

const char* stemsplit_source_hash(void) { return STEMSPLIT_SOURCE_HASH; }

uint32_t stemsplit_supported(void) {
    uint32_t sets = 0;
    for (int32_t set = 0; set < STEMSPLIT_SETS; ++set) sets |= usable(set) ? 1u << set : 0u;
    return sets;
}

int64_t stemsplit_vector(int32_t set) { return compiled(set) ? compiled(set)->vector : 0; }

int64_t stemsplit_panel(int32_t set) { return compiled(set) ? compiled(set)->panel : 0; }

int64_t stemsplit_scratch(int32_t set, const stemsplit_shape* shape, int64_t steps) {
    const stemsplit_kernels* kernels = usable(set);
    return kernels && steps > 0 && sound(*kernels, *shape) ? words_of_thread(*kernels, *shape, steps) + LINE : 0;
}

int32_t stemsplit_block(int32_t set, const stemsplit_block_weights* weights, const float* x, float* out, int64_t sequences,
                        int64_t steps, int32_t threads, float* scratch, int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    if (!kernels) return STEMSPLIT_UNSUPPORTED;
    if (!sound(*kernels, weights->shape) || sequences < 0 || steps < 0 || threads < 1) return STEMSPLIT_INVALID;
    if (sequences == 0 || steps == 0) return STEMSPLIT_OK;
    if (threads > sequences) threads = static_cast<int32_t>(sequences);
    const int64_t each = words_of_thread(*kernels, weights->shape, steps);
    if (scratch_words < threads * each + LINE) return STEMSPLIT_INVALID;
    float* first = on_a_line(scratch);

    std::atomic<int64_t> next{0};
    const int64_t size = steps * weights->shape.features;
    const auto work = [&](int32_t thread) {
        const NoDenormals guard;
        for (int64_t n = next++; n < sequences; n = next++)
            kernels->sequence(*weights, x + n * size, out + n * size, steps, first + thread * each);
    };
    std::vector<std::thread> helpers;
    try {
        for (int32_t thread = 1; thread < threads; ++thread) helpers.emplace_back(work, thread);
    } catch (...) {  // no more threads to be had: those there are do the work
    }
    work(0);
    for (std::thread& helper : helpers) helper.join();
    return STEMSPLIT_OK;
}
