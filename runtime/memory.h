// Memory from the operating system: arenas, and code to execute.
#ifndef WEFT_RUNTIME_MEMORY_H_
#define WEFT_RUNTIME_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/container.h"

namespace weft {

// A range of whole pages, unmapped at the end. Movable.
class Pages {
 public:
  Pages() = default;
  Pages(Pages&& other) noexcept { *this = std::move(other); }
  Pages& operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Pages();

  // Zeros, writable; large pages where they help. ResourceExhausted where memory is short.
  static absl::StatusOr<Pages> Allocate(size_t size);
  // A section of a package as code: readable and executable, never writable at the same time.
  // Mapped from the file where it starts on a page of it, otherwise copied. Whoever opened the
  // package has compared its checksum.
  static absl::StatusOr<Pages> MapCode(const Container& container, std::string_view section);

  void* data() const { return data_; }
  size_t size() const { return size_; }
  // Gives the range away; Free ends it.
  void* Release() { return std::exchange(data_, nullptr); }
  static void Free(void* data, size_t size);

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_MEMORY_H_
