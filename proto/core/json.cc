#include "proto/core/json.h"

#include <string.h>

#include "proto/core/printable.h"

namespace weft {
namespace {

constexpr int kMaxDepth = 32;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

}  // namespace

bool JsonScanner::Take(char c) {
  while (IsSpace(Peek())) ++at_;
  if (at_ == text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool JsonScanner::Expected(const char* what) {
  expected_ = what;
  return false;
}

FormatError JsonScanner::error() const {
  if (expected_ == nullptr) return {};
  return {.before = "malformed JSON: expected ",
          .value = expected_,
          .after = " at byte ",
          .number = before_ + at_,
          .unit = ""};
}

bool JsonScanner::Size(int64_t* value) {
  while (IsSpace(Peek())) ++at_;
  if (!IsDigit(Peek())) return Expected("a whole number");
  *value = 0;
  for (; IsDigit(Peek()); ++at_) {
    if (__builtin_mul_overflow(*value, 10, value) ||
        __builtin_add_overflow(*value, text_[at_] - '0', value)) {
      return Expected("a number below 2^63");
    }
  }
  return true;
}

bool JsonScanner::Sizes(int64_t* values, size_t limit, size_t* count) {
  *count = 0;
  if (!Take('[')) return Expected("'['");
  if (Take(']')) return true;
  do {
    if (*count == limit) return Expected("no more numbers");
    if (!Size(&values[*count])) return false;
    ++*count;
  } while (Take(','));
  return Take(']') || Expected("',' or ']'");
}

bool JsonScanner::Hex4(uint32_t* value) {
  *value = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = Peek(), letter = static_cast<char>(c | 32);
    if (!IsDigit(c) && (letter < 'a' || letter > 'f')) return Expected("four hex digits");
    *value = *value * 16 + static_cast<uint32_t>(IsDigit(c) ? c - '0' : letter - 'a' + 10);
  }
  return true;
}

// What follows a backslash.
bool JsonScanner::Escape() {
  constexpr char kEscapes[] = "\"\\/bfnrt", kMeanings[] = "\"\\/\b\f\n\r\t";
  const char escape = Peek();
  for (int i = 0; kEscapes[i] != '\0'; ++i) {
    if (escape != kEscapes[i]) continue;
    ++at_;
    *memory_++ = kMeanings[i];
    return true;
  }
  if (escape != 'u') return Expected("a known escape");
  ++at_;
  uint32_t code = 0;
  if (!Hex4(&code)) return false;
  if (code >= 0xd800 && code < 0xe000) {  // half of a pair
    uint32_t low = 0;
    if (code >= 0xdc00 || text_.size() - at_ < 2 || memcmp(&text_[at_], "\\u", 2) != 0) {
      return Expected("a surrogate pair");
    }
    at_ += 2;
    if (!Hex4(&low)) return false;
    if (low < 0xdc00 || low >= 0xe000) return Expected("a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  if (code < 0x80) {
    *memory_++ = static_cast<char>(code);
    return true;
  }
  const int extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr uint32_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
  *memory_++ = static_cast<char>(kLead[extra] | (code >> (6 * extra)));
  for (int i = extra - 1; i >= 0; --i) {
    *memory_++ = static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3f));
  }
  return true;
}

bool JsonScanner::String(std::string_view* value) {
  if (!Take('"')) return Expected("a string");
  const char* start = memory_;
  while (at_ < text_.size() && text_[at_] != '"') {
    const char c = text_[at_++];
    if (static_cast<unsigned char>(c) < 0x20) return Expected("no control character in a string");
    if (c != '\\') {
      *memory_++ = c;
    } else if (!Escape()) {
      return false;
    }
  }
  if (!Take('"')) return Expected("the end of a string");
  *value = {start, static_cast<size_t>(memory_ - start)};
  return true;
}

bool JsonScanner::SkipNested(int depth) {
  if (depth > kMaxDepth) return Expected("shallower nesting");
  while (IsSpace(Peek())) ++at_;
  if (Peek() == '"') {
    std::string_view value;
    return String(&value);
  }
  if (Peek() == '{') {
    return Object([&](std::string_view) { return SkipNested(depth + 1); });
  }
  if (Take('[')) {
    if (Take(']')) return true;
    do {
      if (!SkipNested(depth + 1)) return false;
    } while (Take(','));
    return Take(']') || Expected("',' or ']'");
  }
  for (std::string_view word : {"true", "false", "null"}) {
    if (text_.size() - at_ < word.size() || memcmp(&text_[at_], word.data(), word.size()) != 0) {
      continue;
    }
    at_ += word.size();
    return true;
  }
  const size_t start = at_;
  while (IsDigit(Peek()) || (Peek() != '\0' && strchr("+-.eE", Peek()) != nullptr)) ++at_;
  return at_ > start || Expected("a value");
}

bool JsonScanner::End() {
  while (IsSpace(Peek())) ++at_;
  return at_ == text_.size() || Expected("the end");
}

size_t JsonCharacter(char c, char* bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  const auto code = static_cast<unsigned char>(c);
  if (code < 0x20) {
    memcpy(bytes, "\\u00", 4);
    bytes[4] = kHex[code >> 4];
    bytes[5] = kHex[code & 15];
    return 6;
  }
  const size_t escaped = c == '"' || c == '\\';
  bytes[0] = '\\';
  bytes[escaped] = c;
  return 1 + escaped;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t size = Utf8Character(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

}  // namespace weft
