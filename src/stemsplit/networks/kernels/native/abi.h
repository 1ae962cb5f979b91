// The plain C interface: one bidirectional Mamba-2 block at inference, and what lies between its projections for training.
// No torch, no C++ types across the border.
//
// Every width below with "padded" is a multiple of the instruction set's vector; its padding holds zeros.
// A cell is 4 bytes: one float (fp32), or two consecutive values of the inner axis in bfloat16 (bf16).
// A packed matrix maps `inner` values to `outer`: panels of `panel` outputs, each [inner cells][panel] cells.
#pragma once

#include <stdint.h>

#define STEMSPLIT_ABI 2
#if defined(_WIN32)
#define STEMSPLIT_EXPORT __declspec(dllexport)
#else
#define STEMSPLIT_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { STEMSPLIT_PORTABLE = 0, STEMSPLIT_AVX2 = 1, STEMSPLIT_AVX512 = 2, STEMSPLIT_AVX512BF16 = 3, STEMSPLIT_SETS = 4 };
enum { STEMSPLIT_OK = 0, STEMSPLIT_UNSUPPORTED = 1, STEMSPLIT_INVALID = 2 };

typedef struct {
    int64_t features;     // D
    int64_t inner;        // heads * channels, without padding: what the RMS is taken over
    int64_t state;        // S, padded
    int64_t heads;        // H
    int64_t channels;     // P of one head, padded
    int64_t taps;         // of the depthwise convolution
    int64_t heads_padded; // H, padded
} stemsplit_shape;

typedef struct {
    const float* mixed;     // packed: features → [x (H * P padded) | B | C | dt]
    const float* gate;      // packed: features → z, H * P padded
    const float* out;       // packed: H * P padded → features; out_proj, proj and the norm's weight in one
    const float* conv;      // (taps, H * P + 2 S), the last tap reads its own step
    const float* conv_bias; // (H * P + 2 S)
    const float* dt_bias;   // (H padded)
    const float* a;         // (H padded), -exp(A_log)
    const float* skip;      // (H), D
} stemsplit_direction;

typedef struct {
    stemsplit_shape shape;
    const float* norm_weight; // (D padded)
    const float* norm_bias;   // (D padded)
    const float* straight;    // packed: features → features, what the projection does to the normed input itself
    const float* bias;        // (D)
    stemsplit_direction direction[2]; // forward, backward in time
} stemsplit_block_weights;

// Training. Both directions side by side, parameters as the network has them, nothing padded.
enum { STEMSPLIT_FLOAT32 = 0, STEMSPLIT_BFLOAT16 = 1, STEMSPLIT_TYPES = 2 };

typedef struct {
    int64_t heads, channels, state, taps; // H, P, S, of the convolution
} stemsplit_scan_shape;

typedef struct {
    const float* conv;      // (H * P + 2 S, taps), the last tap reads its own step
    const float* conv_bias; // (H * P + 2 S)
    const float* dt_bias;   // (H)
    const float* a_log;     // (H)
    const float* skip;      // (H), D
} stemsplit_scan_weights;

typedef struct {
    float *conv, *conv_bias, *dt_bias, *a_log, *skip;
} stemsplit_scan_gradients;

STEMSPLIT_EXPORT int32_t stemsplit_abi(void);
// Hash of the sources that this library was built from, as given to the compiler.
STEMSPLIT_EXPORT const char* stemsplit_source_hash(void);
// Bit k: instruction set k is compiled in, and this processor has it.
STEMSPLIT_EXPORT uint32_t stemsplit_supported(void);
// Values in a vector, and outputs in a panel; 0 for an unknown instruction set.
STEMSPLIT_EXPORT int64_t stemsplit_vector(int32_t set);
STEMSPLIT_EXPORT int64_t stemsplit_panel(int32_t set);
// 4-byte words of scratch that one thread needs.
STEMSPLIT_EXPORT int64_t stemsplit_scratch(int32_t set, const stemsplit_shape* shape, int64_t steps);
// out = x + block(x) for `sequences` of `steps` rows of D floats, each by itself. `scratch` is for all threads.
STEMSPLIT_EXPORT int32_t stemsplit_block(int32_t set, const stemsplit_block_weights* weights, const float* x, float* out,
                        int64_t sequences, int64_t steps, int32_t threads, float* scratch, int64_t scratch_words);

// 4-byte words of scratch that all threads together need, 0 for an unknown instruction set or an impossible shape.
STEMSPLIT_EXPORT int64_t stemsplit_scan_scratch(int32_t set, const stemsplit_scan_shape* shape, int64_t steps, int32_t threads,
                        int32_t gradient);
// projected (sequences, steps, 2, [z | x | B | C | dt]) → out (sequences, steps, 2, H * P): y silu(z) over its root mean
// square, with y of the convolved, scanned x; the second direction runs backward in time. `weights` are two.
STEMSPLIT_EXPORT int32_t stemsplit_scan(int32_t set, const stemsplit_scan_shape* shape, const stemsplit_scan_weights* weights,
                        int32_t type, const void* projected, void* out, int64_t sequences, int64_t steps, int32_t threads,
                        float* scratch, int64_t scratch_words);
// grad_out → grad_projected and the gradients of both directions' parameters, all overwritten.
STEMSPLIT_EXPORT int32_t stemsplit_scan_gradient(int32_t set, const stemsplit_scan_shape* shape,
                        const stemsplit_scan_weights* weights, int32_t type, const void* projected, const void* grad_out,
                        void* grad_projected, const stemsplit_scan_gradients* gradients, int64_t sequences, int64_t steps,
                        int32_t threads, float* scratch, int64_t scratch_words);

#ifdef __cplusplus
}
#endif
