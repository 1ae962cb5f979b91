// What each instruction set's translation unit offers the dispatcher.
#pragma once

#include <stddef.h>

#include "abi.h"

struct stemsplit_kernels {
    ptrdiff_t vector, panel;
    ptrdiff_t (*scratch_words)(const stemsplit_shape&, ptrdiff_t steps);
    void (*sequence)(const stemsplit_block_weights&, const float* x, float* out, ptrdiff_t step_stride, ptrdiff_t steps,
                     float* scratch);

    // The layers around the blocks, one band each.
    ptrdiff_t (*split_words)(const stemsplit_split&, ptrdiff_t steps);
    void (*split)(const stemsplit_split&, ptrdiff_t band, const float* spectrum, float* tokens, ptrdiff_t steps, float* scratch);
    ptrdiff_t (*head_words)(const stemsplit_heads&, ptrdiff_t steps);
    void (*head)(const stemsplit_heads&, ptrdiff_t band, const float* tokens, const stemsplit_finish&, ptrdiff_t steps,
                 float* scratch);
    ptrdiff_t (*exchange_words)(const stemsplit_exchange&, ptrdiff_t channels, ptrdiff_t steps);
    void (*exchange)(const stemsplit_exchange&, const float* x, float* out, ptrdiff_t channels, ptrdiff_t stride, ptrdiff_t steps,
                     float* scratch);

    // Mamba-1: one direction of a sequence.
    ptrdiff_t (*selective_words)(const stemsplit_selective&);
    void (*selective)(const stemsplit_selective&, const float* rows, ptrdiff_t stride, float* out, ptrdiff_t out_stride,
                      ptrdiff_t steps, float* scratch);

    // Training: one direction of a sequence. Strides count values; parameters and their gradients are packed. By type.
    ptrdiff_t (*scan_words)(const stemsplit_scan_shape&, ptrdiff_t steps, bool gradient);
    ptrdiff_t (*parameter_words)(const stemsplit_scan_shape&);
    void (*pack_scan)(const stemsplit_scan_shape&, const stemsplit_scan_weights&, float* packed);
    void (*unpack_scan)(const stemsplit_scan_shape&, float* packed, const stemsplit_scan_gradients&);
    void (*scan[STEMSPLIT_TYPES])(const stemsplit_scan_shape&, float* parameters, const void* in, ptrdiff_t in_stride, void* out,
                                  ptrdiff_t out_stride, ptrdiff_t steps, float* scratch);
    void (*scan_gradient[STEMSPLIT_TYPES])(const stemsplit_scan_shape&, float* parameters, const void* in, ptrdiff_t in_stride,
                                           const void* grad_out, ptrdiff_t out_stride, void* grad_in, float* grad_parameters,
                                           ptrdiff_t steps, float* scratch);
    // Training: a band of the stems beside the truth; energies or gradients.
    ptrdiff_t (*compare_words)(const stemsplit_compare&, bool gradient);
    void (*compare)(const stemsplit_compare&, ptrdiff_t band, double* energies, const float* slopes,
                    const stemsplit_last_gradient*, float* scratch);
};

// Null where the compiler did not know the instructions.
const stemsplit_kernels* stemsplit_portable();
const stemsplit_kernels* stemsplit_avx2();
const stemsplit_kernels* stemsplit_avx512();
const stemsplit_kernels* stemsplit_avx512bf16();
const stemsplit_kernels* stemsplit_amx();
