// For comparing declarations of ours with a library's own header: whether functions are called in
// the same way.
#ifndef WEFT_RUNTIME_CUDA_API_CHECK_H_
#define WEFT_RUNTIME_CUDA_API_CHECK_H_

#include <type_traits>

namespace weft::cuda {

template <typename T>
concept Complete = requires { sizeof(T); };

// Passed in the same way: integers (enumerations too) of the same size, or pointers to such, or to
// structs of the same size. What handles point to nobody looks at.
template <typename A, typename B>
constexpr bool SameType() {
  if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
    using ToA = std::remove_pointer_t<A>;
    using ToB = std::remove_pointer_t<B>;
    if constexpr (Complete<ToA> && Complete<ToB>) return SameType<ToA, ToB>();
    return true;
  } else if constexpr (std::is_void_v<A> || std::is_void_v<B>) {
    return std::is_void_v<A> && std::is_void_v<B>;
  } else {
    return sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>;
  }
}

template <typename A, typename B>
constexpr bool kSame = false;
template <typename ResultA, typename ResultB, typename... A, typename... B>
  requires(sizeof...(A) == sizeof...(B))
constexpr bool kSame<ResultA (*)(A...), ResultB (*)(B...)> =
    SameType<ResultA, ResultB>() && (SameType<A, B>() && ...);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_API_CHECK_H_
