// Runs every instruction set over awkward shapes on memory that ends where the data ends, for the sanitizers to watch,
// and compares each with the portable one. Exits with 1 and a line per disagreement.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "abi.h"

namespace {

std::mt19937 generator(7);

float draw() { return std::normal_distribution<float>(0, 1)(generator); }

// A heap block of exactly n floats, `shift` bytes off: the sanitizer sees the first byte beyond either end.
class Floats {
public:
    explicit Floats(size_t n, size_t shift = 0) : memory_(new char[n * 4 + shift]), data_(memory_.get() + shift) {}
    float* get() const { return reinterpret_cast<float*>(data_); }

private:
    std::unique_ptr<char[]> memory_;
    char* data_;
};

uint16_t bfloat16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct Case {
    int64_t features, state, heads, channels, taps, sequences, steps;
};

int64_t up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Numbers that do not depend on the padding: the same network for every instruction set.
float number(int what, int64_t i, int64_t j) {
    uint64_t h = (static_cast<uint64_t>(what) << 48) ^ (static_cast<uint64_t>(i) << 24) ^ static_cast<uint64_t>(j);
    h = (h ^ (h >> 31)) * 0x9e3779b97f4a7c15ull;
    h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9ull;
    return static_cast<float>((h >> 40) / 16777216.0 - 0.5);
}

class Network {
public:
    Network(int32_t set, const Case& c)
        : set_(set), c_(c), vector_(stemsplit_vector(set)), panel_(stemsplit_panel(set)), pack_(set >= STEMSPLIT_AVX512BF16 ? 2 : 1) {
        const int64_t channels = up(c.channels, vector_), state = up(c.state, vector_), heads = up(c.heads, vector_);
        weights_.shape = {c.features, c.heads * c.channels, state, c.heads, channels, c.taps, heads};
        weights_.norm_weight = row(1, c.features, 1.0f);
        weights_.norm_bias = row(2, c.features, 0.0f);
        weights_.bias = exact(3, c.features);
        weights_.straight = matrix(4, plain(c.features), plain(c.features), c.features);
        for (int d = 0; d < 2; ++d) direction(10 + 20 * d, weights_.direction[d]);
    }

    // With `apart` the steps of a sequence are as far apart as all sequences are long.
    std::vector<float> run(const std::vector<float>& x, int32_t threads, size_t shift, bool apart = false) {
        Floats in(x.size(), shift), out(x.size(), 8 - shift);
        const auto place = [&](size_t i) {
            const size_t d = static_cast<size_t>(c_.features), steps = static_cast<size_t>(c_.steps);
            return apart ? (i / d % steps * static_cast<size_t>(c_.sequences) + i / d / steps) * d + i % d : i;
        };
        for (size_t i = 0; i < x.size(); ++i) in.get()[place(i)] = x[i];
        const int64_t words = threads * stemsplit_scratch(set_, &weights_.shape, c_.steps);
        Floats scratch(static_cast<size_t>(words), 4);
        for (int64_t i = 0; i < words; ++i) scratch.get()[i] = NAN;  // whoever reads before writing shows
        const stemsplit_places places = {c_.sequences, c_.sequences, 0, apart ? c_.features : c_.steps * c_.features,
                                         apart ? c_.sequences * c_.features : c_.features};
        const int32_t status = stemsplit_block(set_, &weights_, in.get(), out.get(), &places, c_.steps, threads, scratch.get(), words);
        if (status != STEMSPLIT_OK) std::printf("status %d\n", status), std::exit(1);
        std::vector<float> found(x.size());
        for (size_t i = 0; i < x.size(); ++i) found[i] = out.get()[place(i)];
        return found;
    }

private:
    typedef std::vector<int64_t> Places;  // of each padded index in the unpadded axis, -1 for padding

    Places plain(int64_t n) const {
        Places places;
        for (int64_t i = 0; i < n; ++i) places.push_back(i);
        return places;
    }
    void append(Places& places, int64_t n, int64_t from) const {
        for (int64_t i = 0; i < up(n, vector_); ++i) places.push_back(i < n ? from + i : -1);
    }
    Places heads() const {
        Places places;
        for (int64_t h = 0; h < c_.heads; ++h) append(places, c_.channels, h * c_.channels);
        return places;
    }

