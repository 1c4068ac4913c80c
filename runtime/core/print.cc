// Tensors as text on stderr.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/core/half.h"
#include "runtime/core/internal.h"

namespace {

// Collects text and writes it in few pieces, so that the lines of several threads seldom mix.
class Writer {
 public:
  ~Writer() { Flush(); }
  __attribute__((format(printf, 2, 3))) void Format(const char* format, ...) {
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    Add(text);
  }
  void Add(const char* text) {
    for (; *text != '\0'; ++text) {
      if (size_ == sizeof(text_)) Flush();
      text_[size_++] = *text;
    }
  }

 private:
  void Flush() {
    for (size_t at = 0; at < size_;) {
      const ssize_t written = write(STDERR_FILENO, text_ + at, size_ - at);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) break;  // nobody is there to be told
      at += static_cast<size_t>(written);
    }
    size_ = 0;
  }
  char text_[1024];
  size_t size_ = 0;
};

const char* TypeName(int32_t dtype) {
  switch (dtype) {
    case 1:
      return "bool";
    case 2:
      return "i8";
    case 3:
      return "u8";
    case 4:
      return "i32";
    case 5:
      return "i64";
    case 6:
      return "f16";
    case 7:
      return "bf16";
    case 8:
      return "f32";
    default:
      return "f64";
  }
}

template <typename T>
T Load(const void* element) {
  T value;
  memcpy(&value, element, sizeof(T));
  return value;
}

// Elements, which may lie on a device, one after the other; read in pieces.
class Elements {
 public:
  Elements(const WeftRunArgs& args, const void* data, int32_t dtype, int64_t count)
      : args_(args),
        next_(static_cast<const char*>(data)),
        size_(weft::core::ElementBytes(dtype)),
        left_(count * size_) {}
  // Null where the device failed.
  const void* Next() {
    if (at_ == end_) {
      end_ = left_ < static_cast<int64_t>(sizeof(piece_)) ? left_ : sizeof(piece_);
      at_ = 0;
      if (weft::core::ReadBytes(args_, piece_, next_, end_) != WEFT_OK) return nullptr;
      next_ += end_;
      left_ -= end_;
    }
    at_ += size_;
    return piece_ + at_ - size_;
  }

 private:
  const WeftRunArgs& args_;
  const char* next_;
  const int64_t size_;
  int64_t left_, at_ = 0, end_ = 0;  // bytes
  char piece_[512];
};

void WriteElement(Writer& writer, int32_t dtype, const void* element) {
  switch (dtype) {
    case 1:
      return writer.Add(Load<uint8_t>(element) != 0 ? "true" : "false");
    case 2:
      return writer.Format("%d", Load<int8_t>(element));
    case 3:
      return writer.Format("%d", Load<uint8_t>(element));
    case 4:
      return writer.Format("%d", Load<int32_t>(element));
    case 5:
      return writer.Format("%lld", static_cast<long long>(Load<int64_t>(element)));
    case 6:
      return writer.Format("%g", static_cast<double>(WeftFromHalf(Load<uint16_t>(element))));
    case 7:
      return writer.Format("%g", static_cast<double>(WeftFromBfloat16(Load<uint16_t>(element))));
    case 8:
      return writer.Format("%.9g", static_cast<double>(Load<float>(element)));
    default:
      return writer.Format("%.17g", Load<double>(element));
  }
}

}  // namespace

namespace weft::core {

WEFT_CORE_WEAK int Print(const WeftRunArgs& args, const WeftStep& step, const int64_t* shape,
                         const void* data) {
  Writer writer;
  if (step.message[0] != '\0') {
    writer.Add(step.message);
    writer.Add(": ");
  }
  writer.Add(TypeName(step.dtype));
  writer.Add("[");
  bool empty = false;
  for (uint32_t i = 0; i < step.num_sizes; ++i) {
    writer.Format("%s%lld", i == 0 ? "" : ", ", static_cast<long long>(shape[i]));
    empty |= shape[i] == 0;
  }
  // Only without elements may the sizes' product pass 64 bits.
  int64_t elements = empty ? 0 : 1;
  for (uint32_t i = 0; !empty && i < step.num_sizes; ++i) elements *= shape[i];
  writer.Add("]");
  for (uint32_t i = 0; elements > 0 && i < step.num_sizes; ++i) writer.Add(i == 0 ? " [" : "[");
  if (step.num_sizes == 0) writer.Add(" ");
  const int64_t shown = elements < step.limit ? elements : step.limit;
  Elements source(args, data, step.dtype, shown);
  for (int64_t index = 0; index < shown; ++index) {
    // Brackets close and open at each dimension that starts anew here.
    int brackets = 0;
    int64_t row = 1;
    for (uint32_t i = step.num_sizes; index > 0 && i-- > 1;) {
      row *= shape[i];
      if (index % row != 0) break;
      ++brackets;
    }
    for (int i = 0; i < brackets; ++i) writer.Add("]");
    if (index > 0) writer.Add(", ");
    for (int i = 0; i < brackets; ++i) writer.Add("[");
    const void* element = source.Next();
    if (element == nullptr) return WEFT_ERROR_DEVICE;
    WriteElement(writer, step.dtype, element);
  }
  if (shown < elements) writer.Add(shown > 0 ? ", ..." : "...");
  for (uint32_t i = 0; elements > 0 && i < step.num_sizes; ++i) writer.Add("]");
  writer.Add("\n");
  return WEFT_OK;
}

}  // namespace weft::core
