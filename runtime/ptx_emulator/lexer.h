#ifndef WEFT_RUNTIME_PTX_EMULATOR_LEXER_H_
#define WEFT_RUNTIME_PTX_EMULATOR_LEXER_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::ptx {

enum class TokenKind : uint8_t {
  kEnd,
  kWord,     // opcodes with their modifiers, registers, labels, symbols, directives:
             // "ld.global.v2.b32", "%tid.x", ".reg"
  kInteger,  // value
  kFloat32,  // value holds the bits of the float
  kFloat64,  // value holds the bits of the double
  kString,   // text without its quotes
  kPunctuation,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;  // from 1
  std::string_view text;
  uint64_t value = 0;

  bool Is(char c) const { return kind == TokenKind::kPunctuation && text[0] == c; }
  bool IsWord(std::string_view word) const { return kind == TokenKind::kWord && text == word; }
};

// Splits PTX text into tokens; comments and white space disappear. The text has to outlive the
// tokens.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  // The next token, kEnd at the end for ever. InvalidArgument, with the line, for a character or
  // number that PTX does not have.
  absl::StatusOr<Token> Next();

 private:
  absl::Status SkipBlanks();
  absl::StatusOr<Token> Number();
  char At(size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_LEXER_H_
