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
