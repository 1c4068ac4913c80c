#include "runtime/ptx_emulator/lexer.h"

#include <bit>
#include <charconv>
#include <string>

#include "absl/strings/ascii.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

bool StartsWord(char c) {
  return absl::ascii_isalpha(c) || c == '_' || c == '$' || c == '%' || c == '.';
}

bool ContinuesWord(char c) {
  return absl::ascii_isalnum(c) || c == '_' || c == '$' || c == '%' || c == '.';
}

absl::Status Error(int line, std::string_view message) {
  return absl::InvalidArgumentError(Cat("PTX line ", line, ": ", message));
}

}  // namespace

absl::Status Lexer::SkipBlanks() {
  for (;;) {
    const char c = At(0);
    if (at_ >= text_.size()) return absl::OkStatus();
    if (c == '\n') {
      ++line_;
      ++at_;
    } else if (absl::ascii_isspace(c)) {
      ++at_;
    } else if (c == '/' && At(1) == '/') {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    } else if (c == '/' && At(1) == '*') {
      const int start = line_;
      at_ += 2;
      while (at_ < text_.size() && !(text_[at_] == '*' && At(1) == '/')) {
        if (text_[at_] == '\n') ++line_;
        ++at_;
      }
      if (at_ >= text_.size())
        return Error(start, "expected the end of the comment that begins here");
      at_ += 2;
    } else {
      return absl::OkStatus();
    }
  }
}

absl::StatusOr<Token> Lexer::Next() {
  if (absl::Status status = SkipBlanks(); !status.ok()) return status;
  Token token;
  token.line = line_;
  if (at_ >= text_.size()) return token;
  const size_t start = at_;
  const char c = text_[at_];
  if (absl::ascii_isdigit(c) || (c == '.' && absl::ascii_isdigit(At(1)))) return Number();
  if (StartsWord(c)) {
    token.kind = TokenKind::kWord;
    for (;;) {
      while (at_ < text_.size() && ContinuesWord(text_[at_])) ++at_;
      // "shared::cluster" is one modifier.
      if (At(0) != ':' || At(1) != ':') break;
      at_ += 2;
    }
    token.text = text_.substr(start, at_ - start);
    return token;
  }
  if (c == '"') {
    ++at_;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\n') return Error(line_, "expected \" before the end of the line");
      at_ += text_[at_] == '\\' ? 2 : 1;
    }
    if (at_ >= text_.size())
      return Error(token.line, "expected the end of the string that begins here");
    token.kind = TokenKind::kString;
    token.text = text_.substr(start + 1, at_ - start - 1);
    ++at_;
    return token;
  }
  if (std::string_view("{}[]()<>,;:=+-|!@*~").find(c) != std::string_view::npos) {
    token.kind = TokenKind::kPunctuation;
    token.text = text_.substr(at_++, 1);
    return token;
  }
  const std::string shown =
      absl::ascii_isprint(c) ? std::string(1, c) : Cat("byte ", static_cast<unsigned char>(c));
  return Error(line_, Cat("expected PTX, got ", shown));
}

absl::StatusOr<Token> Lexer::Number() {
  Token token;
  token.line = line_;
  const size_t start = at_;
  const auto text = [&] { return text_.substr(start, at_ - start); };
  const auto digits = [&](int base) -> absl::StatusOr<Token> {
    const char* first = text_.data() + at_;
    const char* last = text_.data() + text_.size();
    const auto [end, error] = std::from_chars(first, last, token.value, base);
    if (error != std::errc())
      return Error(line_,
                   Cat("expected a number of at most 64 bits, got ", text_.substr(start, 24)));
    at_ += end - first;
    if (At(0) == 'U') ++at_;
    if (StartsWord(At(0)) || absl::ascii_isdigit(At(0))) {
      return Error(line_,
                   Cat("expected the end of the number ", text(), ", got ", std::string(1, At(0))));
    }
    token.kind = TokenKind::kInteger;
    token.text = text();
    return token;
  };
  const char kind = At(0) == '0' ? At(1) : '\0';
  if (kind == 'f' || kind == 'F' || kind == 'd' || kind == 'D') {
    const size_t length = kind == 'f' || kind == 'F' ? 8 : 16;
    at_ += 2;
    if (text_.size() - at_ < length)
      return Error(line_, Cat("expected ", length, " hexadecimal digits"));
    const char* first = text_.data() + at_;
    const auto [end, error] = std::from_chars(first, first + length, token.value, 16);
    if (error != std::errc() || end != first + length || absl::ascii_isalnum(At(length))) {
      return Error(line_,
                   Cat("expected ", length, " hexadecimal digits after ", text_.substr(start, 2)));
    }
    at_ += length;
    token.kind = length == 8 ? TokenKind::kFloat32 : TokenKind::kFloat64;
    token.text = text();
    return token;
  }
  if (kind == 'x' || kind == 'X') {
    at_ += 2;
    return digits(16);
  }
  if (kind == 'b' || kind == 'B') {
    at_ += 2;
    return digits(2);
  }
  // A decimal point or an exponent makes it a double.
  size_t end = at_;
  while (end < text_.size() && absl::ascii_isdigit(text_[end])) ++end;
  if (end < text_.size() && (text_[end] == '.' || text_[end] == 'e' || text_[end] == 'E')) {
    double value = 0;
    const char* first = text_.data() + at_;
    const auto [stop, error] = std::from_chars(first, text_.data() + text_.size(), value);
    if (error != std::errc())
      return Error(line_, Cat("expected a floating-point number, got ", text_.substr(start, 24)));
    at_ += stop - first;
    token.kind = TokenKind::kFloat64;
    token.value = std::bit_cast<uint64_t>(value);
    token.text = text();
    return token;
  }
  return digits(At(0) == '0' && absl::ascii_isdigit(At(1)) ? 8 : 10);
}

}  // namespace weft::ptx
