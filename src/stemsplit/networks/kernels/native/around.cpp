// The C entry points of the layers around the blocks: band split, heads, exchange between channels.

#include <atomic>

#include "dispatch.h"

namespace {

// work(n, scratch of its thread) for n in 0 … count - 1, whichever thread is free.
template <class Work>
void share_out(int64_t count, int32_t threads, float* scratch, int64_t each, const Work& work) {
    std::atomic<int64_t> next{0};
    float* first = on_a_line(scratch);
    on_threads(threads, [&](int32_t thread) {
        const NoDenormals guard;
        for (int64_t n = next++; n < count; n = next++) work(n, first + thread * each);
    });
}

int32_t fewer(int32_t threads, int64_t count) { return count < threads ? static_cast<int32_t>(count) : threads; }

template <class Band>
bool within(const Band* bands, int64_t count, int64_t bins) {
    if (count < 1 || bins < 1 || !bands) return false;
    for (int64_t k = 0; k < count; ++k)
        if (bands[k].first < 0 || bands[k].width < 1 || bands[k].first + bands[k].width > bins) return false;
    return true;
}

bool sound(const stemsplit_split& s) { return s.features > 0 && s.channels > 0 && within(s.band, s.bands, s.bins); }

bool sound(const stemsplit_kernels& kernels, const stemsplit_heads& h) {
    return h.features > 0 && h.inner > 0 && h.inner % kernels.vector == 0 && h.stems > 0 && h.channels > 0 && h.slice > 0 &&
           within(h.band, h.bands, h.bins);
}

bool sound(const stemsplit_kernels& kernels, const stemsplit_exchange& e) {
    return e.features > 0 && e.hidden > 0 && e.hidden % kernels.vector == 0;
}

}  // namespace

int64_t stemsplit_split_scratch(int32_t set, const stemsplit_split* split, int64_t steps) {
    const stemsplit_kernels* kernels = usable(set);
    return kernels && steps > 0 && sound(*split) ? whole_lines(kernels->split_words(*split, steps)) + LINE : 0;
}

int32_t stemsplit_split_run(int32_t set, const stemsplit_split* split, const float* spectrum, float* tokens, int64_t groups,
                            int64_t steps, int32_t threads, float* scratch, int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    if (!kernels) return STEMSPLIT_UNSUPPORTED;
    const stemsplit_split& s = *split;
    if (!sound(s) || groups < 0 || steps < 0 || threads < 1) return STEMSPLIT_INVALID;
    if (groups == 0 || steps == 0) return STEMSPLIT_OK;
    threads = fewer(threads, groups * s.bands);
    const int64_t each = whole_lines(kernels->split_words(s, steps));
    if (scratch_words < threads * each + LINE) return STEMSPLIT_INVALID;
    share_out(groups * s.bands, threads, scratch, each, [&](int64_t n, float* own) {
        const int64_t group = n / s.bands;
        kernels->split(s, n % s.bands, spectrum + 2 * group * s.channels * steps * s.bins, tokens + n * steps * s.features, steps, own);
    });
    return STEMSPLIT_OK;
}

int64_t stemsplit_heads_scratch(int32_t set, const stemsplit_heads* heads, int64_t steps) {
    const stemsplit_kernels* kernels = usable(set);
    return kernels && steps > 0 && sound(*kernels, *heads) ? whole_lines(kernels->head_words(*heads, steps)) + LINE : 0;
}

int32_t stemsplit_heads_run(int32_t set, const stemsplit_heads* heads, int32_t finish, const float* tokens, const float* spectrum,
                            float* out, int64_t batch, int64_t groups, int64_t steps, int32_t threads, float* scratch,
                            int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    if (!kernels) return STEMSPLIT_UNSUPPORTED;
    const stemsplit_heads& h = *heads;
    if (!sound(*kernels, h) || batch < 0 || groups < 0 || steps < 0 || threads < 1) return STEMSPLIT_INVALID;
    if (finish < 0 || finish >= STEMSPLIT_FINISHES || (finish == STEMSPLIT_MASK && !spectrum)) return STEMSPLIT_INVALID;
    const int64_t count = batch * groups * h.bands;
    if (count == 0 || steps == 0) return STEMSPLIT_OK;
    threads = fewer(threads, count);
    const int64_t each = whole_lines(kernels->head_words(h, steps));
    if (scratch_words < threads * each + LINE) return STEMSPLIT_INVALID;
    const int64_t group_size = 2 * h.channels * steps * h.bins, stem_size = groups * group_size;
    share_out(count, threads, scratch, each, [&](int64_t n, float* own) {
        const int64_t item = n / h.bands / groups, group = n / h.bands % groups;
        const float* mixture = spectrum ? spectrum + item * stem_size + group * group_size : nullptr;
        const stemsplit_finish f = {finish, mixture, out + item * h.stems * stem_size + group * group_size, stem_size};
        kernels->head(h, n % h.bands, tokens + n * steps * h.features, f, steps, own);
    });
    return STEMSPLIT_OK;
}

int64_t stemsplit_exchange_scratch(int32_t set, const stemsplit_exchange* exchange, int64_t channels, int64_t steps) {
    const stemsplit_kernels* kernels = usable(set);
    if (!kernels || steps < 1 || channels < 1 || !sound(*kernels, *exchange)) return 0;
    return whole_lines(kernels->exchange_words(*exchange, channels, steps)) + LINE;
}

int32_t stemsplit_exchange_run(int32_t set, const stemsplit_exchange* exchange, const float* x, float* out, int64_t batch,
                               int64_t channels, int64_t bands, int64_t steps, int32_t threads, float* scratch,
                               int64_t scratch_words) {
    const stemsplit_kernels* kernels = usable(set);
    if (!kernels) return STEMSPLIT_UNSUPPORTED;
    const stemsplit_exchange& e = *exchange;
    if (!sound(*kernels, e) || batch < 0 || channels < 0 || bands < 0 || steps < 0 || threads < 1) return STEMSPLIT_INVALID;
    if (batch * channels * bands == 0 || steps == 0) return STEMSPLIT_OK;
    threads = fewer(threads, batch * bands);
    const int64_t each = whole_lines(kernels->exchange_words(e, channels, steps));
    if (scratch_words < threads * each + LINE) return STEMSPLIT_INVALID;
    const int64_t size = steps * e.features;
    share_out(batch * bands, threads, scratch, each, [&](int64_t n, float* own) {
        const int64_t at = (n / bands * channels * bands + n % bands) * size;
        kernels->exchange(e, x + at, out + at, channels, bands * size, steps, own);
    });
    return STEMSPLIT_OK;
}
