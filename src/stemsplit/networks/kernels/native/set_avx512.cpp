// Compiled with -mavx512f -mfma.
#if defined(__AVX512F__)
#define STEMSPLIT_SET_AVX512
#include "table.h"

const stemsplit_kernels* stemsplit_avx512() { return &TABLE; }
#else
#include "kernels.h"

const stemsplit_kernels* stemsplit_avx512() { return nullptr; }
#endif
