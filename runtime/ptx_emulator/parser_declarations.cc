#include <bit>
#include <cstring>
#include <utility>

#include "runtime/ptx_emulator/parser_internal.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

// Beyond this a variable could not be placed on any device, and text must not make the emulator
// allocate without bound.
constexpr uint64_t kMaxVariableBytes = uint64_t{1} << 30;

}  // namespace

// ".align 8 .v2 .b8", ".u64 .ptr .global .align 1": everything up to the name.
absl::Status DeclarationParser::Attributes(Variable& variable) {
  bool has_type = false;
  bool has_alignment = false;
  int vector = 1;
  while (tokens_.Peek().kind == TokenKind::kWord && tokens_.Peek().text[0] == '.') {
    const std::string_view word = tokens_.Peek().text;
    if (word == ".align") {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      uint64_t alignment = 0;
      const absl::Status malformed =
          tokens_.Expected("an alignment, a power of two of at most 65536");
      PTX_RETURN_IF_ERROR(tokens_.ExpectUnsigned(1 << 16, &alignment, "an alignment"));
      if (!std::has_single_bit(alignment)) return malformed;
      // After .ptr the alignment is that of what the pointer points to.
      if (!has_type || variable.space != Space::kParam) {
        variable.alignment = static_cast<uint32_t>(alignment);
        has_alignment = true;
      }
    } else if (word == ".v2" || word == ".v4") {
      vector = word[2] - '0';
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    } else if (word == ".ptr") {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      for (std::string_view space : {".global", ".shared", ".const", ".local"}) {
        if (tokens_.IsWord(space)) {
          PTX_RETURN_IF_ERROR(tokens_.Advance());
          break;
        }
      }
    } else if (std::optional<Type> type = TypeFromName(word.substr(1));
               type && SizeOf(*type) > 0 && !has_type) {
      variable.type = *type;
      has_type = true;
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    } else {
      return tokens_.Expected("a type or an alignment");
    }
  }
  if (!has_type) return tokens_.Expected("a type");
  variable.bytes = uint64_t(SizeOf(variable.type)) * vector;
  if (!has_alignment) variable.alignment = static_cast<uint32_t>(variable.bytes);
  return absl::OkStatus();
}

absl::Status DeclarationParser::NameAndSize(Variable& variable) {
  variable.line = tokens_.Peek().line;
  PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&variable.name, "the name of a variable"));
  while (tokens_.Is('[')) {
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    if (tokens_.Is(']')) {
      if (variable.space != Space::kShared || !variable.external)
        return tokens_.Expected("the number of elements");
      variable.dynamic = true;
      variable.bytes = 0;
    } else {
      uint64_t count = 0;
      PTX_RETURN_IF_ERROR(
          tokens_.ExpectUnsigned(kMaxVariableBytes, &count, "a number of elements"));
      variable.bytes *= count;
      if (variable.bytes > kMaxVariableBytes) {
        return absl::InvalidArgumentError(Cat("PTX line ", variable.line,
                                              ": expected a variable of at most ",
                                              kMaxVariableBytes, " bytes, got ", variable.name));
      }
    }
    PTX_RETURN_IF_ERROR(tokens_.Expect(']'));
  }
  return absl::OkStatus();
}

