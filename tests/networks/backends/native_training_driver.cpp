// Runs training's kernels over awkward shapes on memory that ends where the data ends, for the sanitizers to watch, and
// compares every instruction set with the portable one. Exits with 1 and a line per disagreement.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "abi.h"

namespace {

std::mt19937 generator(7);

std::vector<float> draw(int64_t n, float scale = 1, float mean = 0) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) value = mean + scale * std::normal_distribution<float>(0, 1)(generator);
    return values;
}

// A heap block of exactly n bytes, `shift` off: the sanitizer sees the first byte beyond either end.
class Block {
public:
    explicit Block(size_t n, size_t shift = 0) : memory_(new char[n + shift]), data_(memory_.get() + shift) {}
    char* get() const { return data_; }

private:
    std::unique_ptr<char[]> memory_;
    char* data_;
};

struct Case {
    stemsplit_scan_shape shape;
    int64_t sequences, steps;
};

const Case CASES[] = {
    {{2, 32, 32, 4}, 3, 27}, {{2, 32, 32, 4}, 2, 130}, {{1, 1, 1, 1}, 2, 1},  {{4, 5, 3, 3}, 3, 2},
    {{3, 19, 17, 6}, 2, 49}, {{20, 4, 16, 2}, 1, 97},  {{2, 16, 8, 4}, 5, 3}, {{1, 40, 33, 4}, 1, 145},
};

// Values as the kernels read them: floats, or their upper halves.
Block stored(const std::vector<float>& values, int32_t type, size_t shift) {
    const size_t size = type == STEMSPLIT_BFLOAT16 ? 2 : 4;
    Block block(values.size() * size, shift);
    for (size_t i = 0; i < values.size(); ++i)
        std::memcpy(block.get() + i * size, reinterpret_cast<const char*>(&values[i]) + (4 - size), size);
    return block;
}

std::vector<float> read(const Block& block, size_t n, int32_t type) {
    const size_t size = type == STEMSPLIT_BFLOAT16 ? 2 : 4;
    std::vector<float> values(n, 0.0f);
    for (size_t i = 0; i < n; ++i) std::memcpy(reinterpret_cast<char*>(&values[i]) + (4 - size), block.get() + i * size, size);
    return values;
}

struct Inputs {
    std::vector<float> projected, grad, conv[2], bias[2], dt[2], a[2], skip[2];
    explicit Inputs(const Case& c) {
        const stemsplit_scan_shape& s = c.shape;
        const int64_t inner = s.heads * s.channels, mixed = inner + 2 * s.state;
        projected = draw(2 * c.sequences * c.steps * (inner + mixed + s.heads));
        grad = draw(2 * c.sequences * c.steps * inner);
        for (int d = 0; d < 2; ++d) {
            conv[d] = draw(mixed * s.taps, 0.5f), bias[d] = draw(mixed, 0.3f);
            dt[d] = draw(s.heads, 0.5f, -2), a[d] = draw(s.heads), skip[d] = draw(s.heads);
        }
    }
};

