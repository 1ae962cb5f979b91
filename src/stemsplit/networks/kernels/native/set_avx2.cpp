// Compiled with -mavx2 -mfma.
#if defined(__AVX2__) && defined(__FMA__)
#define STEMSPLIT_SET_AVX2
#include "table.h"

const stemsplit_kernels* stemsplit_avx2() { return &TABLE; }
#else
#include "kernels.h"

const stemsplit_kernels* stemsplit_avx2() { return nullptr; }
#endif
