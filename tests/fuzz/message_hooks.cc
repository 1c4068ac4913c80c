// libFuzzer's hooks for targets whose inputs are messages, or containers of one (mutate.h).
#include "tests/fuzz/mutate.h"

namespace {

std::string_view TextOf(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  const std::string changed =
      weft::fuzz::MutateInput(TextOf(data, size), weft::fuzz::kMessageSection, seed);
  return weft::fuzz::Store(changed, data, max_size);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t max_out, unsigned seed) {
  const std::string crossed =
      weft::fuzz::CrossMessages(TextOf(data1, size1), TextOf(data2, size2), seed);
  return weft::fuzz::Store(crossed, out, max_out);
}
