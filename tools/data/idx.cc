#include "tools/data/idx.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"

namespace weft {
namespace {

constexpr int kMaxRank = 8;

struct Element {
  DataType stored;
  int bytes;
};

std::optional<Element> ElementOf(unsigned char code) {
  switch (code) {
    case 0x08:
      return Element{DataType::kU8, 1};
    case 0x09:
      return Element{DataType::kI8, 1};
    case 0x0B:
      return Element{DataType::kI32, 2};
    case 0x0C:
      return Element{DataType::kI32, 4};
    case 0x0D:
      return Element{DataType::kF32, 4};
    case 0x0E:
      return Element{DataType::kF64, 8};
  }
  return std::nullopt;
}

template <typename T>
T BigEndian(const char* p) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value << 8 | static_cast<unsigned char>(p[i]));
  }
  return value;
}

template <typename Stored, typename Bits, typename Value>
void Swap(const char* from, int64_t count, Stored* to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = std::bit_cast<Value>(BigEndian<Bits>(from + i * sizeof(Bits)));
  }
}

}  // namespace

bool LooksLikeIdx(std::string_view bytes) {
  return bytes.size() >= 8 && bytes[0] == 0 && bytes[1] == 0 && ElementOf(bytes[2]).has_value() &&
         bytes[3] >= 1 && bytes[3] <= kMaxRank;
}

absl::StatusOr<HostTensor> ReadIdx(std::string_view bytes) {
  if (!LooksLikeIdx(bytes)) {
    return absl::InvalidArgumentError(
        "expected an idx header: two zero bytes, a type, 1 to 8 dimensions");
  }
  const Element element = *ElementOf(bytes[2]);
  const size_t rank = static_cast<size_t>(bytes[3]);
  const size_t header = 4 + 4 * rank;
  if (bytes.size() < header) return absl::InvalidArgumentError("the idx header is cut short");
  std::vector<int64_t> shape;
  for (size_t i = 0; i < rank; ++i) shape.push_back(BigEndian<uint32_t>(&bytes[4 + 4 * i]));
  absl::StatusOr<int64_t> count = CheckedNumElements(shape);
  if (!count.ok()) return count.status();
  if (static_cast<uint64_t>(*count) != (bytes.size() - header) / element.bytes ||
      (bytes.size() - header) % element.bytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat("the idx header promises ", *count,
                                                   " elements of ", element.bytes, " bytes, but ",
                                                   bytes.size() - header, " bytes follow"));
  }
  absl::StatusOr<HostTensor> tensor = HostTensor::Create(element.stored, shape);
  if (!tensor.ok()) return tensor.status();
  const char* from = bytes.data() + header;
  switch (bytes[2]) {
    case 0x0B:
      Swap<int32_t, uint16_t, int16_t>(from, *count, tensor->mutable_values<int32_t>().data());
      break;
    case 0x0C:
      Swap<int32_t, uint32_t, int32_t>(from, *count, tensor->mutable_values<int32_t>().data());
      break;
    case 0x0D:
      Swap<float, uint32_t, float>(from, *count, tensor->mutable_values<float>().data());
      break;
    case 0x0E:
      Swap<double, uint64_t, double>(from, *count, tensor->mutable_values<double>().data());
      break;
    default:
      std::memcpy(tensor->mutable_data(), from, bytes.size() - header);
  }
  return tensor;
}

}  // namespace weft
