// JSON that any reader takes, whatever the names in it are.
#ifndef WEFT_TOOLS_COMMON_JSON_TEXT_H_
#define WEFT_TOOLS_COMMON_JSON_TEXT_H_

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace weft::cli {

// On one line, or indented by so many columns. What is not UTF-8 (names from a table in another
// encoding, say) becomes U+FFFD; control characters, with those above ASCII, are escaped.
std::string JsonText(const nlohmann::json& json, int indent = -1);
// The same for text alone, as checkpoints hold it.
std::string Utf8(const std::string& text);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_JSON_TEXT_H_
