// Compiled with -mavx512f -mfma -mavx512bf16 -mamx-tile -mamx-bf16: the same as set_avx512bf16.cpp, but for large products.
#if defined(__AVX512F__) && defined(__AVX512BF16__) && defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__linux__)
#define STEMSPLIT_SET_AVX512
#define STEMSPLIT_SET_BF16
#define STEMSPLIT_SET_AMX
#include "table.h"

const stemsplit_kernels* stemsplit_amx() { return &TABLE; }
#else
#include "kernels.h"

const stemsplit_kernels* stemsplit_amx() { return nullptr; }
#endif
