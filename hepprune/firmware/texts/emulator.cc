// @name for an emulator; written by hepprune.
//
// prepare_input takes @n_raw raw features, inputs end to end: float *, const float * or std::vector<float>@typed_in.
// read_result fills @n_out values, outputs end to end: double *, float *@typed_out.
#include <algorithm>
#include <any>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "emulator.h"
#include "firmware/@top.h"
#include "scales.h"

namespace {
class Model final : public hls4mlEmulator::Model {
public:
  void prepare_input(std::any input) override {
    if (auto raw = std::any_cast<const float *>(&input)) return scale(*raw);
    if (auto raw = std::any_cast<float *>(&input)) return scale(*raw);
    if (auto raw = std::any_cast<std::vector<float>>(&input)) {
      if (raw->size() != @n_raw)
        throw std::invalid_argument("@name takes @n_raw raw features, not " + std::to_string(raw->size()));
      return scale(raw->data());
    }
@take    throw std::invalid_argument("@name takes raw features as float *, const float * or std::vector<float>");
  }

  void predict() override { @space::@top(@arguments); }

  void read_result(std::any result) override {
    if (auto out = std::any_cast<double *>(&result)) return copy(*out);
    if (auto out = std::any_cast<float *>(&result)) return copy(*out);
@give    throw std::invalid_argument("@name gives its values to a double * or a float *");
  }

private:
@members
  static void finite(int bad) {
    if (bad) throw std::invalid_argument("@name: raw feature " + std::to_string(bad - 1) + " is not finite");
  }

  void scale(const float *raw) {
@scale  }

  template <class T> void copy(T *out) const {
@copy  }
};
}  // namespace

#define VISIBLE extern "C" __attribute__((visibility("default")))
VISIBLE hls4mlEmulator::Model *create_model() { return new Model; }
VISIBLE void destroy_model(hls4mlEmulator::Model *model) { delete model; }
