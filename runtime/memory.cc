#include "runtime/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/pages.h"

namespace weft {

Pages::~Pages() {
  if (data_ != nullptr) Free(data_, size_);
}

void Pages::Free(void* data, size_t size) { munmap(data, size); }

absl::StatusOr<Pages> Pages::Allocate(size_t size) {
  Pages pages;
  if (size == 0) return pages;
  void* data = MapZeroPages(size);
  if (data == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", size, " bytes: ", strerror(errno)));
  }
  pages.data_ = data;
  pages.size_ = size;
  return pages;
}

absl::StatusOr<Pages> Pages::MapCode(const Container& container, std::string_view section) {
  absl::StatusOr<std::string_view> code = container.Section(section, /*verify=*/false);
  if (!code.ok()) return code.status();
  absl::StatusOr<uint64_t> offset = container.Offset(section);
  if (!offset.ok()) return offset.status();
  Pages pages;
  if (code->empty()) return pages;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const int fd = container.bytes()->fd();
  if (fd >= 0 && *offset % page == 0) {
    void* data = mmap(nullptr, code->size(), PROT_READ | PROT_EXEC, MAP_PRIVATE, fd,
                      static_cast<off_t>(*offset));
    // Where the file's file system forbids execution, a copy in memory may still work.
    if (data != MAP_FAILED) {
      pages.data_ = data;
      pages.size_ = code->size();
      return pages;
    }
  }
  absl::StatusOr<Pages> copy = Allocate(code->size());
  if (!copy.ok()) return copy.status();
  memcpy(copy->data(), code->data(), code->size());
  if (mprotect(copy->data(), copy->size(), PROT_READ | PROT_EXEC) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(container.bytes()->path(),
                     ": this system does not let code in memory be executed: ", strerror(errno)));
  }
  return copy;
}

}  // namespace weft
