// Writing JSON; proto/core/json.h reads it.
#ifndef WEFT_PROTO_JSON_QUOTE_H_
#define WEFT_PROTO_JSON_QUOTE_H_

#include <string>
#include <string_view>

#include "proto/core/json.h"

namespace weft {

// `text` as a JSON string, in quotes.
inline std::string JsonQuote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    char bytes[kMaxJsonCharacter];
    quoted.append(bytes, JsonCharacter(c, bytes));
  }
  return quoted + "\"";
}

}  // namespace weft

#endif  // WEFT_PROTO_JSON_QUOTE_H_
