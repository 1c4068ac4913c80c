// Element types and their values in memory.
#ifndef WEFT_PROTO_DTYPE_H_
#define WEFT_PROTO_DTYPE_H_

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

namespace weft {

// Numbers are those of the wire enum weft.DType in tensor.proto; this header stands alone so that
// programs that only run packages need not link the protos of graphs.
enum class DataType : int32_t {
  kInvalid = 0,
  kBool = 1,
  kI8 = 2,
  kU8 = 3,
  kI32 = 4,
  kI64 = 5,
  kF16 = 6,
  kBF16 = 7,
  kF32 = 8,
  kF64 = 9,
};

inline constexpr int kNumDataTypes = 10;

// Whether `number` (from a file) is a valid type other than kInvalid.
constexpr bool IsDataType(int64_t number) { return number >= 1 && number < kNumDataTypes; }

// Bytes of one element; 0 for kInvalid.
constexpr int SizeOf(DataType type) {
  constexpr int kSizes[kNumDataTypes] = {0, 1, 1, 1, 4, 8, 2, 2, 4, 8};
  return kSizes[static_cast<int>(type)];
}

constexpr bool IsFloat(DataType type) { return type >= DataType::kF16; }
constexpr bool IsInteger(DataType type) { return type >= DataType::kI8 && type <= DataType::kI64; }

// "f32", "bool", ...; "invalid" for kInvalid.
constexpr std::string_view NameOf(DataType type) {
  constexpr std::string_view kNames[kNumDataTypes] = {"invalid", "bool", "i8",   "u8",  "i32",
                                                      "i64",     "f16",  "bf16", "f32", "f64"};
  return kNames[static_cast<int>(type)];
}

// The type of that name, if there is one.
constexpr std::optional<DataType> DataTypeOf(std::string_view name) {
  for (int i = 1; i < kNumDataTypes; ++i) {
    if (NameOf(static_cast<DataType>(i)) == name) return static_cast<DataType>(i);
  }
  return std::nullopt;
}

// IEEE half precision; the compiler's own type does the arithmetic of conversion (round to nearest
// even).
using F16 = _Float16;

// The upper half of an f32.
struct BF16 {
  uint16_t bits = 0;

  BF16() = default;
  // Rounds to nearest even; NaN stays NaN.
  explicit constexpr BF16(float value) {
    uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((u >> 16) | 0x40u);
    } else {
      bits = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
  constexpr operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

template <typename T>
struct DataTypeOfT;
template <>
struct DataTypeOfT<bool> {
  static constexpr DataType value = DataType::kBool;
};
template <>
struct DataTypeOfT<int8_t> {
  static constexpr DataType value = DataType::kI8;
};
template <>
struct DataTypeOfT<uint8_t> {
  static constexpr DataType value = DataType::kU8;
};
template <>
struct DataTypeOfT<int32_t> {
  static constexpr DataType value = DataType::kI32;
};
template <>
struct DataTypeOfT<int64_t> {
  static constexpr DataType value = DataType::kI64;
};
template <>
struct DataTypeOfT<F16> {
  static constexpr DataType value = DataType::kF16;
};
template <>
struct DataTypeOfT<BF16> {
  static constexpr DataType value = DataType::kBF16;
};
template <>
struct DataTypeOfT<float> {
  static constexpr DataType value = DataType::kF32;
};
template <>
struct DataTypeOfT<double> {
  static constexpr DataType value = DataType::kF64;
};

// Calls f(T{}) with the C++ type of `type`; f must return the same type for all. `type` must be
// valid.
template <typename F>
decltype(auto) WithType(DataType type, F&& f) {
  switch (type) {
    case DataType::kBool:
      return f(bool{});
    case DataType::kI8:
      return f(int8_t{});
    case DataType::kU8:
      return f(uint8_t{});
    case DataType::kI32:
      return f(int32_t{});
    case DataType::kI64:
      return f(int64_t{});
    case DataType::kF16:
      return f(F16{});
    case DataType::kBF16:
      return f(BF16{});
    case DataType::kF64:
      return f(double{});
    case DataType::kF32:
    case DataType::kInvalid:
      break;
  }
  return f(float{});
}

}  // namespace weft

#endif  // WEFT_PROTO_DTYPE_H_
