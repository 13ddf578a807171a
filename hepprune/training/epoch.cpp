// One epoch of AdamW on a chain of dense layers in fixed point, as chains.py and optimiser.py take it step by step, and
// what the chain puts out.
//
// Sums of fixed-point values are exact in float32 while they fit in its 24 bits, as those of the types that are let in
// here do; so what a network puts out is bit for bit what torch makes of it.
// Gradients are summed in another order. Jets go through in tiles that stay in the cache; widths are padded to vectors.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

constexpr int64_t LANES = 16, ROWS = 8, TILE = 64;
using Vector = float __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
using Array = std::vector<float>;

int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// What a rounding does to a number of last places: 0 is TRN, 1 is RND, halves upwards.
inline float rounded(float places, int64_t rounding) {
    return rounding ? std::ceil(std::floor(places * 2) * 0.5f) : std::floor(places);
}

template <int64_t N>
void rows(int64_t k, const float* a, int64_t a_row, int64_t a_column, const float* b, int64_t m, float* c, bool add) {
    Vector sums[N];
    for (int64_t i = 0; i < N; ++i) sums[i] = add ? *(const Vector*)(c + i * m) : Vector{};
    for (int64_t j = 0; j < k; ++j) {
        const Vector other = *(const Vector*)(b + j * m);
        for (int64_t i = 0; i < N; ++i) sums[i] += a[i * a_row + j * a_column] * other;
    }
    for (int64_t i = 0; i < N; ++i) *(Vector*)(c + i * m) = sums[i];
}

// c (n, m) is a (n, k) times b (k, m), or has it added; a is read with strides of its own.
void product(int64_t n, int64_t k, int64_t m, const float* a, int64_t a_row, int64_t a_column, const float* b, float* c,
             bool add) {
    for (int64_t column = 0; column < m; column += LANES) {
        int64_t row = 0;
        for (; row + ROWS <= n; row += ROWS)
            rows<ROWS>(k, a + row * a_row, a_row, a_column, b + column, m, c + row * m + column, add);
        for (; row < n; ++row) rows<1>(k, a + row * a_row, a_row, a_column, b + column, m, c + row * m + column, add);
    }
}

}  // namespace

extern "C" {

// Numbers of parameters as they act: units of last places, ends of the types in these, ends between which there is a
// gradient, and where the part of a table of digits begins that says what each whole number becomes (-1 for none).
struct Acting {
    const float *unit, *inverse, *low, *high, *least, *most;
    const int64_t* start;
    const float* table;
    int64_t rounding;
};

// Numbers of the values of all hidden layers, one after the other: the same, without digits.
struct Values {
    const float *unit, *inverse, *low, *high, *least, *most;
    const int64_t* rounding;  // by layer
};

struct State {
    float *values, *mean, *squares;
    int64_t n_steps;
    double decay, kept_squares, epsilon;
};

struct Jets {
    const float *x, *y;
    const int64_t* order;
    int64_t n_jets, batch;
};
}

namespace {

struct Layer {
    int64_t n_in, n_out, from, wide_in, wide_out, place;  // `place` of its values among those of all
    Array weight, turned, bias, slope, bias_slope, before, after, gradient;

    Layer(int64_t n_in, int64_t n_out, int64_t from, int64_t place)
        : n_in(n_in), n_out(n_out), from(from), wide_in(padded(n_in)), wide_out(padded(n_out)), place(place),
          weight(wide_out * wide_in), turned(wide_in * wide_out), bias(wide_out), slope(wide_in * wide_out),
          bias_slope(wide_out), before(TILE * wide_out), after(TILE * wide_out), gradient(TILE * wide_out) {}

