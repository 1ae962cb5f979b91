// Runs the layers around the blocks in every instruction set over awkward shapes, on memory that ends where the data ends,
// for the sanitizers to watch. Exits with 1 if a result is not finite. Python tests compare the numbers.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "abi.h"

namespace {

int failures = 0;

int64_t up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Heap blocks of exactly n floats: the sanitizer sees the first byte beyond either end.
class Memory {
public:
    float* floats(int64_t n, float scale = 0.25f) {
        kept_.emplace_back(new float[static_cast<size_t>(n)]);
        for (int64_t i = 0; i < n; ++i) kept_.back()[static_cast<size_t>(i)] = scale * static_cast<float>((i * 37 + n) % 17 - 8) / 8;
        return kept_.back().get();
    }

private:
    std::vector<std::unique_ptr<float[]>> kept_;
};

struct Set {
    int32_t number;
    int64_t vector, panel, pack;
    int64_t words(int64_t outputs, int64_t inner) const { return up(outputs, panel) * ((inner + pack - 1) / pack); }
};

void check(const char* what, const Set& set, int32_t status, const float* out, int64_t n) {
    bool finite = status == STEMSPLIT_OK;
    for (int64_t i = 0; i < n && finite; ++i) finite = std::isfinite(out[i]);
    if (!finite) std::printf("%s in set %d: status %d\n", what, set.number, status), ++failures;
}

const int64_t WIDTHS[] = {1, 2, 19, 33}, BANDS = 4, BINS = 55;

void split(const Set& set, int64_t features, int64_t channels, int64_t steps) {
    Memory memory;
    std::vector<stemsplit_split_band> bands;
    int64_t first = 0;
    for (int64_t width : WIDTHS) {
        const int64_t values = 2 * channels * width, padded = up(values, set.vector);
        bands.push_back({first, width, memory.floats(padded), memory.floats(padded), memory.floats(set.words(features, values)),
                         memory.floats(features)});
        first += width;
    }
    const stemsplit_split weights = {features, channels, BINS, BANDS, bands.data()};
    const int64_t groups = 3, size = groups * BANDS * steps * features;
    const int64_t words = 2 * stemsplit_split_scratch(set.number, &weights, steps);
    float *spectrum = memory.floats(groups * channels * steps * BINS * 2, 3.0f), *out = memory.floats(size, NAN);
    const int32_t status = stemsplit_split_run(set.number, &weights, spectrum, out, groups, steps, 2, memory.floats(words, NAN), words);
    check("split", set, status, out, size);
}

void heads(const Set& set, int64_t features, int64_t stems, int64_t channels, int64_t steps, int64_t slice) {
    Memory memory;
    const int64_t inner = up(5, set.vector), wide = up(features, set.vector);
    std::vector<stemsplit_head> bands;
    int64_t first = 0;
    for (int64_t width : WIDTHS) {
        int64_t map = 0, bias = 0;
        for (int64_t bin = 0; bin < width; bin += slice) {
            const int64_t outputs = stems * channels * (width - bin < slice ? width - bin : slice);
            map += 4 * set.words(outputs, inner), bias += 4 * up(outputs, set.panel);
        }
        bands.push_back({first, width, memory.floats(wide), memory.floats(wide), memory.floats(set.words(4 * inner, features)),
                         memory.floats(4 * inner), memory.floats(4 * set.words(inner, inner)), memory.floats(4 * inner),
                         memory.floats(map), memory.floats(bias)});
        first += width;
    }
    const stemsplit_heads weights = {features, inner, stems, channels, BINS, BANDS, slice, bands.data()};
    const int64_t batch = 2, groups = 2, frames = groups * channels * steps * BINS * 2, size = batch * stems * frames;
    const int64_t words = 3 * stemsplit_heads_scratch(set.number, &weights, steps);
    float *tokens = memory.floats(batch * groups * BANDS * steps * features), *out = memory.floats(size);
    float* spectrum = memory.floats(batch * frames);
    for (int32_t finish = 0; finish < STEMSPLIT_FINISHES; ++finish) {
        const int32_t status = stemsplit_heads_run(set.number, &weights, finish, tokens, finish == STEMSPLIT_MASK ? spectrum : nullptr,
                                                   out, batch, groups, steps, 3, memory.floats(words, NAN), words);
        check("heads", set, status, out, size);
    }
    if (stemsplit_heads_run(set.number, &weights, STEMSPLIT_MASK, tokens, nullptr, out, batch, groups, steps, 1, out, words) == 0) ++failures;
}

void exchange(const Set& set, int64_t features, int64_t channels, int64_t steps) {
    Memory memory;
    const int64_t hidden = up(3 * features, set.vector), wide = up(features, set.vector);
    const stemsplit_exchange weights = {features, hidden, memory.floats(wide), memory.floats(wide),
                                        memory.floats(set.words(hidden, features)), memory.floats(hidden),
                                        memory.floats(set.words(hidden, hidden)), memory.floats(hidden),
                                        memory.floats(set.words(features, hidden)), memory.floats(set.words(features, hidden)),
                                        memory.floats(wide)};
    const int64_t batch = 2, bands = 3, size = batch * channels * bands * steps * features;
    const int64_t words = 2 * stemsplit_exchange_scratch(set.number, &weights, channels, steps);
    float *x = memory.floats(size), *out = memory.floats(size, NAN);
    const int32_t status = stemsplit_exchange_run(set.number, &weights, x, out, batch, channels, bands, steps, 2,
                                                  memory.floats(words, NAN), words);
    check("exchange", set, status, out, size);
}

void selective(const Set& set, int64_t inner, int64_t state, int64_t low, int64_t taps, int64_t steps) {
    Memory memory;
    const int64_t wide = up(inner, set.vector), mixed = up(low + 2 * state, set.vector), sequences = 3;
    const stemsplit_selective weights = {inner, state, low, taps, memory.floats(taps * wide), memory.floats(wide),
                                         memory.floats(inner * mixed), memory.floats(low * wide), memory.floats(wide),
                                         memory.floats(state * wide), memory.floats(wide)};
    const int64_t words = 2 * stemsplit_selective_scratch(set.number, &weights), size = sequences * steps * inner;
    float* rows = memory.floats(2 * size);
    for (int32_t backward : {0, 1}) {
        float* out = memory.floats(size, NAN);
        const int32_t status = stemsplit_selective_run(set.number, &weights, rows, out, sequences, steps, backward, 2,
                                                       memory.floats(words, NAN), words);
        check("selective", set, status, out, size);
    }
    if (stemsplit_selective_run(set.number, &weights, rows, rows, sequences, steps, 0, 2, rows, 1) != STEMSPLIT_INVALID) ++failures;
}

}  // namespace

int main() {
    for (int32_t number = 0; number < STEMSPLIT_SETS; ++number) {
        if (!(stemsplit_supported() >> number & 1)) continue;
        const Set set = {number, stemsplit_vector(number), stemsplit_panel(number), number >= STEMSPLIT_AVX512BF16 ? 2 : 1};
        for (int64_t steps : {1, 2, 57, 131}) {
            split(set, 16, 2, steps), split(set, 21, 1, steps);
            heads(set, 16, 4, 2, steps, 32), heads(set, 21, 3, 1, steps, 7);
            exchange(set, 16, 2, steps), exchange(set, 21, 1, steps);
            selective(set, 32, 8, 2, 4, steps), selective(set, 21, 3, 1, 6, steps), selective(set, 5, 1, 3, 1, steps);
        }
    }
    const stemsplit_split nothing = {0, 1, BINS, 0, nullptr};
    if (stemsplit_split_scratch(STEMSPLIT_PORTABLE, &nothing, 3) != 0 || stemsplit_split_scratch(9, &nothing, 3) != 0) ++failures;
    std::printf("%d failures\n", failures);
    return failures != 0;
}
