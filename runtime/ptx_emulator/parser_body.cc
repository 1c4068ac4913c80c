#include <utility>

#include "absl/strings/ascii.h"
#include "runtime/ptx_emulator/parser_internal.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

constexpr size_t kMaxScopes = 64;
constexpr int kMaxOperandDepth = 4;

absl::Status Error(int line, const std::string& message) {
  return absl::InvalidArgumentError(Cat("PTX line ", line, ": ", message));
}

}  // namespace

absl::Status BodyParser::Declare(std::string_view name, int line, Symbol symbol) {
  symbol.name = name;
  if (!scopes_.back().emplace(name, std::move(symbol)).second)
    return Error(line, Cat(name, " is declared twice"));
  return absl::OkStatus();
}

BodyParser::Symbol* BodyParser::Find(std::string_view name) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (auto found = scope->find(name); found != scope->end()) return &found->second;
  }
  return nullptr;
}

int BodyParser::FindRegister(std::string_view name) {
  Symbol* symbol = Find(name);
  if (symbol != nullptr && symbol->is_register && !symbol->is_range) {
    if (!symbol->made) {
      symbol->made = true;
      symbol->index = function_.registers.size();
      function_.registers.push_back({.name = symbol->name, .type = symbol->type});
    }
    return static_cast<int>(symbol->index);
  }
  // %r12 of %r<20>.
  size_t digits = name.size();
  while (digits > 0 && absl::ascii_isdigit(name[digits - 1])) --digits;
  uint32_t number = 0;
  if (digits == name.size() || !ParseNumber(name.substr(digits), &number)) return -1;
  symbol = Find(name.substr(0, digits));
  if (symbol == nullptr || !symbol->is_range || number >= symbol->count) return -1;
  const auto [entry, fresh] =
      symbol->numbers.emplace(number, static_cast<uint32_t>(function_.registers.size()));
  if (fresh)
    function_.registers.push_back(
        {.name = symbol->name, .type = symbol->type, .number = static_cast<int>(number)});
  return static_cast<int>(entry->second);
}

absl::Status BodyParser::Body() {
  PTX_RETURN_IF_ERROR(tokens_.Expect('{'));
  scopes_.emplace_back();
  scope_ids_.push_back(0);
  function_.scope_parents.push_back(-1);
  for (uint32_t i = 0; i < function_.variables.size(); ++i) {
    PTX_RETURN_IF_ERROR(
        Declare(function_.variables[i].name, function_.variables[i].line, OfVariable(i)));
  }
  while (!scopes_.empty()) {
    const Token& token = tokens_.Peek();
    if (token.Is('{')) {
      if (scopes_.size() == kMaxScopes)
        return tokens_.Expected("a statement: scopes are nested too deeply");
      scopes_.emplace_back();
      function_.scope_parents.push_back(scope_ids_.back());
      scope_ids_.push_back(static_cast<int>(function_.scope_parents.size()) - 1);
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    } else if (token.Is('}')) {
      scopes_.pop_back();
      scope_ids_.pop_back();
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    } else if (token.Is(';')) {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    } else if (token.kind == TokenKind::kWord && token.text[0] == '.') {
      const std::string_view word = token.text;
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      PTX_RETURN_IF_ERROR(Directive(word));
    } else if (token.kind == TokenKind::kWord || token.Is('@')) {
      PTX_RETURN_IF_ERROR(LabelOrInstruction());
    } else {
      return tokens_.Expected("a statement or }");
    }
  }
  return absl::OkStatus();
}

absl::Status BodyParser::Directive(std::string_view word) {
  if (word == ".reg") return RegisterDeclaration();
  if (word == ".local") return DeclaredVariables(Space::kLocal);
  if (word == ".shared") return DeclaredVariables(Space::kShared);
  if (word == ".param") return DeclaredVariables(Space::kParam);
  if (word == ".loc") return Location();
  if (word == ".pragma") {
    if (tokens_.Peek().kind != TokenKind::kString) return tokens_.Expected("a string");
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    return tokens_.Expect(';');
  }
  return Error(tokens_.taken().line, Cat("expected a statement, got the directive ", word));
}

absl::Status BodyParser::RegisterDeclaration() {
  std::string_view type_name;
  PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&type_name, "the type of registers"));
  const std::optional<Type> type = TypeFromName(type_name.substr(1));
  if (!type || type_name[0] != '.')
    return Error(tokens_.taken().line, Cat("expected the type of registers, got ", type_name));
  for (;;) {
    std::string_view name;
    const int line = tokens_.Peek().line;
    PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&name, "the name of a register"));
    Symbol symbol;
    symbol.is_register = true;
    symbol.type = *type;
    if (tokens_.Is('<')) {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      uint64_t count = 0;
      PTX_RETURN_IF_ERROR(tokens_.ExpectUnsigned(0x7fffffff, &count, "a number of registers"));
      PTX_RETURN_IF_ERROR(tokens_.Expect('>'));
      symbol.is_range = true;
      symbol.count = static_cast<uint32_t>(count);
    }
    PTX_RETURN_IF_ERROR(Declare(name, line, std::move(symbol)));
    if (!tokens_.Is(',')) break;
    PTX_RETURN_IF_ERROR(tokens_.Advance());
  }
  return tokens_.Expect(';');
}