    // Take weights and biases as they act, and forget the slopes of the last step.
    void take(const float* values, const Acting& acting) {
        for (int64_t i = 0; i < n_out * (n_in + 1); ++i) {
            const int64_t p = from + i;
            float whole = rounded(values[p] * acting.inverse[p], acting.rounding);
            whole = whole > acting.low[p] ? std::min(whole, acting.high[p]) : acting.low[p];  // NaN goes to the low end
            if (acting.start[p] >= 0) whole = acting.table[acting.start[p] + (int64_t)whole];
            const float used = whole * acting.unit[p];
            if (i >= n_out * n_in) bias[i - n_out * n_in] = used;
            else {
                weight[i / n_in * wide_in + i % n_in] = used;
                turned[i % n_in * wide_out + i / n_in] = used;
            }
        }
        std::fill(slope.begin(), slope.end(), 0.0f);
        std::fill(bias_slope.begin(), bias_slope.end(), 0.0f);
    }

    void sum(int64_t n, const float* arriving) {
        for (int64_t i = 0; i < n; ++i) std::copy(bias.begin(), bias.end(), before.begin() + i * wide_out);
        product(n, wide_in, wide_out, arriving, wide_in, 1, turned.data(), before.data(), true);
    }

    void quantise(int64_t n, const Values& kinds, int64_t rounding) {
        const float *unit = kinds.unit + place, *inverse = kinds.inverse + place, *low = kinds.low + place,
                    *high = kinds.high + place;
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < n_out; ++j) {
                const float value = std::max(before[i * wide_out + j], 0.0f);
                const float whole = rounded(value * inverse[j], rounding);
                after[i * wide_out + j] = std::min(std::max(whole, low[j]), high[j]) * unit[j];
            }
    }

    void pass(int64_t n, const Values& kinds) {
        const float *least = kinds.least + place, *most = kinds.most + place;
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < n_out; ++j) {
                const float value = before[i * wide_out + j];
                float& slope = gradient[i * wide_out + j];
                slope = (value >= least[j]) & (value <= most[j]) ? slope : 0.0f;
            }
    }

    void differentiate(int64_t n, const float* arriving, float* passed) {
        product(wide_in, n, wide_out, arriving, 1, wide_in, gradient.data(), slope.data(), true);
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < wide_out; ++j) bias_slope[j] += gradient[i * wide_out + j];
        if (passed) product(n, wide_out, wide_in, gradient.data(), wide_out, 1, weight.data(), passed, false);
    }

    float slope_of(int64_t i) const {
        return i >= n_out * n_in ? bias_slope[i - n_out * n_in] : slope[i % n_in * wide_out + i / n_in];
    }
};

// Add up the cross-entropy of a tile, and write its gradient: that of the mean over `n_all` jets.
double at(Layer& last, int64_t n, const float* wanted, int64_t n_all) {
    double loss = 0;
    for (int64_t i = 0; i < n; ++i) {
        const float *raw = &last.before[i * last.wide_out], *y = wanted + i * last.n_out;
        float* gradient = &last.gradient[i * last.wide_out];
        const float top = *std::max_element(raw, raw + last.n_out);
        float total = 0, hits = 0, share = 0;
        for (int64_t j = 0; j < last.n_out; ++j) {
            total += gradient[j] = std::exp(raw[j] - top);
            hits += y[j] * (raw[j] - top);
            share += y[j];
        }
        loss += share * std::log(total) - hits;
        for (int64_t j = 0; j < last.n_out; ++j) gradient[j] = (gradient[j] / total * share - y[j]) / n_all;
    }
    return loss;
}

void step(std::vector<Layer>& layers, const Acting& acting, State& state, double rate, double momentum) {
    const int64_t n = ++state.n_steps;
    const float kept = 1 - state.decay * rate, share = 1 - momentum, squared = state.kept_squares;
    const float scale = std::sqrt(1 - std::pow(state.kept_squares, n)), size = rate / (1 - std::pow(momentum, n));
    for (const Layer& layer : layers)
        for (int64_t i = 0; i < layer.n_out * (layer.n_in + 1); ++i) {
            const int64_t p = layer.from + i;
            float& value = state.values[p];
            const bool inside = (value >= acting.least[p]) & (value <= acting.most[p]);
            const float slope = inside ? layer.slope_of(i) : 0.0f;
            state.mean[p] += (slope - state.mean[p]) * share;
            state.squares[p] = state.squares[p] * squared + slope * slope * (1 - squared);
            value = value * kept - size * state.mean[p] / (std::sqrt(state.squares[p]) / scale + (float)state.epsilon);
        }
}

