#include "proto/core/printable.h"

#include <cstdint>

namespace weft {

size_t Utf8Character(std::string_view text) {
  if (text.empty()) return 0;
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const size_t extra = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  if (text.size() <= extra) return 0;
  uint32_t code = first & (0x3fu >> extra);
  for (size_t i = 1; i <= extra; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  return code < kLeast[extra] || code > 0x10ffff || surrogate ? 0 : 1 + extra;
}

}  // namespace weft
