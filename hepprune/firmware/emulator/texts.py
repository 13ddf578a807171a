"""The files of an emulator that are the same for every network, but for what stands behind an `@`."""

EMULATOR = """\
// The interface of hls4mlEmulatorExtras (cms-hls4ml); a copy of that header may take the place of this one.
#ifndef HLS4ML_EMULATOR_H_
#define HLS4ML_EMULATOR_H_

#include <any>

namespace hls4mlEmulator {
class Model {
public:
  virtual void prepare_input(std::any input) = 0;
  virtual void predict() = 0;
  virtual void read_result(std::any result) = 0;
  virtual ~Model() = default;
};
typedef Model *create_model_cls();
typedef void destroy_model_cls(Model *);
}  // namespace hls4mlEmulator

#endif
"""

MODEL = """\
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
"""

CHECK = """\
// Loads models beside one another, gives each the raw features of its test vectors, and counts values that differ.
// Usage: ./check-models MODEL.so VECTORS [MODEL.so VECTORS ...]; written by hepprune.
#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <vector>

#include "emulator.h"

struct Loaded {
  hls4mlEmulator::Model *model;
  hls4mlEmulator::destroy_model_cls *destroy;
};

static Loaded load(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    std::cerr << dlerror() << std::endl;
    std::exit(2);
  }
  auto create = reinterpret_cast<hls4mlEmulator::create_model_cls *>(dlsym(library, "create_model"));
  auto destroy = reinterpret_cast<hls4mlEmulator::destroy_model_cls *>(dlsym(library, "destroy_model"));
  return {create(), destroy};
}

int main(int argc, char **argv) {
  std::vector<Loaded> models;
  long wrong = 0;
  for (int i = 1; i + 1 < argc; i += 2) models.push_back(load(argv[i]));
  for (std::size_t m = 0; m < models.size(); ++m) {
    std::ifstream file(argv[2 * m + 2]);
    long n_jets = 0, n_raw = 0, n_out = 0, differ = 0;
    file >> n_jets >> n_raw >> n_out;
    std::vector<float> raw(n_raw);
    std::vector<double> expected(n_out), got(n_out);
    for (long jet = 0; jet < n_jets; ++jet) {
      for (auto &x : raw) file >> x;
      for (auto &y : expected) file >> y;
      models[m].model->prepare_input(raw);
      models[m].model->predict();
      models[m].model->read_result(got.data());
      for (long i = 0; i < n_out; ++i) differ += got[i] != expected[i];
    }
    if (!file || !n_jets) {
      std::cerr << argv[2 * m + 2] << " is cut short" << std::endl;
      return 2;
    }
    std::cout << argv[2 * m + 1] << ": " << n_jets << " jets, " << differ << " values differ" << std::endl;
    wrong += differ;
  }
  for (auto &each : models) each.destroy(each.model);
  return wrong != 0;
}
"""

MAKEFILE = """\
# `make` builds @name.so, `make check` holds it against its test vectors; AP_TYPES may be any copy of the ap_types.
CXX ?= g++
AP_TYPES ?= firmware/ap_types
CXXFLAGS += -O2 -std=c++17 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -ffp-contract=off
CXXFLAGS += $(shell $(CXX) -fno-gnu-unique -E -x c++ /dev/null >/dev/null 2>&1 && echo -fno-gnu-unique)

all: @name.so

@name.so: @name.cc firmware/@top.cpp emulator.h scales.h
	$(CXX) $(CXXFLAGS) -I. -I$(AP_TYPES) -shared @name.cc firmware/@top.cpp -o $@

check: check-models.cc emulator.h @name.so
	$(CXX) -O1 -std=c++17 -I. check-models.cc -o check-models -ldl
	./check-models ./@name.so vectors.txt

clean:
	rm -f @name.so check-models

.PHONY: all check clean
"""
