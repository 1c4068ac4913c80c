// A tensor in host memory.
#ifndef WEFT_PROTO_HOST_TENSOR_H_
#define WEFT_PROTO_HOST_TENSOR_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/dtype.h"

namespace weft {

// Row-major elements, contiguous, aligned to 64 bytes when this class allocated them. Copies share
// the elements (like std::shared_ptr): to have others, Clone(). Reading one tensor from several
// threads is safe; writing is the owner's affair.
class HostTensor {
 public:
  HostTensor() = default;  // dtype kInvalid, no elements
  HostTensor(const HostTensor&) = default;
  HostTensor& operator=(const HostTensor&) = default;
  // What is moved from is as a new one.
  HostTensor(HostTensor&& other) noexcept
      : dtype_(std::exchange(other.dtype_, DataType::kInvalid)),
        shape_(std::exchange(other.shape_, {})),
        num_elements_(std::exchange(other.num_elements_, 0)),
        data_(std::exchange(other.data_, nullptr)),
        owner_(std::move(other.owner_)),
        own_(std::exchange(other.own_, false)) {}
  HostTensor& operator=(HostTensor&& other) noexcept {
    HostTensor moved(std::move(other));
    std::swap(dtype_, moved.dtype_);
    shape_.swap(moved.shape_);
    std::swap(num_elements_, moved.num_elements_);
    std::swap(data_, moved.data_);
    owner_.swap(moved.owner_);
    std::swap(own_, moved.own_);
    return *this;
  }
  ~HostTensor() = default;
  // Zeros. Error: InvalidArgument where a dimension is negative, OutOfRange where the size in bytes
  // passes 2^48, ResourceExhausted where memory is short.
  static absl::StatusOr<HostTensor> Create(DataType dtype, absl::Span<const int64_t> shape);
  // Elements that belong to someone else; `owner`, if given, is kept until the last copy is gone (a
  // mapped file).
  static HostTensor View(DataType dtype, absl::Span<const int64_t> shape, const void* data,
                         std::shared_ptr<const void> owner = nullptr);
  // For tests and small constants: aborts where sizes disagree, as that is a bug of the caller.
  template <typename T>
  static HostTensor Of(absl::Span<const int64_t> shape, absl::Span<const T> values);
  template <typename T>
  static HostTensor Scalar(T value) {
    return Of<T>({}, {value});
  }

  DataType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t num_elements() const { return num_elements_; }
  size_t size_bytes() const { return static_cast<size_t>(num_elements_) * SizeOf(dtype_); }

  // Whether Create allocated the elements (for this tensor or one that it is a copy of): a view's
  // may lie in a file that is mapped for reading.
  bool is_own() const { return own_; }

  const void* data() const { return data_; }
  void* mutable_data() { return const_cast<void*>(data_); }
  // T must be the C++ type of dtype() (checked by an assertion).
  template <typename T>
  absl::Span<const T> values() const;
  template <typename T>
  absl::Span<T> mutable_values();

  // Makes the tensor a view of other elements of the same type; allocates nothing.
  void PointTo(const void* data) {
    data_ = data;
    owner_.reset();
    own_ = false;
  }

  HostTensor Clone() const;
  // The same elements under another shape of the same size.
  HostTensor Reshaped(absl::Span<const int64_t> shape) const;
  // "f32[2, 3]".
  std::string TypeString() const;
  // The type and up to `limit` elements in nested brackets.
  std::string ToString(int64_t limit = 32) const;

 private:
  DataType dtype_ = DataType::kInvalid;
  std::vector<int64_t> shape_;
  int64_t num_elements_ = 0;
  const void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
  bool own_ = false;
};

// The product of the dimensions. Error: InvalidArgument where one is negative, OutOfRange on
// overflow.
absl::StatusOr<int64_t> CheckedNumElements(absl::Span<const int64_t> shape);

template <typename T>
absl::Span<const T> HostTensor::values() const {
  if (DataTypeOfT<T>::value != dtype_) __builtin_trap();
  return absl::Span<const T>(static_cast<const T*>(data_), static_cast<size_t>(num_elements_));
}
template <typename T>
absl::Span<T> HostTensor::mutable_values() {
  if (DataTypeOfT<T>::value != dtype_) __builtin_trap();
  return absl::Span<T>(static_cast<T*>(const_cast<void*>(data_)),
                       static_cast<size_t>(num_elements_));
}
template <typename T>
HostTensor HostTensor::Of(absl::Span<const int64_t> shape, absl::Span<const T> values) {
  absl::StatusOr<HostTensor> tensor = Create(DataTypeOfT<T>::value, shape);
  if (!tensor.ok() || tensor->num_elements() != static_cast<int64_t>(values.size())) {
    __builtin_trap();
  }
  std::copy(values.begin(), values.end(), tensor->template mutable_values<T>().begin());
  return *std::move(tensor);
}

}  // namespace weft

#endif  // WEFT_PROTO_HOST_TENSOR_H_