absl::Status BodyParser::DeclaredVariables(Space space) {
  const size_t first = function_.variables.size();
  PTX_RETURN_IF_ERROR(DeclarationParser(tokens_).Variables(space, false, function_.variables));
  for (size_t i = first; i < function_.variables.size(); ++i) {
    const Variable& variable = function_.variables[i];
    PTX_RETURN_IF_ERROR(
        Declare(variable.name, variable.line, OfVariable(static_cast<uint32_t>(i))));
  }
  return tokens_.Expect(';');
}

// ".loc 1 12 3, function_name $L__info_string0+4, inlined_at 1 5 6"
absl::Status BodyParser::Location() {
  int64_t values[3];
  const auto position = [&]() -> absl::Status {
    for (int64_t& value : values)
      PTX_RETURN_IF_ERROR(tokens_.ExpectInteger(&value, "file, line and column"));
    return absl::OkStatus();
  };
  PTX_RETURN_IF_ERROR(position());
  source_ = {static_cast<int>(values[0]), static_cast<int>(values[1])};
  while (tokens_.Is(',')) {
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    std::string_view word;
    PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&word, "function_name or inlined_at"));
    if (word == "inlined_at") {
      PTX_RETURN_IF_ERROR(position());
      continue;
    }
    PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&word, "the label of the function's name"));
    int64_t offset = 0;
    if (tokens_.Is('+')) PTX_RETURN_IF_ERROR(tokens_.ExpectInteger(&offset, "an offset"));
  }
  return absl::OkStatus();
}

absl::Status BodyParser::LabelOrInstruction() {
  Statement statement;
  statement.scope = scope_ids_.back();
  statement.source = source_;
  if (tokens_.Is('@')) {
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    if (tokens_.Is('!')) {
      statement.guard_negated = true;
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    }
    std::string_view name;
    const absl::Status malformed = tokens_.Expected("a predicate register after @");
    PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&name, "a predicate register after @"));
    statement.guard = FindRegister(name);
    if (statement.guard < 0 || function_.registers[statement.guard].type != Type::kPred)
      return malformed;
  }
  const Token word = tokens_.Peek();
  PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&statement.opcode, "an instruction"));
  if (tokens_.Is(':') && statement.guard < 0) return LabelAfterColon(word);
  statement.line = word.line;
  return Instruction(std::move(statement));
}

absl::Status BodyParser::LabelAfterColon(const Token& name) {
  PTX_RETURN_IF_ERROR(tokens_.Advance());
  Label label;
  label.name = name.text;
  label.line = name.line;
  label.scope = scope_ids_.back();
  label.statement = function_.statements.size();
  if (tokens_.IsWord(".branchtargets")) {
    label.is_table = true;
    do {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      std::string_view target;
      PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&target, "a label"));
      label.targets.push_back(target);
    } while (tokens_.Is(','));
    PTX_RETURN_IF_ERROR(tokens_.Expect(';'));
  } else if (tokens_.IsWord(".callprototype") || tokens_.IsWord(".calltargets")) {
    return Error(name.line, "calls through a pointer are not supported");
  }
  function_.labels.push_back(std::move(label));
  return absl::OkStatus();
}

absl::Status BodyParser::Instruction(Statement statement) {
  while (!tokens_.Is(';')) {
    if (!statement.operands.empty()) {
      if (!tokens_.Is(',')) return tokens_.Expected(", or ; after an operand");
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    }
    Operand operand;
    PTX_RETURN_IF_ERROR(ParseOperand(operand, 0));
    statement.operands.push_back(std::move(operand));
  }
  PTX_RETURN_IF_ERROR(tokens_.Advance());
  function_.statements.push_back(std::move(statement));
  return absl::OkStatus();
}

absl::Status BodyParser::ParseElements(char close, Operand& operand, int depth) {
  PTX_RETURN_IF_ERROR(tokens_.Advance());
  while (!tokens_.Is(close)) {
    if (!operand.elements.empty()) PTX_RETURN_IF_ERROR(tokens_.Expect(','));
    PTX_RETURN_IF_ERROR(ParseOperand(operand.elements.emplace_back(), depth + 1));
  }
  return tokens_.Advance();
}

