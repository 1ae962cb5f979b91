// The plain C interface. At inference: one bidirectional Mamba-2 block, the band split, the heads, the exchange between
// channels, and what lies between the projections of Mamba-1. For training: what lies between the projections of a block.
// No torch, no C++ types across the border.
//
// Every width below with "padded" is a multiple of the instruction set's vector; its padding holds zeros.
// A cell is 4 bytes: one float (fp32), or two consecutive values of the inner axis in bfloat16 (bf16).
// A packed matrix maps `inner` values to `outer`: panels of `panel` outputs, each [inner cells][panel] cells.
#pragma once

#include <stdint.h>

#define STEMSPLIT_ABI 6
#if defined(_WIN32)
#define STEMSPLIT_EXPORT __declspec(dllexport)
#else
#define STEMSPLIT_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { STEMSPLIT_PORTABLE = 0, STEMSPLIT_AVX2 = 1, STEMSPLIT_AVX512 = 2, STEMSPLIT_AVX512BF16 = 3, STEMSPLIT_AMX = 4, STEMSPLIT_SETS = 5 };
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
    int64_t by_row;           // 0: the sequence is normed as one group; 1: every row is divided by its own RMS
    const float* norm_weight; // (D padded); null where normed by rows: it is in the maps after the norm
    const float* norm_bias;   // (D padded); likewise
    const float* straight;    // packed: features → features, what the projection does to the normed input itself, or
                              // where normed by rows to the input
    const float* bias;        // (D)
    stemsplit_direction direction[2]; // forward, backward in time
} stemsplit_block_weights;

// A Mamba-1 layer without its projections; I is `inner`, padded where it is the length of a row.
typedef struct {
    int64_t inner, state, low, taps; // channels I, S, rank of dt, taps of the convolution
    const float* conv;               // (taps, I), the last tap reads its own step
    const float* conv_bias;          // (I)
    const float* mix;                // (inner, low + 2 S padded): x → [dt | B | C]
    const float* dt;                 // (low, I)
    const float* dt_bias;            // (I)
    const float* a;                  // (S, I), -exp(A_log)
    const float* skip;               // (I), D
} stemsplit_selective;

// Where sequences lie, in floats: number n is the (n % inner)-th of group n / inner. A step's D features are contiguous.
typedef struct {
    int64_t sequences, inner;
    int64_t group_stride, sequence_stride, step_stride;
} stemsplit_places;

// The band split: each band's bins of all channels of a group → a token.
typedef struct {
    int64_t first, width;                 // bins
    const float *norm_weight, *norm_bias; // (channels, width, re | im), padded
    const float* map;                     // packed: (channels, width, re | im) → features
    const float* bias;                    // (D)
} stemsplit_split_band;

typedef struct {
    int64_t features, channels, bins, bands; // D; of a group; of the spectrum
    const stemsplit_split_band* band;
} stemsplit_split;

// The heads: a token → a value for each bin, stem, channel of the group, real and imaginary part.
typedef struct {
    int64_t first, width;                 // bins
    const float *norm_weight, *norm_bias; // (D padded)
    const float *map1, *bias1;            // packed: D → 4 groups of I; (4, I)
    const float *map2, *bias2;            // 4 packed: I → I; (4, I)
    const float *map3, *bias3;            // per slice of bins, 4 packed: I → (stem, channel, bin); (4, outputs), whole panels
} stemsplit_head;

typedef struct {
    int64_t features, inner;              // D; I of a group, padded
    int64_t stems, channels, bins, bands; // channels of a group; bins of the spectrum
    int64_t slice;                        // bins of the last map that are computed at once
    const stemsplit_head* band;
} stemsplit_heads;

// What becomes of the heads' values: they are the output; they are masks for the mixture, which are made to add up to 1;
// they are added to the output.
enum { STEMSPLIT_PLAIN = 0, STEMSPLIT_MASK = 1, STEMSPLIT_ADD = 2, STEMSPLIT_FINISHES = 3 };

typedef struct {
    int32_t finish;
    const float* spectrum; // of the mixture, for masks: (channels, steps, bins, 2)
    float* out;            // the first stem: (channels, steps, bins, 2)
    int64_t stem_stride;   // floats from one stem to the next
} stemsplit_finish;

// The exchange between channels.
typedef struct {
    int64_t features, hidden;                    // D; padded
    const float *norm_weight, *norm_bias;        // (D padded)
    const float *transform, *transform_bias;     // packed: D → hidden
    const float *average, *average_bias;         // packed: hidden → hidden
    const float *concatenate_own, *concatenate_shared; // packed: hidden → D
    const float* bias;                           // (D padded)
} stemsplit_exchange;

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

// The last maps of both stages' heads, and the truth to compare their stems with. Complex numbers lie as (re, im).
typedef struct {
    const float* hidden; // (bands, 4, items * steps, inner)
    const float* weight; // (4, stems * channels, bins, inner); groups are (value | gate, re | im)
    const float* bias;   // (4, stems * channels, bins)
} stemsplit_last_map;

typedef struct {
    float *hidden, *weight, *bias;
} stemsplit_last_gradient;

