#include "tools/common/json_text.h"

#include <nlohmann/json.hpp>

namespace weft::cli {

std::string JsonText(const nlohmann::json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string Utf8(const std::string& text) {
  return nlohmann::json::parse(JsonText(text)).get<std::string>();
}

}  // namespace weft::cli
