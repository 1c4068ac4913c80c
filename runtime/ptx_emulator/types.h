#ifndef WEFT_RUNTIME_PTX_EMULATOR_TYPES_H_
#define WEFT_RUNTIME_PTX_EMULATOR_TYPES_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace weft::ptx {

inline constexpr int kWarpSize = 32;
inline constexpr uint32_t kAllLanes = 0xffffffffu;

// The fundamental and packed types of PTX. A register or variable is declared with one; an
// instruction names one to say how bits are read.
enum class Type : uint8_t {
  kNone,
  kPred,
  kB8,
  kB16,
  kB32,
  kB64,
  kB128,
  kU8,
  kU16,
  kU32,
  kU64,
  kS8,
  kS16,
  kS32,
  kS64,
  kU16x2,
  kS16x2,
  kF16,
  kF16x2,
  kBf16,
  kBf16x2,
  kTf32,
  kF32,
  kF64,
  kE4m3,
  kE5m2,
  kE4m3x2,
  kE5m2x2,
};

// "f32" to Type::kF32; nothing for what is not a type.
std::optional<Type> TypeFromName(std::string_view name);
std::string_view TypeName(Type type);

// Bytes of a value in memory. A predicate has none: it is a bit per lane.
int SizeOf(Type type);

bool IsSigned(Type type);
bool IsInteger(Type type);  // u and s
bool IsBits(Type type);     // b
bool IsFloat(Type type);    // any floating-point type, packed ones too

enum class Space : uint8_t { kGeneric, kRegister, kGlobal, kShared, kLocal, kParam, kConst };

std::string_view SpaceName(Space space);

// Where each space lies among generic addresses. Global and constant memory are reached by the
// address itself; shared, local and parameter memory by their own address plus the start of their
// window.
inline constexpr uint64_t kWindowBytes = uint64_t{1} << 32;
inline constexpr uint64_t kSharedWindow = uint64_t{0x7100} << 32;
inline constexpr uint64_t kLocalWindow = uint64_t{0x7200} << 32;
inline constexpr uint64_t kParamWindow = uint64_t{0x7300} << 32;

// The first byte of shared memory that a kernel may use: below it a null pointer is caught, and on
// sm_90 the system keeps as much for itself.
inline constexpr uint32_t kSharedStart = 1024;
inline constexpr uint32_t kLocalStart = 64;

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t Count() const { return uint64_t{x} * y * z; }
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_TYPES_H_