typedef struct {
    int64_t bands, bins, inner, stems, channels; // of the spectrum; of a group of the maps; channels of an item
    int64_t compared;                            // M, what an item's stems * channels estimates are folded to
    int64_t items, steps;
    const int64_t* widths;       // (bands), together `bins`
    stemsplit_last_map maps[2];  // of the masks, of the map that is added
    const float* spectrum;       // of the mixtures: (steps, bins, 2) each,
    const int64_t* spectrum_at;  // (items, channels): so many floats on
    const float* known;          // true stems: (steps, bins, 2) each,
    const int64_t* known_at;     // (items, M): so many floats on
    const float* factor;         // (items), which they are multiplied by
    const float* fold;           // (items, M, stems * channels)
} stemsplit_compare;

STEMSPLIT_EXPORT int32_t stemsplit_abi(void);
// Hash of the sources that this library was built from, as given to the compiler.
STEMSPLIT_EXPORT const char* stemsplit_source_hash(void);
// Bit k: instruction set k is compiled in, and this processor has it.
STEMSPLIT_EXPORT uint32_t stemsplit_supported(void);
// The set whose products in bfloat16 are faster than those in float32, -1 if there is none.
STEMSPLIT_EXPORT int32_t stemsplit_bfloat16(void);
// Values in a vector, and outputs in a panel; 0 for an unknown instruction set.
STEMSPLIT_EXPORT int64_t stemsplit_vector(int32_t set);
STEMSPLIT_EXPORT int64_t stemsplit_panel(int32_t set);
// 4-byte words of scratch that one thread needs.
STEMSPLIT_EXPORT int64_t stemsplit_scratch(int32_t set, const stemsplit_shape* shape, int64_t steps);
// out = x + block(x) for sequences of `steps` rows of D floats, each by itself; x and out lie alike. `scratch` is for all
// threads.
STEMSPLIT_EXPORT int32_t stemsplit_block(int32_t set, const stemsplit_block_weights* weights, const float* x, float* out,
                        const stemsplit_places* places, int64_t steps, int32_t threads, float* scratch, int64_t scratch_words);

// The layers around the blocks. Words of scratch are what one thread needs; `scratch` is for all threads. Complex numbers
// lie as (re, im).
STEMSPLIT_EXPORT int64_t stemsplit_split_scratch(int32_t set, const stemsplit_split* split, int64_t steps);
// spectrum (groups, channels, steps, bins, 2) → tokens (groups, bands, steps, D).
STEMSPLIT_EXPORT int32_t stemsplit_split_run(int32_t set, const stemsplit_split* split, const float* spectrum, float* tokens,
                        int64_t groups, int64_t steps, int32_t threads, float* scratch, int64_t scratch_words);
STEMSPLIT_EXPORT int64_t stemsplit_heads_scratch(int32_t set, const stemsplit_heads* heads, int64_t steps);
// tokens (batch, groups, bands, steps, D) → out (batch, stems, groups * channels, steps, bins, 2); `spectrum` is that of
// the mixtures, (batch, groups * channels, steps, bins, 2), or null.
STEMSPLIT_EXPORT int32_t stemsplit_heads_run(int32_t set, const stemsplit_heads* heads, int32_t finish, const float* tokens,
                        const float* spectrum, float* out, int64_t batch, int64_t groups, int64_t steps, int32_t threads,
                        float* scratch, int64_t scratch_words);
STEMSPLIT_EXPORT int64_t stemsplit_exchange_scratch(int32_t set, const stemsplit_exchange* exchange, int64_t channels,
                        int64_t steps);
// x → out, both (batch, channels, bands, steps, D).
STEMSPLIT_EXPORT int32_t stemsplit_exchange_run(int32_t set, const stemsplit_exchange* exchange, const float* x, float* out,
                        int64_t batch, int64_t channels, int64_t bands, int64_t steps, int32_t threads, float* scratch,
                        int64_t scratch_words);

// Words of scratch that one thread needs, 0 for an unknown instruction set or an impossible shape.
STEMSPLIT_EXPORT int64_t stemsplit_selective_scratch(int32_t set, const stemsplit_selective* weights);
// rows (sequences, steps, [x | z]) → out (sequences, steps, inner): y silu(z), with y of the convolved, scanned x.
STEMSPLIT_EXPORT int32_t stemsplit_selective_run(int32_t set, const stemsplit_selective* weights, const float* rows, float* out,
                        int64_t sequences, int64_t steps, int32_t backward, int32_t threads, float* scratch,
                        int64_t scratch_words);

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

// 4-byte words of scratch that one thread needs, 0 for an unknown instruction set or an impossible shape.
STEMSPLIT_EXPORT int64_t stemsplit_compare_scratch(int32_t set, const stemsplit_compare* compare, int32_t gradient);
// energies (bands, 3, items, M), overwritten: of the differences of stage 1, of both stages together, and of the truth.
STEMSPLIT_EXPORT int32_t stemsplit_compare_run(int32_t set, const stemsplit_compare* compare, double* energies, int32_t threads,
                        float* scratch, int64_t scratch_words);
// slopes (2, items, M) of the differences' energies → the gradients of both stages, which are overwritten.
STEMSPLIT_EXPORT int32_t stemsplit_compare_gradient(int32_t set, const stemsplit_compare* compare, const float* slopes,
                        const stemsplit_last_gradient* gradients, int32_t threads, float* scratch, int64_t scratch_words);

#ifdef __cplusplus
}
#endif
