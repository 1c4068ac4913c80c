#include "runtime/ptx_emulator/types.h"

#include <array>

namespace weft::ptx {
namespace {

struct TypeRow {
  std::string_view name;
  int size;
};

// In the order of Type.
constexpr std::array<TypeRow, 28> kTypes = {{
    {"none", 0},  {"pred", 0}, {"b8", 1},     {"b16", 2},    {"b32", 4},   {"b64", 8},
    {"b128", 16}, {"u8", 1},   {"u16", 2},    {"u32", 4},    {"u64", 8},   {"s8", 1},
    {"s16", 2},   {"s32", 4},  {"s64", 8},    {"u16x2", 4},  {"s16x2", 4}, {"f16", 2},
    {"f16x2", 4}, {"bf16", 2}, {"bf16x2", 4}, {"tf32", 4},   {"f32", 4},   {"f64", 8},
    {"e4m3", 1},  {"e5m2", 1}, {"e4m3x2", 2}, {"e5m2x2", 2},
}};
static_assert(kTypes.size() == static_cast<size_t>(Type::kE5m2x2) + 1);

}  // namespace

std::optional<Type> TypeFromName(std::string_view name) {
  for (size_t i = 1; i < kTypes.size(); ++i) {
    if (kTypes[i].name == name) return static_cast<Type>(i);
  }
  return std::nullopt;
}

std::string_view TypeName(Type type) { return kTypes[static_cast<size_t>(type)].name; }

int SizeOf(Type type) { return kTypes[static_cast<size_t>(type)].size; }

bool IsSigned(Type type) { return type >= Type::kS8 && type <= Type::kS64; }

bool IsInteger(Type type) { return type >= Type::kU8 && type <= Type::kS64; }

bool IsBits(Type type) { return type >= Type::kB8 && type <= Type::kB128; }

bool IsFloat(Type type) { return type >= Type::kF16; }

std::string_view SpaceName(Space space) {
  switch (space) {
    case Space::kGeneric:
      return "generic";
    case Space::kRegister:
      return "register";
    case Space::kGlobal:
      return "global";
    case Space::kShared:
      return "shared";
    case Space::kLocal:
      return "local";
    case Space::kParam:
      return "param";
    case Space::kConst:
      return "const";
  }
  return "unknown";
}

}  // namespace weft::ptx
