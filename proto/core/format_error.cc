#include "proto/core/format_error.h"

#include <stdio.h>

#include "proto/core/printable.h"

namespace weft {
namespace {

// Of what may be as long as a file.
constexpr size_t kMaxShown = 1000;

// Text into memory of a limited size, as snprintf has it.
class Text {
 public:
  Text(char* text, size_t capacity) : text_(text), capacity_(capacity) {}

  void Append(std::string_view part) {
    for (const char c : part) {
      if (size_ + 1 < capacity_) text_[size_] = c;
      ++size_;
    }
  }
  void AppendNumber(uint64_t value) {
    char digits[24];
    snprintf(digits, sizeof(digits), "%llu", static_cast<unsigned long long>(value));
    Append(digits);
  }
  // From a file, where anything may stand.
  void AppendRead(std::string_view part) {
    size_t size = part.size() < kMaxShown ? part.size() : kMaxShown;
    // Not within a character.
    while (size < part.size() && size > 0 && IsContinuation(part[size])) --size;
    AppendPrintable(std::string_view(part.data(), size),
                    [this](std::string_view shown) { Append(shown); });
  }
  // Returns the size without limit.
  size_t End() {
    if (capacity_ > 0) text_[size_ < capacity_ ? size_ : capacity_ - 1] = '\0';
    return size_;
  }

 private:
  static bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

  char* text_;
  size_t capacity_, size_ = 0;
};

}  // namespace

size_t Describe(const FormatError& error, char* text, size_t capacity) {
  Text sentence(text, capacity);
  if (error.tensor.data() != nullptr) {
    sentence.Append("tensor '");
    sentence.AppendRead(error.tensor);
    sentence.Append("' ");
  }
  sentence.Append(error.before);
  sentence.AppendRead(error.value);
  sentence.Append(error.after);
  if (error.unit != nullptr) {
    sentence.AppendNumber(error.number);
    sentence.Append(error.unit);
  }
  return sentence.End();
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
