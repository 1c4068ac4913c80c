#include "runtime/ptx_emulator/parser.h"

#include <cctype>
#include <utility>

#include "runtime/ptx_emulator/parser_internal.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {

std::string Register::Name() const { return number < 0 ? std::string(name) : Cat(name, number); }

const Function* Module::FindFunction(std::string_view name) const {
  const auto found = function_index.find(name);
  return found == function_index.end() ? nullptr : &functions[found->second];
}

absl::Status TokenStream::Advance() {
  taken_ = token_;
  absl::StatusOr<Token> token = lexer_.Next();
  if (!token.ok()) return token.status();
  token_ = *token;
  return absl::OkStatus();
}

absl::Status TokenStream::Expected(std::string_view what) const {
  std::string got = "the end of the text";
  if (token_.kind == TokenKind::kString) {
    got = Cat("\"", token_.text.substr(0, 40), "\"");
  } else if (token_.kind != TokenKind::kEnd) {
    got = std::string(token_.text.substr(0, 60));
  }
  return absl::InvalidArgumentError(
      Cat("PTX line ", token_.line, ": expected ", what, ", got ", got));
}

absl::Status TokenStream::Expect(char c) {
  if (!Is(c)) return Expected(std::string(1, c));
  return Advance();
}

absl::Status TokenStream::ExpectWord(std::string_view* word, std::string_view what) {
  if (token_.kind != TokenKind::kWord) return Expected(what);
  *word = token_.text;
  return Advance();
}

absl::Status TokenStream::ExpectInteger(int64_t* value, std::string_view what) {
  const bool negative = Is('-');
  if (negative || Is('+')) PTX_RETURN_IF_ERROR(Advance());
  if (token_.kind != TokenKind::kInteger) return Expected(what);
  *value = static_cast<int64_t>(negative ? 0 - token_.value : token_.value);
  return Advance();
}

absl::Status TokenStream::ExpectUnsigned(uint64_t limit, uint64_t* value, std::string_view what) {
  if (token_.kind != TokenKind::kInteger || token_.value > limit)
    return Expected(Cat(what, " of at most ", limit));
  *value = token_.value;
  return Advance();
}

namespace {

class ModuleParser {
 public:
  ModuleParser(TokenStream& tokens, Module& module) : tokens_(tokens), module_(module) {}

  absl::Status Run() {
    PTX_RETURN_IF_ERROR(tokens_.Start());
    PTX_RETURN_IF_ERROR(Header());
    while (tokens_.Peek().kind != TokenKind::kEnd) PTX_RETURN_IF_ERROR(Item());
    return absl::OkStatus();
  }

