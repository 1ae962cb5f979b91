// The C entry points of training: both directions of all sequences, forward and back.

#include <cstring>

#include "dispatch.h"

namespace {

// Sequences are shared out in fixed parts: the same number of threads adds gradients in the same order.
struct Share {
    int64_t first, end;
    Share(int64_t sequences, int32_t thread, int32_t threads)
        : first(sequences * thread / threads), end(sequences * (thread + 1) / threads) {}
};

// Scratch: packed parameters of both directions, their gradients for each thread, then every thread's own.
struct Memory {
    int64_t parameters, each, words;
    Memory(const stemsplit_kernels& kernels, const stemsplit_scan_shape& shape, int64_t steps, int32_t threads, bool gradient)
        : parameters(2 * kernels.parameter_words(shape)),
          each(whole_lines(kernels.scan_words(shape, steps, gradient) + (gradient ? parameters : 0))),
          words(parameters + threads * each + LINE) {}
};

bool sound(const stemsplit_scan_shape& s) {
    constexpr int64_t most = 1 << 20;
    return s.heads > 0 && s.channels > 0 && s.state > 0 && s.taps > 0 && s.heads < most && s.channels < most && s.state < most &&
           s.taps < most;
}

int32_t refusal(const stemsplit_kernels* kernels, const stemsplit_scan_shape& shape, int32_t type, int64_t sequences,
                int64_t steps, int32_t threads) {
    if (!kernels) return STEMSPLIT_UNSUPPORTED;
    const bool valid = sound(shape) && type >= 0 && type < STEMSPLIT_TYPES && sequences >= 0 && steps >= 0 && threads > 0;
    return valid ? STEMSPLIT_OK : STEMSPLIT_INVALID;
}

// Where each direction of a sequence starts, in bytes, and how far its next row is, in values.
struct Rows {
    int64_t width, steps, size;
    Rows(int64_t width, int64_t steps, int32_t type) : width(width), steps(steps), size(type == STEMSPLIT_BFLOAT16 ? 2 : 4) {}
    int64_t stride(int direction) const { return direction ? -2 * width : 2 * width; }
    int64_t start(int64_t sequence, int direction) const {
        return size * width * (2 * (sequence * steps + (direction ? steps - 1 : 0)) + direction);
    }
    const char* of(const void* data, int64_t sequence, int direction) const {
        return static_cast<const char*>(data) + start(sequence, direction);
    }
    char* of(void* data, int64_t sequence, int direction) const { return static_cast<char*>(data) + start(sequence, direction); }
};

Rows projected_rows(const stemsplit_scan_shape& s, int64_t steps, int32_t type) {
    return {2 * s.heads * s.channels + 2 * s.state + s.heads, steps, type};
}

Rows gated_rows(const stemsplit_scan_shape& s, int64_t steps, int32_t type) { return {s.heads * s.channels, steps, type}; }

}  // namespace

int64_t stemsplit_scan_scratch(int32_t set, const stemsplit_scan_shape* shape, int64_t steps, int32_t threads, int32_t gradient) {
    const stemsplit_kernels* kernels = usable(set);
    if (refusal(kernels, *shape, STEMSPLIT_FLOAT32, 0, steps, threads) != STEMSPLIT_OK || steps == 0) return 0;
    return Memory(*kernels, *shape, steps, threads, gradient != 0).words;
}

int32_t stemsplit_scan(int32_t set, const stemsplit_scan_shape* shape, const stemsplit_scan_weights* weights, int32_t type,
                       const void* projected, void* out, int64_t sequences, int64_t steps, int32_t threads, float* scratch,
                       int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    const int32_t status = refusal(kernels, *shape, type, sequences, steps, threads);
    if (status != STEMSPLIT_OK || sequences == 0 || steps == 0) return status;
    const Memory memory(*kernels, *shape, steps, threads, false);
    if (scratch_words < memory.words) return STEMSPLIT_INVALID;
    float* parameters = on_a_line(scratch);
    for (int d = 0; d < 2; ++d) kernels->pack_scan(*shape, weights[d], parameters + d * memory.parameters / 2);
    const Rows in = projected_rows(*shape, steps, type), gated = gated_rows(*shape, steps, type);
    on_threads(threads, [&](int32_t thread) {
        const NoDenormals guard;
        const Share share(sequences, thread, threads);
        float* own = parameters + memory.parameters + thread * memory.each;
        for (int64_t n = share.first; n < share.end; ++n)
            for (int d = 0; d < 2; ++d)
                kernels->scan[type](*shape, parameters + d * memory.parameters / 2, in.of(projected, n, d), in.stride(d),
                                    gated.of(out, n, d), gated.stride(d), steps, own);
    });
    return STEMSPLIT_OK;
}

int32_t stemsplit_scan_gradient(int32_t set, const stemsplit_scan_shape* shape, const stemsplit_scan_weights* weights,
                                int32_t type, const void* projected, const void* grad_out, void* grad_projected,
                                const stemsplit_scan_gradients* gradients, int64_t sequences, int64_t steps, int32_t threads,
                                float* scratch, int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    const int32_t status = refusal(kernels, *shape, type, sequences, steps, threads);
    if (status != STEMSPLIT_OK || sequences == 0 || steps == 0) return status;
    const Memory memory(*kernels, *shape, steps, threads, true);
    if (scratch_words < memory.words) return STEMSPLIT_INVALID;
    float* parameters = on_a_line(scratch);
    const int64_t half = memory.parameters / 2;
    for (int d = 0; d < 2; ++d) kernels->pack_scan(*shape, weights[d], parameters + d * half);
    const Rows in = projected_rows(*shape, steps, type), gated = gated_rows(*shape, steps, type);
    float* sums = parameters + memory.parameters;  // of thread t at sums + t * each
    on_threads(threads, [&](int32_t thread) {
        const NoDenormals guard;
        const Share share(sequences, thread, threads);
        float* own = sums + thread * memory.each;
        std::memset(own, 0, static_cast<size_t>(memory.parameters) * sizeof(float));
        for (int64_t n = share.first; n < share.end; ++n)
            for (int d = 0; d < 2; ++d)
                kernels->scan_gradient[type](*shape, parameters + d * half, in.of(projected, n, d), in.stride(d),
                                             gated.of(grad_out, n, d), gated.stride(d), in.of(grad_projected, n, d), own + d * half,
                                             steps, own + memory.parameters);
    });
    for (int32_t thread = 1; thread < threads; ++thread)
        for (int64_t i = 0; i < memory.parameters; ++i) sums[i] += sums[thread * memory.each + i];
    for (int d = 0; d < 2; ++d) kernels->unpack_scan(*shape, sums + d * half, gradients[d]);
    return STEMSPLIT_OK;
}
