// Compiled with -mavx512f -mfma -mavx512bf16: products in bfloat16, sums, decays and states in float.
#if defined(__AVX512F__) && defined(__AVX512BF16__)
#define STEMSPLIT_SET_AVX512
#define STEMSPLIT_SET_BF16
#include "table.h"

const stemsplit_kernels* stemsplit_avx512bf16() { return &TABLE; }
#else
#include "kernels.h"

const stemsplit_kernels* stemsplit_avx512bf16() { return nullptr; }
#endif