// Output, gradient of the rows, gradients of the parameters: one after the other.
std::vector<float> run(int32_t set, const Case& c, const Inputs& in, int32_t type, int32_t threads) {
    const size_t size = type == STEMSPLIT_BFLOAT16 ? 2 : 4;
    stemsplit_scan_weights weights[2];
    stemsplit_scan_gradients gradients[2];
    std::vector<Block> kept;
    std::vector<size_t> sizes;
    const auto keep = [&](const std::vector<float>& values) {
        kept.push_back(stored(values, STEMSPLIT_FLOAT32, 4));
        return reinterpret_cast<const float*>(kept.back().get());
    };
    const auto make = [&](const std::vector<float>& like) {
        kept.push_back(stored(std::vector<float>(like.size(), NAN), STEMSPLIT_FLOAT32, 8));
        sizes.push_back(like.size());
        return reinterpret_cast<float*>(kept.back().get());
    };
    for (int d = 0; d < 2; ++d) {
        weights[d] = {keep(in.conv[d]), keep(in.bias[d]), keep(in.dt[d]), keep(in.a[d]), keep(in.skip[d])};
        gradients[d] = {make(in.conv[d]), make(in.bias[d]), make(in.dt[d]), make(in.a[d]), make(in.skip[d])};
    }
    const Block projected = stored(in.projected, type, 4), grad = stored(in.grad, type, 3 * size);
    const Block out(in.grad.size() * size, 2 * size), grad_in(in.projected.size() * size, size);
    for (int back = 0; back < 2; ++back) {
        const int64_t words = stemsplit_scan_scratch(set, &c.shape, c.steps, threads, back);
        const Block scratch = stored(std::vector<float>(static_cast<size_t>(words), NAN), STEMSPLIT_FLOAT32, 4);
        float* at = reinterpret_cast<float*>(scratch.get());
        const int32_t status =
            back ? stemsplit_scan_gradient(set, &c.shape, weights, type, projected.get(), grad.get(), grad_in.get(), gradients,
                                           c.sequences, c.steps, threads, at, words)
                 : stemsplit_scan(set, &c.shape, weights, type, projected.get(), out.get(), c.sequences, c.steps, threads, at, words);
        if (status != STEMSPLIT_OK) std::printf("status %d\n", status), std::exit(1);
    }
    std::vector<float> all = read(out, in.grad.size(), type);
    const std::vector<float> rows = read(grad_in, in.projected.size(), type);
    all.insert(all.end(), rows.begin(), rows.end());
    size_t n = 0;
    for (int d = 0; d < 2; ++d)
        for (const float* from : {gradients[d].conv, gradients[d].conv_bias, gradients[d].dt_bias, gradients[d].a_log, gradients[d].skip})
            all.insert(all.end(), from, from + sizes[n++]);
    return all;
}

double distance(const std::vector<float>& found, const std::vector<float>& expected) {
    double error = 0, size = 0;
    for (size_t i = 0; i < found.size(); ++i)
        error += std::pow(static_cast<double>(found[i]) - expected[i], 2), size += static_cast<double>(expected[i]) * expected[i];
    return std::sqrt(error / size);
}

int refusals() {
    const Case& c = CASES[0];
    stemsplit_scan_shape none = {2, 0, 4, 4};
    int failures = stemsplit_scan_scratch(STEMSPLIT_PORTABLE, &none, 3, 1, 0) != 0;
    failures += stemsplit_scan_scratch(9, &c.shape, 3, 1, 0) != 0;
    failures += stemsplit_scan(9, &c.shape, nullptr, 0, nullptr, nullptr, 1, 1, 1, nullptr, 0) != STEMSPLIT_UNSUPPORTED;
    failures += stemsplit_scan(0, &c.shape, nullptr, 2, nullptr, nullptr, 1, 1, 1, nullptr, 0) != STEMSPLIT_INVALID;
    failures += stemsplit_scan(0, &c.shape, nullptr, 0, nullptr, nullptr, 1, 1, 1, nullptr, 0) != STEMSPLIT_INVALID;
    failures += stemsplit_scan(0, &c.shape, nullptr, 0, nullptr, nullptr, 0, 1, 1, nullptr, 0) != STEMSPLIT_OK;
    return failures;
}

}  // namespace

int main() {
    const char* names[] = {"portable", "avx2", "avx512", "avx512bf16", "amx"};
    int failures = refusals();
    for (const Case& c : CASES) {
        const Inputs in(c);
        for (int32_t type = 0; type < STEMSPLIT_TYPES; ++type) {
            const std::vector<float> expected = run(STEMSPLIT_PORTABLE, c, in, type, 1);
            for (int32_t set = 0; set < STEMSPLIT_SETS; ++set) {
                if (!(stemsplit_supported() >> set & 1)) continue;
                for (int32_t threads : {1, 3}) {
                    const double found = distance(run(set, c, in, type, threads), expected);
                    if (found < (type == STEMSPLIT_BFLOAT16 ? 2e-3 : 3e-6)) continue;  // NaN fails, too
                    std::printf("%s, type %d, %ld steps, %d threads: %g\n", names[set], type, (long)c.steps, threads, found);
                    ++failures;
                }
            }
        }
    }
    std::printf("%d failures\n", failures);
    return failures != 0;
}
