#ifndef WEFT_RUNTIME_PTX_EMULATOR_LANES_H_
#define WEFT_RUNTIME_PTX_EMULATOR_LANES_H_

#include <tuple>
#include <type_traits>
#include <utility>

#include "runtime/ptx_emulator/decode.h"
#include "runtime/ptx_emulator/warp.h"

// Functions of one lane's values made to functions of warps, and chosen by type.
namespace weft::ptx {

template <auto F>
struct MapFunction;

template <class R, class... A, R (*F)(A...)>
struct MapFunction<F> {
  static void Run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    Apply(warp, instruction, mask, std::index_sequence_for<A...>());
  }

 private:
  template <size_t... I>
  static void Apply(Warp& warp, const Instruction& instruction, uint32_t mask,
                    std::index_sequence<I...>) {
    const std::tuple<const A*...> sources(warp.Lanes<A>(instruction.sources[I])...);
    R results[kWarpSize];
    for (int l = 0; l < kWarpSize; ++l) results[l] = F(std::get<I>(sources)[l]...);
    warp.Store(instruction.results[0], results, mask);
    warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
  }
};

// The Execute of a function of values: Map<&Add<float>>.
template <auto F>
inline constexpr Execute Map = &MapFunction<F>::Run;

// f(T()) with the C++ type of `type`; null for a type that the family has not.
template <class F>
Execute ForIntegers(Type type, F f) {
  switch (type) {
    case Type::kU16:
      return f(uint16_t());
    case Type::kS16:
      return f(int16_t());
    case Type::kU32:
      return f(uint32_t());
    case Type::kS32:
      return f(int32_t());
    case Type::kU64:
      return f(uint64_t());
    case Type::kS64:
      return f(int64_t());
    default:
      return nullptr;
  }
}

// Unsigned types of the same size; `least`: the smallest number of bytes that the instruction
// knows.
template <class F>
Execute ForBits(int bytes, int least, F f) {
  if (bytes < least) return nullptr;
  switch (bytes) {
    case 1:
      return f(uint8_t());
    case 2:
      return f(uint16_t());
    case 4:
      return f(uint32_t());
    case 8:
      return f(uint64_t());
    default:
      return nullptr;
  }
}

// Signed and narrow integers are computed where overflow wraps.
template <class T>
using Wrapping = std::conditional_t<sizeof(T) < 4, uint32_t, std::make_unsigned_t<T>>;

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_LANES_H_
