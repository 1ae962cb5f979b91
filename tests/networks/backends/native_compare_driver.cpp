// Runs training's comparison of stems over awkward shapes on memory that ends where the data ends, for the sanitizers to
// watch, and compares every instruction set with the portable one. Exits with 1 and a line per disagreement.

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "abi.h"

namespace {

std::mt19937 generator(11);

// Values on the heap, exactly as many as there are: the sanitizer sees the first byte beyond either end.
template <class Value>
struct Exactly {
    std::unique_ptr<Value[]> data;
    int64_t size;
    explicit Exactly(int64_t n, Value value = 0) : data(new Value[static_cast<size_t>(n)]), size(n) {
        for (int64_t i = 0; i < n; ++i) data[i] = value;
    }
    Value* get() const { return data.get(); }
};

Exactly<float> draw(int64_t n) {
    Exactly<float> values(n);
    for (int64_t i = 0; i < n; ++i) values.data[i] = std::normal_distribution<float>(0, 1)(generator);
    return values;
}

struct Case {
    std::vector<int64_t> widths;
    int64_t inner, stems, channels, kept, items, steps;
    int64_t bins() const {
        int64_t sum = 0;
        for (int64_t width : widths) sum += width;
        return sum;
    }
};

const Case CASES[] = {
    {{4, 8, 33}, 24, 4, 2, 2, 3, 65}, {{1}, 1, 1, 1, 1, 1, 1},     {{2, 15, 16, 17}, 5, 3, 2, 1, 2, 3},
    {{3, 5}, 17, 2, 1, 1, 2, 130},    {{40}, 32, 4, 1, 1, 1, 49},
};

struct World {
    Case of;
    int64_t n, m;
    std::vector<Exactly<float>> hidden, weight, bias;
    Exactly<float> spectrum, known, factor, fold, slopes;
    Exactly<int64_t> spectrum_at, known_at;
    stemsplit_compare compare;

    explicit World(const Case& c)
        : of(c), n(c.stems * c.channels), m(c.stems * c.kept), spectrum(draw(c.items * c.channels * c.steps * c.bins() * 2)),
          known(draw(c.items * m * c.steps * c.bins() * 2)), factor(draw(c.items)), fold(draw(c.items * m * n)),
          slopes(draw(2 * c.items * m)), spectrum_at(c.items * c.channels), known_at(c.items * m) {
        for (int stage = 0; stage < 2; ++stage) {
            hidden.push_back(draw(static_cast<int64_t>(c.widths.size()) * 4 * c.items * c.steps * c.inner));
            weight.push_back(draw(4 * n * c.bins() * c.inner)), bias.push_back(draw(4 * n * c.bins()));
        }
        for (int64_t i = 0; i < spectrum_at.size; ++i) spectrum_at.data[i] = i * c.steps * c.bins() * 2;
        for (int64_t i = 0; i < known_at.size; ++i) known_at.data[i] = i * c.steps * c.bins() * 2;
        compare = {static_cast<int64_t>(of.widths.size()), c.bins(), c.inner, c.stems, c.channels, m, c.items, c.steps,
                   of.widths.data(), {}, spectrum.get(), spectrum_at.get(), known.get(), known_at.get(), factor.get(), fold.get()};
        for (int stage = 0; stage < 2; ++stage) compare.maps[stage] = {hidden[stage].get(), weight[stage].get(), bias[stage].get()};
    }
};

// Energies and all gradients, one after the other.
std::vector<double> run(int32_t set, const World& w, int32_t threads) {
    std::vector<Exactly<float>> made;
    const auto make = [&](const Exactly<float>& like) {
        made.emplace_back(like.size, NAN);
        return made.back().get();
    };
    stemsplit_last_gradient gradients[2];
    for (int stage = 0; stage < 2; ++stage) gradients[stage] = {make(w.hidden[stage]), make(w.weight[stage]), make(w.bias[stage])};
    const Exactly<double> energies(w.compare.bands * 3 * w.of.items * w.m, NAN);
    for (int back = 0; back < 2; ++back) {
        const Exactly<float> scratch(threads * stemsplit_compare_scratch(set, &w.compare, back), NAN);
        const int32_t status =
            back ? stemsplit_compare_gradient(set, &w.compare, w.slopes.get(), gradients, threads, scratch.get(), scratch.size)
                 : stemsplit_compare_run(set, &w.compare, energies.get(), threads, scratch.get(), scratch.size);
        if (status != STEMSPLIT_OK) std::printf("status %d\n", status), std::exit(1);
    }
    std::vector<double> all(energies.get(), energies.get() + energies.size);
    for (const Exactly<float>& part : made) all.insert(all.end(), part.get(), part.get() + part.size);
    return all;
}

double distance(const std::vector<double>& found, const std::vector<double>& expected) {
    double error = 0, size = 0;
    for (size_t i = 0; i < found.size(); ++i) error += std::pow(found[i] - expected[i], 2), size += expected[i] * expected[i];
    return std::sqrt(error / size);
}

int refusals() {
    const World w(CASES[0]);
    double energies[1];
    float scratch[1];
    stemsplit_compare wrong = w.compare;
    wrong.bins += 1;  // not the sum of the widths
    int failures = stemsplit_compare_scratch(STEMSPLIT_PORTABLE, &wrong, 0) != 0;
    failures += stemsplit_compare_scratch(9, &w.compare, 0) != 0;
    failures += stemsplit_compare_run(9, &w.compare, energies, 1, scratch, 1) != STEMSPLIT_UNSUPPORTED;
    failures += stemsplit_compare_run(0, &wrong, energies, 1, scratch, 1) != STEMSPLIT_INVALID;
    failures += stemsplit_compare_run(0, &w.compare, energies, 1, scratch, 1) != STEMSPLIT_INVALID;
    failures += stemsplit_compare_gradient(0, &w.compare, nullptr, nullptr, 0, scratch, 1) != STEMSPLIT_INVALID;
    return failures;
}

}  // namespace

int main() {
    const char* names[] = {"portable", "avx2", "avx512", "avx512bf16", "amx"};
    int failures = refusals();
    for (const Case& c : CASES) {
        const World w(c);
        const std::vector<double> expected = run(STEMSPLIT_PORTABLE, w, 1);
        for (int32_t set = 0; set < STEMSPLIT_SETS; ++set) {
            if (!(stemsplit_supported() >> set & 1)) continue;
            for (int32_t threads : {1, 3}) {
                const double found = distance(run(set, w, threads), expected);
                if (found < 3e-6) continue;  // NaN fails, too
                std::printf("%s, %ld steps, %d threads: %g\n", names[set], (long)c.steps, threads, found);
                ++failures;
            }
        }
    }
    std::printf("%d failures\n", failures);
    return failures != 0;
}