absl::Status BodyParser::ParseAddress(Operand& operand, int depth) {
  operand.kind = Operand::Kind::kAddress;
  PTX_RETURN_IF_ERROR(tokens_.Advance());
  PTX_RETURN_IF_ERROR(ParseOperand(operand.elements.emplace_back(), depth + 1));
  if (tokens_.Is('+') || tokens_.Is('-')) {
    if (tokens_.Is('+')) PTX_RETURN_IF_ERROR(tokens_.Advance());
    PTX_RETURN_IF_ERROR(tokens_.ExpectInteger(&operand.offset, "an offset in bytes"));
  }
  while (tokens_.Is(',')) {
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    PTX_RETURN_IF_ERROR(ParseOperand(operand.elements.emplace_back(), depth + 1));
  }
  return tokens_.Expect(']');
}

absl::Status BodyParser::ParseName(Operand& operand, bool second) {
  const std::string_view name = tokens_.Peek().text;
  const absl::Status unknown = tokens_.Expected("a declared register, variable or label");
  PTX_RETURN_IF_ERROR(tokens_.Advance());
  operand.name = name;
  const int index = name == "_" ? -1 : FindRegister(name);
  if (index >= 0 || name == "_") {
    operand.kind = index < 0 ? Operand::Kind::kSink : Operand::Kind::kRegister;
    operand.index = static_cast<uint32_t>(index);
    if (!second && tokens_.Is('|')) {
      Operand first = std::move(operand);
      operand = Operand();
      operand.kind = Operand::Kind::kPair;
      operand.elements.push_back(std::move(first));
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      if (tokens_.Peek().kind != TokenKind::kWord) return tokens_.Expected("a register after |");
      return ParseName(operand.elements.emplace_back(), /*second=*/true);
    }
    return absl::OkStatus();
  }
  if (const Symbol* symbol = Find(name); symbol != nullptr && !symbol->is_register) {
    operand.kind = Operand::Kind::kVariable;
    operand.index = symbol->index;
  } else if (auto found = module_variables_.find(name); found != module_variables_.end()) {
    operand.kind = Operand::Kind::kVariable;
    operand.module_scope = true;
    operand.index = found->second;
  } else if (name[0] == '%') {
    operand.kind = Operand::Kind::kSpecial;
  } else if (name[0] == '.') {
    return unknown;
  } else {
    operand.kind = Operand::Kind::kName;
  }
  return absl::OkStatus();
}

absl::Status BodyParser::ParseOperand(Operand& operand, int depth) {
  if (depth > kMaxOperandDepth)
    return tokens_.Expected("a register: operands are nested too deeply");
  const Token& token = tokens_.Peek();
  switch (token.kind) {
    case TokenKind::kWord: {
      PTX_RETURN_IF_ERROR(ParseName(operand, /*second=*/false));
      if (operand.kind == Operand::Kind::kVariable && depth == 0 &&
          (tokens_.Is('+') || tokens_.Is('-'))) {
        if (tokens_.Is('+')) PTX_RETURN_IF_ERROR(tokens_.Advance());
        return tokens_.ExpectInteger(&operand.offset, "an offset in bytes");
      }
      return absl::OkStatus();
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat32:
    case TokenKind::kFloat64:
      operand.kind = token.kind == TokenKind::kInteger   ? Operand::Kind::kInteger
                     : token.kind == TokenKind::kFloat32 ? Operand::Kind::kFloat32
                                                         : Operand::Kind::kFloat64;
      operand.value = token.value;
      return tokens_.Advance();
    case TokenKind::kPunctuation:
      break;
    default:
      return tokens_.Expected("an operand");
  }
  switch (token.text[0]) {
    case '-': {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      const Token number = tokens_.Peek();
      operand.value = number.value;
      if (number.kind == TokenKind::kInteger) {
        operand.kind = Operand::Kind::kInteger;
        operand.value = 0 - number.value;
      } else if (number.kind == TokenKind::kFloat64) {
        operand.kind = Operand::Kind::kFloat64;
        operand.value = number.value ^ (uint64_t{1} << 63);
      } else {
        return tokens_.Expected("a number after -");
      }
      return tokens_.Advance();
    }
    case '!':
      operand.kind = Operand::Kind::kNot;
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      return ParseOperand(operand.elements.emplace_back(), depth + 1);
    case '{':
      operand.kind = Operand::Kind::kVector;
      return ParseElements('}', operand, depth);
    case '(':
      operand.kind = Operand::Kind::kList;
      return ParseElements(')', operand, depth);
    case '[':
      return ParseAddress(operand, depth);
    default:
      return tokens_.Expected("an operand");
  }
}

}  // namespace weft::ptx