std::vector<Layer> chain(int64_t n_layers, const int64_t* sizes) {
    std::vector<Layer> layers;
    for (int64_t l = 0, from = 0, place = 0; l < n_layers; ++l) {
        layers.emplace_back(sizes[l], sizes[l + 1], from, place);
        from += sizes[l + 1] * (sizes[l] + 1);
        place += sizes[l + 1];
    }
    return layers;
}

void forward(std::vector<Layer>& layers, int64_t n, const float* x, const Values& kinds) {
    for (std::size_t l = 0; l < layers.size(); ++l) {
        layers[l].sum(n, l ? layers[l - 1].after.data() : x);
        if (l + 1 < layers.size()) layers[l].quantise(n, kinds, kinds.rounding[l]);
    }
}

}  // namespace

extern "C" double epoch(int64_t n_layers, const int64_t* sizes, const Acting* acting, const Values* kinds, State* state,
                        const Jets* jets, const double* rates) {
    std::vector<Layer> layers = chain(n_layers, sizes);
    Layer& last = layers.back();
    const int64_t n_features = sizes[0], wide = layers[0].wide_in;
    Array x(TILE * wide), y(TILE * last.n_out);
    double loss = 0;
    int64_t n_steps = 0;
    for (int64_t begin = 0; begin < jets->n_jets; begin += jets->batch, ++n_steps) {
        const int64_t size = std::min(jets->batch, jets->n_jets - begin);
        double own = 0;
        for (Layer& layer : layers) layer.take(state->values, *acting);
        for (int64_t tile = 0; tile < size; tile += TILE) {
            const int64_t n = std::min(TILE, size - tile);
            for (int64_t i = 0; i < n; ++i) {
                const int64_t jet = jets->order[begin + tile + i];
                std::copy_n(jets->x + jet * n_features, n_features, x.data() + i * wide);
                std::copy_n(jets->y + jet * last.n_out, last.n_out, y.data() + i * last.n_out);
            }
            forward(layers, n, x.data(), *kinds);
            own += at(last, n, y.data(), size);
            for (int64_t l = n_layers - 1; l >= 0; --l) {
                if (l + 1 < n_layers) layers[l].pass(n, *kinds);
                layers[l].differentiate(n, l ? layers[l - 1].after.data() : x.data(),
                                        l ? layers[l - 1].gradient.data() : nullptr);
            }
        }
        step(layers, *acting, *state, rates[2 * n_steps], rates[2 * n_steps + 1]);
        loss += own / size;
    }
    return loss / n_steps;
}

// Write what the chain puts out for jets, (n_jets, n_out).
extern "C" void outputs(int64_t n_layers, const int64_t* sizes, const Acting* acting, const Values* kinds,
                        const float* values, const float* x, int64_t n_jets, float* raw) {
    std::vector<Layer> layers = chain(n_layers, sizes);
    const Layer& last = layers.back();
    const int64_t n_features = sizes[0], wide = layers[0].wide_in;
    Array arriving(TILE * wide);
    for (Layer& layer : layers) layer.take(values, *acting);
    for (int64_t tile = 0; tile < n_jets; tile += TILE) {
        const int64_t n = std::min(TILE, n_jets - tile);
        for (int64_t i = 0; i < n; ++i) std::copy_n(x + (tile + i) * n_features, n_features, arriving.data() + i * wide);
        forward(layers, n, arriving.data(), *kinds);
        for (int64_t i = 0; i < n; ++i)
            std::copy_n(last.before.data() + i * last.wide_out, last.n_out, raw + (tile + i) * last.n_out);
    }
}