 private:
  // .version, .target and .address_size.
  absl::Status Header() {
    if (!tokens_.IsWord(".version")) return tokens_.Expected(".version");
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    const std::string_view text = tokens_.Peek().text;
    const size_t dot = text.find('.');
    if (tokens_.Peek().kind != TokenKind::kFloat64 || dot == text.npos ||
        !ParseNumber(text.substr(0, dot), &module_.version_major) ||
        !ParseNumber(text.substr(dot + 1), &module_.version_minor)) {
      return tokens_.Expected("a version such as 8.0");
    }
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    if (!tokens_.IsWord(".target")) return tokens_.Expected(".target");
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    std::string_view target;
    const absl::Status malformed = tokens_.Expected("a target such as sm_80");
    PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&target, "a target such as sm_80"));
    module_.sm_accelerated = target.ends_with('a');
    if (module_.sm_accelerated) target.remove_suffix(1);
    if (!target.starts_with("sm_") || !ParseNumber(target.substr(3), &module_.sm)) return malformed;
    while (tokens_.Is(',')) {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      std::string_view option;
      PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&option, "a target option"));
      if (option != "debug")
        return absl::InvalidArgumentError(
            Cat("PTX line ", tokens_.taken().line, ": unknown target option ", option));
    }
    if (!tokens_.IsWord(".address_size")) return tokens_.Expected(".address_size");
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    if (tokens_.Peek().kind != TokenKind::kInteger || tokens_.Peek().value != 64)
      return tokens_.Expected("64");
    return tokens_.Advance();
  }

  absl::Status Item() {
    bool external = false;
    for (;;) {
      if (tokens_.IsWord(".extern")) {
        external = true;
      } else if (!tokens_.IsWord(".visible") && !tokens_.IsWord(".weak") &&
                 !tokens_.IsWord(".common")) {
        break;
      }
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    }
    std::string_view word;
    const absl::Status unknown = tokens_.Expected(
        "a declaration (.entry, .func, .global, .const, .shared, .file, .section)");
    PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&word, "a declaration"));
    if (word == ".entry" || word == ".func") return FunctionItem(word == ".entry");
    if (word == ".global") return VariableItem(Space::kGlobal, external);
    if (word == ".const") return VariableItem(Space::kConst, external);
    if (word == ".shared") return VariableItem(Space::kShared, external);
    if (word == ".file") return FileItem();
    if (word == ".section") return SkipSection();
    if (word == ".pragma") {
      if (tokens_.Peek().kind != TokenKind::kString) return tokens_.Expected("a string");
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      return tokens_.Expect(';');
    }
    return unknown;
  }

  absl::Status VariableItem(Space space, bool external) {
    const size_t first = module_.variables.size();
    PTX_RETURN_IF_ERROR(DeclarationParser(tokens_).Variables(space, external, module_.variables));
    for (size_t i = first; i < module_.variables.size(); ++i) {
      const Variable& variable = module_.variables[i];
      if (!names_.insert({variable.name, static_cast<uint32_t>(i)}).second) {
        return absl::InvalidArgumentError(
            Cat("PTX line ", variable.line, ": ", variable.name, " is declared twice"));
      }
    }
    return tokens_.Expect(';');
  }

  absl::Status FileItem() {
    int64_t index = 0;
    PTX_RETURN_IF_ERROR(tokens_.ExpectInteger(&index, "the number of the file"));
    if (tokens_.Peek().kind != TokenKind::kString) return tokens_.Expected("the name of the file");
    module_.files[static_cast<int>(index)] = std::string(tokens_.Peek().text);
    PTX_RETURN_IF_ERROR(tokens_.Advance());
    while (tokens_.Is(',')) {
      PTX_RETURN_IF_ERROR(tokens_.Advance());
      PTX_RETURN_IF_ERROR(tokens_.ExpectInteger(&index, "time or size of the file"));
    }
    return absl::OkStatus();
  }

  // Debug information: not looked at.
  absl::Status SkipSection() {
    std::string_view name;
    PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&name, "the name of the section"));
    PTX_RETURN_IF_ERROR(tokens_.Expect('{'));
    for (int depth = 1; depth > 0;) {
      if (tokens_.Peek().kind == TokenKind::kEnd)
        return tokens_.Expected("} at the end of the section");
      if (tokens_.Is('{')) ++depth;
      if (tokens_.Is('}')) --depth;
      PTX_RETURN_IF_ERROR(tokens_.Advance());
    }
    return absl::OkStatus();
  }

  absl::Status FunctionItem(bool is_entry) {
    Function function;
    function.is_entry = is_entry;
    std::vector<Variable> results;
    if (tokens_.Is('(')) PTX_RETURN_IF_ERROR(DeclarationParser(tokens_).Parameters(results));
    function.line = tokens_.Peek().line;
    PTX_RETURN_IF_ERROR(tokens_.ExpectWord(&function.name, "the name of the function"));
    if (tokens_.Is('('))
      PTX_RETURN_IF_ERROR(DeclarationParser(tokens_).Parameters(function.variables));
    function.parameters = function.variables.size();
    function.results = results.size();
    for (Variable& result : results) function.variables.push_back(std::move(result));
    PTX_RETURN_IF_ERROR(FunctionDirectives(function));
    const auto [known, fresh] =
        module_.function_index.emplace(function.name, module_.functions.size());
    if (tokens_.Is(';')) {
      if (fresh) module_.functions.push_back(std::move(function));
      return tokens_.Advance();
    }
    PTX_RETURN_IF_ERROR(BodyParser(tokens_, names_, function).Body());
    function.has_body = true;
    if (fresh) {
      module_.functions.push_back(std::move(function));
      return absl::OkStatus();
    }
    Function& declared = module_.functions[known->second];
    if (declared.has_body) {
      return absl::InvalidArgumentError(
          Cat("PTX line ", function.line, ": function ", function.name, " is defined twice"));
    }
    declared = std::move(function);
    return absl::OkStatus();
  }

  absl::Status FunctionDirectives(Function& function) {
    while (tokens_.Peek().kind == TokenKind::kWord) {
      const std::string_view word = tokens_.Peek().text;
      if (word == ".maxntid" || word == ".reqntid") {
        PTX_RETURN_IF_ERROR(tokens_.Advance());
        uint64_t size[3] = {1, 1, 1};
        for (int i = 0; i < 3; ++i) {
          PTX_RETURN_IF_ERROR(tokens_.ExpectUnsigned(1 << 16, &size[i], "a number of threads"));
          if (!tokens_.Is(',')) break;
          PTX_RETURN_IF_ERROR(tokens_.Advance());
        }
        function.threads_given = {static_cast<uint32_t>(size[0]), static_cast<uint32_t>(size[1]),
                                  static_cast<uint32_t>(size[2])};
        const uint64_t product = function.threads_given.Count();
        if (product == 0 || product > (1u << 20))
          return tokens_.Expected("a product of the threads between 1 and 1048576 before this");
        function.max_threads = static_cast<uint32_t>(product);
        function.exact_threads = word == ".reqntid";
      } else if (word == ".minnctapersm" || word == ".maxnctapersm" || word == ".maxnreg" ||
                 word == ".maxclusterrank" || word == ".reqnctapercluster" ||
                 word == ".abi_preserve" || word == ".abi_preserve_control") {
        PTX_RETURN_IF_ERROR(tokens_.Advance());
        uint64_t product = 1;
        for (;;) {
          uint64_t value = 0;
          PTX_RETURN_IF_ERROR(tokens_.ExpectUnsigned(1 << 16, &value, "a number"));
          product *= value;
          if (!tokens_.Is(',')) break;
          PTX_RETURN_IF_ERROR(tokens_.Advance());
        }
        if (word == ".reqnctapercluster" && product != 1) {
          return absl::UnimplementedError(Cat("PTX line ", tokens_.taken().line, ": clusters of ",
                                              product, " blocks are not emulated"));
        }
      } else if (word == ".pragma") {
        PTX_RETURN_IF_ERROR(tokens_.Advance());
        if (tokens_.Peek().kind != TokenKind::kString) return tokens_.Expected("a string");
        PTX_RETURN_IF_ERROR(tokens_.Advance());
        PTX_RETURN_IF_ERROR(tokens_.Expect(';'));
      } else if (word == ".noreturn" || word == ".explicitcluster" ||
                 word == ".blocksareclusters") {
        PTX_RETURN_IF_ERROR(tokens_.Advance());
      } else {
        return tokens_.Expected("a directive of a function, { or ;");
      }
    }
    return absl::OkStatus();
  }

  TokenStream& tokens_;
  Module& module_;
  std::unordered_map<std::string_view, uint32_t> names_;  // of variables
};

}  // namespace

absl::StatusOr<std::unique_ptr<Module>> Parse(std::string text) {
  auto module = std::make_unique<Module>();
  module->text = std::move(text);
  TokenStream tokens(module->text);
  PTX_RETURN_IF_ERROR(ModuleParser(tokens, *module).Run());
  return module;
}

}  // namespace weft::ptx
