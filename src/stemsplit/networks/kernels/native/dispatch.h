// What the entry points share: which kernels this processor can run, and sequences shared out among threads.
#pragma once

#include <cstdint>
#include <thread>
#include <vector>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

inline const stemsplit_kernels* compiled(int32_t set) {
    switch (set) {
        case STEMSPLIT_PORTABLE: return stemsplit_portable();
        case STEMSPLIT_AVX2: return stemsplit_avx2();
        case STEMSPLIT_AVX512: return stemsplit_avx512();
        case STEMSPLIT_AVX512BF16: return stemsplit_avx512bf16();
        case STEMSPLIT_AMX: return stemsplit_amx();
        default: return nullptr;
    }
}

// Whether there is a matrix unit, and the system lets this process use it. Linux has to be asked, once.
inline bool has_matrix_unit() {
#if defined(__x86_64__) && defined(__linux__)
    static const bool has = [] {
        constexpr unsigned BF16 = 1u << 22, TILES = 1u << 24;
        constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
        unsigned a, b, c, d;
        return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & BF16) && (d & TILES) &&
               syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
    }();
    return has;
#else
    return false;
#endif
}

// Intel's vectors multiply bfloat16 no faster than float: only its matrix unit does.
inline bool made_by_intel() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_is("intel");
#else
    return false;
#endif
}

// cpuid, and whether the system saves the registers.
inline bool has_instructions(int32_t set) {
    if (set == STEMSPLIT_PORTABLE) return true;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma");
    switch (set) {
        case STEMSPLIT_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        case STEMSPLIT_AVX512: return avx512;
        case STEMSPLIT_AVX512BF16: return avx512 && __builtin_cpu_supports("avx512bf16");
        case STEMSPLIT_AMX: return avx512 && __builtin_cpu_supports("avx512bf16") && has_matrix_unit();
    }
#endif
    return false;
}

inline const stemsplit_kernels* usable(int32_t set) { return has_instructions(set) ? compiled(set) : nullptr; }

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

constexpr int64_t LINE = 16;  // words of a cache line: every thread's scratch starts on one

inline int64_t whole_lines(int64_t words) { return (words + 2 * LINE) / LINE * LINE; }

inline float* on_a_line(float* at) { return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(at) + 63) & ~uintptr_t{63}); }

// work(0 … threads - 1), each on a thread of its own, this one among them; all by this one where there are no more.
template <class Work>
void on_threads(int32_t threads, const Work& work) {
    std::vector<std::thread> helpers;
    int32_t started = 1;
    try {
        for (; started < threads; ++started) helpers.emplace_back(work, started);
    } catch (...) {
    }
    work(0);
    for (int32_t thread = started; thread < threads; ++thread) work(thread);
    for (std::thread& helper : helpers) helper.join();
}

}  // namespace
