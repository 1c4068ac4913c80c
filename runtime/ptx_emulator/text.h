#ifndef WEFT_RUNTIME_PTX_EMULATOR_TEXT_H_
#define WEFT_RUNTIME_PTX_EMULATOR_TEXT_H_

#include <charconv>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"

namespace weft::ptx {

// absl::StrCat that takes std::string_view too: where Abseil was built for C++14 it has a
// string_view of its own.
template <class T>
decltype(auto) CatPiece(const T& piece) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return absl::string_view(piece.data(), piece.size());
  } else {
    return (piece);
  }
}
template <class... T>
std::string Cat(const T&... pieces) {
  return absl::StrCat(CatPiece(pieces)...);
}

// Reads all of the text as a decimal number.
template <class T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// "a.b.c" to a, b, c.
inline std::vector<std::string_view> SplitAtDots(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t dot = text.find('.');
    parts.push_back(text.substr(0, dot));
    if (dot == text.npos) return parts;
    text.remove_prefix(dot + 1);
  }
}

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_TEXT_H_
