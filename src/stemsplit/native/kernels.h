// What each instruction set's translation unit offers the dispatcher.
#pragma once

#include <stddef.h>

#include "abi.h"

struct stemsplit_kernels {
    ptrdiff_t vector, panel;
    ptrdiff_t (*scratch_words)(const stemsplit_shape&, ptrdiff_t steps);
    void (*sequence)(const stemsplit_block_weights&, const float* x, float* out, ptrdiff_t steps, float* scratch);
};

// Null where the compiler did not know the instructions.
const stemsplit_kernels* stemsplit_portable();
const stemsplit_kernels* stemsplit_avx2();
const stemsplit_kernels* stemsplit_avx512();
const stemsplit_kernels* stemsplit_avx512bf16();
