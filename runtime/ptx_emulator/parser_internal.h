#ifndef WEFT_RUNTIME_PTX_EMULATOR_PARSER_INTERNAL_H_
#define WEFT_RUNTIME_PTX_EMULATOR_PARSER_INTERNAL_H_

#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/ptx_emulator/lexer.h"
#include "runtime/ptx_emulator/syntax.h"

namespace weft::ptx {

#define PTX_RETURN_IF_ERROR(expression) \
  if (absl::Status status_ = (expression); !status_.ok()) return status_

// The tokens of a text with one token of look-ahead, and what all parsers share.
class TokenStream {
 public:
  explicit TokenStream(std::string_view text) : lexer_(text) {}

  absl::Status Start() { return Advance(); }
  const Token& Peek() const { return token_; }
  // Moves on; the token that was at hand is in `taken()`.
  absl::Status Advance();
  const Token& taken() const { return taken_; }

  bool Is(char c) const { return token_.Is(c); }
  bool IsWord(std::string_view word) const { return token_.IsWord(word); }
  absl::Status Expect(char c);
  absl::Status ExpectWord(std::string_view* word, std::string_view what);
  // An integer with an optional sign; `what` for the message.
  absl::Status ExpectInteger(int64_t* value, std::string_view what);
  absl::Status ExpectUnsigned(uint64_t limit, uint64_t* value, std::string_view what);
  // "PTX line 7: expected X, got Y".
  absl::Status Expected(std::string_view what) const;

 private:
  Lexer lexer_;
  Token token_;
  Token taken_;
};

// Parses declarations of variables, those of modules and those in functions.
class DeclarationParser {
 public:
  explicit DeclarationParser(TokenStream& tokens) : tokens_(tokens) {}

  // After the word of the space: ".align 4 .b8 x[12] = {1, 2}, y[4]" up to what ends it (not
  // taken).
  absl::Status Variables(Space space, bool external, std::vector<Variable>& variables);
  // "(.param .b32 x, .param .align 8 .b8 y[16])".
  absl::Status Parameters(std::vector<Variable>& variables);

 private:
  absl::Status Attributes(Variable& variable);
  absl::Status NameAndSize(Variable& variable);
  absl::Status Initial(Variable& variable);
  absl::Status InitialValue(Variable& variable, uint64_t* at);

  TokenStream& tokens_;
};

// Parses the body of one function.
class BodyParser {
 public:
  // `module_variables`: indices into Module::variables.
  using Variables = std::unordered_map<std::string_view, uint32_t>;
  BodyParser(TokenStream& tokens, const Variables& module_variables, Function& function)
      : tokens_(tokens), module_variables_(module_variables), function_(function) {}

  // From "{" to the "}" that closes it.
  absl::Status Body();

 private:
  struct Symbol {
    bool is_register = false;
    bool is_range = false;  // %r<5>
    uint32_t count = 0;
    Type type = Type::kB32;
    std::string_view name;
    uint32_t index = 0;  // of the variable, or of the register where one was made
    bool made = false;
    std::unordered_map<uint32_t, uint32_t> numbers;  // of a range: number to register
  };
  static Symbol OfVariable(uint32_t index) {
    Symbol symbol;
    symbol.index = index;
    return symbol;
  }
  using Scope = std::unordered_map<std::string_view, Symbol>;

  absl::Status Directive(std::string_view word);
  absl::Status RegisterDeclaration();
  absl::Status DeclaredVariables(Space space);
  absl::Status LabelOrInstruction();
  absl::Status LabelAfterColon(const Token& name);
  absl::Status Instruction(Statement statement);
  absl::Status ParseOperand(Operand& operand, int depth);
  // `second`: of a pair "a|b".
  absl::Status ParseName(Operand& operand, bool second);
  absl::Status ParseAddress(Operand& operand, int depth);
  absl::Status ParseElements(char close, Operand& operand, int depth);
  absl::Status Location();
  absl::Status Declare(std::string_view name, int line, Symbol symbol);
  Symbol* Find(std::string_view name);
  // The register of `name`, or -1.
  int FindRegister(std::string_view name);

  TokenStream& tokens_;
  const Variables& module_variables_;
  Function& function_;
  std::vector<Scope> scopes_;
  std::vector<int> scope_ids_;
  SourceLine source_;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_PARSER_INTERNAL_H_
