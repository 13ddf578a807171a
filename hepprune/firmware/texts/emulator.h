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