    const float* keep(const std::vector<float>& values) {
        kept_.emplace_back(values.size());
        std::memcpy(kept_.back().get(), values.data(), values.size() * 4);
        return kept_.back().get();
    }
    const float* exact(int what, int64_t n) {
        std::vector<float> v;
        for (int64_t i = 0; i < n; ++i) v.push_back(number(what, i, 0));
        return keep(v);
    }
    const float* row(int what, int64_t n, float mean) {
        std::vector<float> v(static_cast<size_t>(up(n, vector_)), 0.0f);
        for (int64_t i = 0; i < n; ++i) v[i] = mean + number(what, i, 0);
        return keep(v);
    }
    // inner → outputs in panels; places of both axes.
    const float* matrix(int what, const Places& outputs, const Places& inner, int64_t fan_in) {
        const int64_t cells = (static_cast<int64_t>(inner.size()) + pack_ - 1) / pack_;
        const int64_t panels = (static_cast<int64_t>(outputs.size()) + panel_ - 1) / panel_;
        std::vector<float> v(static_cast<size_t>(panels * cells * panel_), 0.0f);
        const float scale = 3.0f / std::sqrt(static_cast<float>(fan_in));
        for (size_t o = 0; o < outputs.size(); ++o)
            for (size_t i = 0; i < inner.size(); ++i) {
                if (outputs[o] < 0 || inner[i] < 0) continue;
                const float value = scale * number(what, outputs[o], inner[i]);
                float* cell = &v[((o / panel_) * cells + i / pack_) * panel_ + o % panel_];
                if (pack_ == 1) {
                    *cell = value;
                } else {
                    const uint16_t half = bfloat16(value);
                    std::memcpy(reinterpret_cast<char*>(cell) + 2 * (i % 2), &half, 2);
                }
            }
        return keep(v);
    }
    void direction(int what, stemsplit_direction& d) {
        const int64_t inner = c_.heads * c_.channels;
        Places conv = heads();
        append(conv, c_.state, inner);
        append(conv, c_.state, inner + c_.state);
        Places mixed = conv;
        append(mixed, c_.heads, inner + 2 * c_.state);
        d.mixed = matrix(what, mixed, plain(c_.features), c_.features);
        d.gate = matrix(what + 1, heads(), plain(c_.features), c_.features);
        d.out = matrix(what + 2, plain(c_.features), heads(), inner);
        std::vector<float> taps, bias;
        for (int64_t j = 0; j < c_.taps; ++j)
            for (int64_t place : conv) taps.push_back(place < 0 ? 0.0f : number(what + 3, place, j));
        for (int64_t place : conv) bias.push_back(place < 0 ? 0.0f : number(what + 4, place, 0));
        d.conv = keep(taps);
        d.conv_bias = keep(bias);
        d.dt_bias = row(what + 5, c_.heads, -2.0f);
        d.a = row(what + 6, c_.heads, -1.0f);
        d.skip = exact(what + 7, c_.heads);
    }

    int32_t set_;
    Case c_;
    int64_t vector_, panel_, pack_;
    stemsplit_block_weights weights_;
    std::vector<Floats> kept_;
};

double distance(const std::vector<float>& found, const std::vector<float>& expected, const std::vector<float>& x) {
    double error = 0, size = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        const double update = static_cast<double>(expected[i]) - x[i];
        error += std::pow(static_cast<double>(found[i]) - expected[i], 2);
        size += update * update;
    }
    return std::sqrt(error / size);
}

const Case CASES[] = {
    {16, 4, 4, 8, 4, 3, 1},    {16, 4, 4, 8, 4, 3, 2},   {19, 5, 2, 19, 3, 2, 57},  {7, 3, 1, 5, 1, 2, 63},
    {64, 32, 2, 32, 4, 3, 27}, {64, 32, 2, 32, 4, 2, 87}, {33, 17, 3, 40, 4, 2, 131}, {24, 8, 2, 12, 6, 1, 650},
    {40, 16, 20, 4, 2, 1, 513},
};

}  // namespace

int main() {
    const char* names[] = {"portable", "avx2", "avx512", "avx512bf16", "amx"};
    int failures = 0;
    for (const Case& c : CASES) {
        std::vector<float> x(static_cast<size_t>(c.sequences * c.steps * c.features));
        for (float& value : x) value = 2 * draw() + 0.3f;
        const std::vector<float> expected = Network(STEMSPLIT_PORTABLE, c).run(x, 1, 0);
        for (int32_t set = 0; set < STEMSPLIT_SETS; ++set) {
            if (!(stemsplit_supported() >> set & 1)) continue;
            for (int32_t threads : {1, 3}) {
                const double found = distance(Network(set, c).run(x, threads, 4, threads > 1), expected, x);
                if (found < (set >= STEMSPLIT_AVX512BF16 ? 2e-2 : 3e-6)) continue;  // NaN fails, too
                std::printf("%s, %ld features, %ld steps, %d threads: %g\n", names[set], (long)c.features, (long)c.steps, threads, found);
                ++failures;
            }
        }
    }
    stemsplit_shape shape = {16, 32, 5, 4, 8, 4, 4};  // a state that no vector divides
    if (stemsplit_scratch(STEMSPLIT_PORTABLE, &shape, 3) != 0 || stemsplit_scratch(9, &shape, 3) != 0) ++failures;
    std::printf("%d failures\n", failures);
    return failures != 0;
}
