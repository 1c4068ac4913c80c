#include "proto/json_scanner.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace weft {
namespace {

constexpr int kMaxDepth = 32;

void AppendUtf8(uint32_t code, std::string* text) {
  if (code < 0x80) {
    text->push_back(static_cast<char>(code));
    return;
  }
  const int extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr uint32_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
  text->push_back(static_cast<char>(kLead[extra] | (code >> (6 * extra))));
  for (int i = extra - 1; i >= 0; --i) {
    text->push_back(static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3f)));
  }
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

void JsonScanner::SkipSpace() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
    ++at_;
  }
}

bool JsonScanner::Take(char c) {
  SkipSpace();
  if (at_ >= text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

absl::Status JsonScanner::Expected(std::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat("malformed JSON: expected ", std::string(what), " at byte ", at_));
}

absl::Status JsonScanner::Object(
    const std::function<absl::Status(const std::string& key)>& member) {
  if (!Take('{')) return Expected("'{'");
  if (Take('}')) return absl::OkStatus();
  do {
    absl::StatusOr<std::string> key = String();
    if (!key.ok()) return key.status();
    if (!Take(':')) return Expected("':'");
    if (absl::Status status = member(*key); !status.ok()) return status;
  } while (Take(','));
  if (!Take('}')) return Expected("',' or '}'");
  return absl::OkStatus();
}

absl::StatusOr<int64_t> JsonScanner::Size() {
  SkipSpace();
  if (at_ >= text_.size() || !IsDigit(text_[at_])) return Expected("a whole number");
  int64_t value = 0;
  while (at_ < text_.size() && IsDigit(text_[at_])) {
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, text_[at_] - '0', &value)) {
      return Expected("a number below 2^63");
    }
    ++at_;
  }
  return value;
}

absl::StatusOr<std::vector<int64_t>> JsonScanner::Sizes(size_t limit) {
  std::vector<int64_t> values;
  if (!Take('[')) return Expected("'['");
  if (Take(']')) return values;
  do {
    if (values.size() == limit) return Expected(absl::StrCat("at most ", limit, " numbers"));
    absl::StatusOr<int64_t> value = Size();
    if (!value.ok()) return value.status();
    values.push_back(*value);
  } while (Take(','));
  if (!Take(']')) return Expected("',' or ']'");
  return values;
}

absl::StatusOr<uint32_t> JsonScanner::Hex4() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = at_ < text_.size() ? text_[at_] : ' ';
    if (IsDigit(c)) {
      value = value * 16 + static_cast<uint32_t>(c - '0');
    } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
      value = value * 16 + static_cast<uint32_t>((c | 32) - 'a' + 10);
    } else {
      return Expected("four hex digits");
    }
  }
  return value;
}

absl::StatusOr<std::string> JsonScanner::String() {
  if (!Take('"')) return Expected("a string");
  std::string value;
  while (at_ < text_.size() && text_[at_] != '"') {
    const char c = text_[at_++];
    if (static_cast<unsigned char>(c) < 0x20) return Expected("no control character in a string");
    if (c != '\\') {
      value.push_back(c);
      continue;
    }
    const char escape = at_ < text_.size() ? text_[at_++] : ' ';
    constexpr std::string_view kEscapes = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    if (const size_t known = kEscapes.find(escape); known != std::string_view::npos) {
      value.push_back(kMeanings[known]);
      continue;
    }
    if (escape != 'u') return Expected("a known escape");
    absl::StatusOr<uint32_t> code = Hex4();
    if (!code.ok()) return code.status();
    if (*code >= 0xd800 && *code < 0xe000) {  // half of a pair
      if (*code >= 0xdc00 || text_.substr(at_, 2) != "\\u") return Expected("a surrogate pair");
      at_ += 2;
      absl::StatusOr<uint32_t> low = Hex4();
      if (!low.ok()) return low.status();
      if (*low < 0xdc00 || *low >= 0xe000) return Expected("a surrogate pair");
      *code = 0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00);
    }
    AppendUtf8(*code, &value);
  }
  if (at_ >= text_.size()) return Expected("the end of a string");
  ++at_;
  return value;
}

absl::Status JsonScanner::Skip() { return SkipNested(0); }

absl::Status JsonScanner::SkipNested(int depth) {
  if (depth > kMaxDepth) return Expected("shallower nesting");
  SkipSpace();
  const char c = at_ < text_.size() ? text_[at_] : '\0';
  if (c == '"') return String().status();
  if (c == '{') {
    return Object([&](const std::string&) { return SkipNested(depth + 1); });
  }
  if (Take('[')) {
    if (Take(']')) return absl::OkStatus();
    do {
      if (absl::Status status = SkipNested(depth + 1); !status.ok()) return status;
    } while (Take(','));
    return Take(']') ? absl::OkStatus() : Expected("',' or ']'");
  }
  for (std::string_view word : {"true", "false", "null"}) {
    if (text_.substr(at_, word.size()) == word) {
      at_ += word.size();
      return absl::OkStatus();
    }
  }
  const size_t start = at_;
  while (at_ < text_.size() &&
         (IsDigit(text_[at_]) || std::string_view("+-.eE").find(text_[at_]) != std::string::npos)) {
    ++at_;
  }
  return at_ > start ? absl::OkStatus() : Expected("a value");
}

absl::Status JsonScanner::End() {
  SkipSpace();
  return at_ == text_.size() ? absl::OkStatus() : Expected("the end");
}

std::string JsonQuote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted.push_back('\\');
      quoted.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      quoted += absl::StrFormat("\\u%04x", static_cast<unsigned>(c));
    } else {
      quoted.push_back(c);
    }
  }
  quoted.push_back('"');
  return quoted;
}

bool IsUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<unsigned char>(text[i++]);
    if (byte < 0x80) continue;
    const int extra = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
    if (byte < 0xc2 || byte > 0xf4) return false;
    uint32_t code = byte & (0x3fu >> extra);
    for (int j = 0; j < extra; ++j, ++i) {
      if (i >= text.size() || (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return false;
      code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3f);
    }
    constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
    if (code < kLeast[extra] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
  }
  return true;
}

}  // namespace weft
