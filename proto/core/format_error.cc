#include "proto/core/format_error.h"

#include <stdio.h>

namespace weft {

size_t Describe(const FormatError& error, char* text, size_t capacity) {
  char number[24] = "";
  if (error.unit != nullptr) {
    snprintf(number, sizeof(number), "%llu", static_cast<unsigned long long>(error.number));
  }
  const bool named = error.tensor.data() != nullptr;
  // Enough of what may be as long as a file.
  const auto size = [](std::string_view part) {
    return static_cast<int>(part.size() < 1000 ? part.size() : 1000);
  };
  return static_cast<size_t>(
      snprintf(text, capacity, "%s%.*s%s%s%.*s%s%s%s", named ? "tensor '" : "", size(error.tensor),
               error.tensor.data(), named ? "' " : "", error.before, size(error.value),
               error.value.data(), error.after, number, error.unit != nullptr ? error.unit : ""));
}

int64_t BytesOfShape(DataType dtype, const int64_t* shape, size_t rank) {
  int64_t bytes = SizeOf(dtype);
  bool overflow = false;
  for (size_t i = 0; i < rank; ++i) {
    if (shape[i] == 0) return 0;
    overflow |= __builtin_mul_overflow(bytes, shape[i], &bytes);
  }
  return overflow ? -1 : bytes;
}

bool AreBools(std::string_view bytes) {
  for (const char c : bytes) {
    if (static_cast<unsigned char>(c) > 1) return false;
  }
  return true;
}

}  // namespace weft
