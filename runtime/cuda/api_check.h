// For comparing declarations of ours with a library's own header: whether functions are called in
// the same way.
#ifndef WEFT_RUNTIME_CUDA_API_CHECK_H_
#define WEFT_RUNTIME_CUDA_API_CHECK_H_

#include <type_traits>

namespace weft::cuda {

template <typename T>
concept Complete = requires { sizeof(T); };

// Passed in the same way: integers (enumerations too) of the same size, or pointers to such, or to
// structs of the same size. What handles point to nobody looks at; `kHandles`: nor is what one
// header says nothing of known by the other.
template <typename A, typename B, bool kHandles>
constexpr bool SameType() {
  if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
    using ToA = std::remove_pointer_t<A>;
    using ToB = std::remove_pointer_t<B>;
    if constexpr (Complete<ToA> && Complete<ToB>) return SameType<ToA, ToB, kHandles>();
    return !kHandles || Complete<ToA> == Complete<ToB>;
  } else if constexpr (std::is_void_v<A> || std::is_void_v<B>) {
    return std::is_void_v<A> && std::is_void_v<B>;
  } else {
    return sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>;
  }
}

template <typename A, typename B, bool kHandles = false>
constexpr bool kSame = false;
template <typename ResultA, typename ResultB, typename... A, typename... B, bool kHandles>
  requires(sizeof...(A) == sizeof...(B))
constexpr bool kSame<ResultA (*)(A...), ResultB (*)(B...), kHandles> =
    SameType<ResultA, ResultB, kHandles>() && (SameType<A, B, kHandles>() && ...);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_API_CHECK_H_
