#include "tools/common/json_text.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace weft::cli {

std::string JsonText(const nlohmann::json& json, int indent) {
  const std::string text = json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
  // U+007F to U+009F, which stand within strings alone: the library escapes those below U+0020.
  std::string printable;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) c = static_cast<unsigned char>(text[++i]);
    if (c1 || c == 0x7f) {
      absl::StrAppend(&printable, "\\u00", absl::Hex(c, absl::kZeroPad2));
    } else {
      printable += text[i];
    }
  }
  return printable;
}

std::string Utf8(const std::string& text) {
  return nlohmann::json::parse(JsonText(text)).get<std::string>();
}

}  // namespace weft::cli