absl::Status DeclarationParser::InitialValue(Variable& variable, uint64_t* at) {
  const int size = SizeOf(variable.type);
  Initializer& initializer = variable.initializer;
  if (*at + size > variable.bytes)
    return tokens_.Expected(Cat("at most ", variable.bytes, " bytes of initial values"));
  if (initializer.bytes.size() < *at + size) initializer.bytes.resize(*at + size);
  const Token& token = tokens_.Peek();
  uint64_t bits = 0;
  if (token.kind == TokenKind::kWord) {
    Initializer::Address address;
    address.offset = *at;
    address.size = size;
    const bool generic = token.text == "generic";
    PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&address.symbol, "a symbol"));
    if (generic && tokens_.Is('(')) {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&address.symbol, "a symbol"));
      PTX_RETURN_IF_ERROR(tokens_.Expect(')'));
    }
    if (tokens_.Is('+') || tokens_.Is('-')) {
      if (tokens_.Is('+')) PTX_RETURN_IF_ERROR(tokens_.Advance());
      PTX_RETURN_IF_ERROR(tokens_.ExpectInteger(&address.addend, "an offset"));
    }
    initializer.addresses.push_back(address);
    *at += size;
    return absl::OkStatus();
  }
  if (token.kind == TokenKind::kFloat32 || token.kind == TokenKind::kFloat64) {
    bits = token.value;
    if (size == 4 && token.kind == TokenKind::kFloat64)
      bits = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
    if (size == 8 && token.kind == TokenKind::kFloat32)
      bits = std::bit_cast<uint64_t>(double{std::bit_cast<float>(uint32_t(bits))});
    PTX_RETURN_IF_ERROR(tokens_.Advance());
  } else {
    int64_t value = 0;
    PTX_RETURN_IF_ERROR(tokens_.ExpectInteger(&value, "an initial value"));
    bits = static_cast<uint64_t>(value);
  }
  std::memcpy(initializer.bytes.data() + *at, &bits, std::min(size, 8));
  *at += size;
  return absl::OkStatus();
}

absl::Status DeclarationParser::Initial(Variable& variable) {
  if (variable.space != Space::kGlobal && variable.space != Space::kConst) {
    return tokens_.Expected(
        Cat("no initial value for a variable in ", SpaceName(variable.space), " memory"));
  }
  variable.initialized = true;
  uint64_t at = 0;
  if (!tokens_.Is('{')) return InitialValue(variable, &at);
  int depth = 0;
  do {
    if (tokens_.Is('{')) {
      ++depth;
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    } else if (tokens_.Is('}')) {
      --depth;
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      if (depth > 0 && tokens_.Is(',')) PTX_RETURN_IF_ERROR(tokens_.Advance());
    } else {
      PTX_RETURN_IF_ERROR(InitialValue(variable, &at));
      if (tokens_.Is(',')) {
        PTX_RETURN_IF_ERROR(tokens_.Advance());
      } else if (!tokens_.Is('}')) {
        return tokens_.Expected(", or }");
      }
    }
  } while (depth > 0);
  return absl::OkStatus();
}

absl::Status DeclarationParser::Variables(Space space, bool external,
                                          std::vector<Variable>& variables) {
  Variable common;
  common.space = space;
  common.external = external;
  PTX_RETURN_IF_ERROR(Attributes(common));
  for (;;) {
    Variable variable = common;
    PTX_RETURN_IF_ERROR(NameAndSize(variable));
    if (tokens_.Is('=')) {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      PTX_RETURN_IF_ERROR(Initial(variable));
    }
    variables.push_back(std::move(variable));
    if (!tokens_.Is(',')) return absl::OkStatus();
    PTX_RETURN_IF_ERROR(tokens_.Advance());
  }
}

absl::Status DeclarationParser::Parameters(std::vector<Variable>& variables) {
  PTX_RETURN_IF_ERROR(tokens_.Expect('('));
  while (!tokens_.Is(')')) {
    if (!tokens_.IsWord(".param")) return tokens_.Expected(".param");
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    Variable variable;
    variable.space = Space::kParam;
    PTX_RETURN_IF_ERROR(Attributes(variable));
    PTX_RETURN_IF_ERROR(NameAndSize(variable));
    variables.push_back(std::move(variable));
    if (tokens_.Is(',')) {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      if (tokens_.Is(')')) return tokens_.Expected(".param");
    } else if (!tokens_.Is(')')) {
      return tokens_.Expected(", or )");
    }
  }
  return tokens_.Advance();
}

}  // namespace weft::ptx
