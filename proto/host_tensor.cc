#include "proto/host_tensor.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/pages.h"

namespace weft {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 48;
constexpr size_t kAlignment = 64;

std::string ElementText(const HostTensor& tensor, int64_t index) {
  return WithType(tensor.dtype(), [&](auto zero) -> std::string {
    using T = decltype(zero);
    T value = static_cast<const T*>(tensor.data())[index];
    if constexpr (std::is_same_v<T, bool>) {
      return value ? "true" : "false";
    } else if constexpr (std::is_same_v<T, double>) {
      // Six digits, as for the other types: this is for looking at.
      return absl::StrCat(value);
    } else if constexpr (std::is_integral_v<T>) {
      return absl::StrCat(static_cast<int64_t>(value));
    } else {
      return absl::StrCat(static_cast<float>(value));
    }
  });
}

// Elements from `*index` on in brackets of the dimensions from `axis` on; stops where `limit`
// elements are written.
void AppendNested(const HostTensor& tensor, int64_t axis, int64_t limit, int64_t* index,
                  std::string* text) {
  if (axis == tensor.rank()) {
    *text += ElementText(tensor, (*index)++);
    return;
  }
  *text += '[';
  for (int64_t i = 0; i < tensor.shape()[axis]; ++i) {
    if (i > 0) *text += ", ";
    if (*index >= limit) {
      *text += "...";
      break;
    }
    AppendNested(tensor, axis + 1, limit, index, text);
  }
  *text += ']';
}

}  // namespace

absl::StatusOr<int64_t> CheckedNumElements(absl::Span<const int64_t> shape) {
  int64_t product = 1;
  bool overflow = false, empty = false;
  for (int64_t dim : shape) {
    if (dim < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected dimensions >= 0, got shape [", absl::StrJoin(shape, ", "), "]"));
    }
    empty |= dim == 0;
    overflow |= __builtin_mul_overflow(product, dim, &product);
  }
  if (empty) return 0;
  if (overflow) {
    return absl::OutOfRangeError(absl::StrCat("the number of elements of shape [",
                                              absl::StrJoin(shape, ", "), "] passes 64 bits"));
  }
  return product;
}

absl::StatusOr<HostTensor> HostTensor::Create(DataType dtype, absl::Span<const int64_t> shape) {
  absl::StatusOr<int64_t> count = CheckedNumElements(shape);
  if (!count.ok()) return count.status();
  if (dtype == DataType::kInvalid) return absl::InvalidArgumentError("a tensor needs a dtype");
  if (*count > kMaxBytes / SizeOf(dtype)) {
    return absl::OutOfRangeError(
        absl::StrCat("a tensor of shape [", absl::StrJoin(shape, ", "), "] passes 2^48 bytes"));
  }
  size_t bytes = static_cast<size_t>(*count) * SizeOf(dtype);
  const auto own = [&](void* data, std::shared_ptr<const void> owner) {
    HostTensor tensor = View(dtype, shape, data, std::move(owner));
    tensor.own_ = true;
    return tensor;
  };
  auto no_memory = [&] {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a tensor of ", bytes, " bytes"));
  };
  if (bytes >= 2 * kLargePage) {
    void* pages = MapZeroPages(bytes);
    if (pages == nullptr) return no_memory();
    return own(pages, std::shared_ptr<const void>(pages, [bytes](const void* p) {
                 UnmapPages(const_cast<void*>(p), bytes);
               }));
  }
  // One cache line more makes room to align.
  void* block = std::calloc(bytes + kAlignment, 1);
  if (block == nullptr) return no_memory();
  uintptr_t address = (reinterpret_cast<uintptr_t>(block) + kAlignment - 1) & ~(kAlignment - 1);
  return own(
      reinterpret_cast<void*>(address),
      std::shared_ptr<const void>(block, [](const void* p) { std::free(const_cast<void*>(p)); }));
}

HostTensor HostTensor::View(DataType dtype, absl::Span<const int64_t> shape, const void* data,
                            std::shared_ptr<const void> owner) {
  HostTensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_.assign(shape.begin(), shape.end());
  absl::StatusOr<int64_t> count = CheckedNumElements(shape);
  if (!count.ok()) __builtin_trap();
  tensor.num_elements_ = *count;
  tensor.data_ = data;
  tensor.owner_ = std::move(owner);
  return tensor;
}

HostTensor HostTensor::Clone() const {
  if (dtype_ == DataType::kInvalid) return {};
  absl::StatusOr<HostTensor> copy = Create(dtype_, shape_);
  if (!copy.ok()) __builtin_trap();
  if (size_bytes() > 0) std::memcpy(copy->mutable_data(), data_, size_bytes());
  return *std::move(copy);
}

HostTensor HostTensor::Reshaped(absl::Span<const int64_t> shape) const {
  HostTensor tensor = View(dtype_, shape, data_, owner_);
  if (tensor.num_elements_ != num_elements_) __builtin_trap();
  tensor.own_ = own_;
  return tensor;
}

std::string HostTensor::TypeString() const {
  return absl::StrCat(std::string(NameOf(dtype_)), "[", absl::StrJoin(shape_, ", "), "]");
}

std::string HostTensor::ToString(int64_t limit) const {
  std::string text = TypeString();
  if (dtype_ == DataType::kInvalid) return text;
  text += ' ';
  int64_t index = 0;
  // Without elements there may still be any number of empty rows: they are not listed.
  if (num_elements_ == 0) return text + "[]";
  AppendNested(*this, 0, limit, &index, &text);
  return text;
}

}  // namespace weft
