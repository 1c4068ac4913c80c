// Text of any origin in messages. A terminal obeys what it is sent: nothing is shown but what it
// merely shows, and the rest as "\x1b".
#ifndef WEFT_PROTO_CORE_PRINTABLE_H_
#define WEFT_PROTO_CORE_PRINTABLE_H_

#include <cstddef>
#include <string_view>

namespace weft {

// Bytes of the first character of the text; 0 where they are not well-formed UTF-8.
size_t Utf8Character(std::string_view text);

// Calls `append(std::string_view)` with the text, part by part. Control characters (those of two
// bytes, U+0080 to U+009f, as well) and bytes that are not UTF-8 are escaped, byte by byte. What
// was escaped already stays as it is.
template <typename Append>
void AppendPrintable(std::string_view text, const Append& append) {
  constexpr char kHex[] = "0123456789abcdef";
  while (!text.empty()) {
    size_t size = Utf8Character(text);
    const auto first = static_cast<unsigned char>(text[0]);
    const bool control =
        size == 1 ? first < 0x20 || first == 0x7f
                  : size == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
    if (size > 0 && !control) {
      append(std::string_view(text.data(), size));
    } else {
      if (size == 0) size = 1;
      for (size_t i = 0; i < size; ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const char escaped[] = {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
        append(std::string_view(escaped, sizeof(escaped)));
      }
    }
    text.remove_prefix(size);
  }
}

}  // namespace weft

#endif  // WEFT_PROTO_CORE_PRINTABLE_H_
