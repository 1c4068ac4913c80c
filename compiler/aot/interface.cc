#include "compiler/aot/interface.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/dim_expr.h"
#include "proto/plan.pb.h"

namespace weft {
namespace {

// Words that C (up to C23) or C++ (up to C++26) give a meaning of their own, but for those with an
// underscore in front.
constexpr char kKeywords[] =
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t "
    "char32_t char8_t class co_await co_return co_yield compl concept const const_cast consteval "
    "constexpr constinit continue contract_assert decltype default delete do double dynamic_cast "
    "else enum explicit export extern false float for friend goto if inline int long mutable "
    "namespace new noexcept not not_eq nullptr operator or or_eq private protected public "
    "register reinterpret_cast requires restrict return short signed sizeof static static_assert "
    "static_cast struct switch template this thread_local throw true try typedef typeid typename "
    "typeof typeof_unqual union unsigned using virtual void volatile wchar_t while xor xor_eq";
// Macros that compilers define, or programs often have from other headers, and what the header says
// where parameters stand.
constexpr char kTaken[] =
    "EOF NULL errno int16_t int32_t int64_t int8_t linux model size_t uint16_t uint32_t uint64_t "
    "uint8_t unix";

using Words = std::set<std::string, std::less<>>;

bool IsKeyword(std::string_view word) {
  static const auto* const kWords = new Words(absl::StrSplit(kKeywords, ' '));
  return kWords->count(word) > 0;
}

bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }

// Words that no parameter of the header can be named by: those above, those that are the language's
// or its implementation's ("_Bool", "__linux__"), and the macros of <stdint.h>.
bool IsTaken(std::string_view word) {
  static const auto* const kWords = new Words(absl::StrSplit(kTaken, ' '));
  if (IsKeyword(word) || kWords->count(word) > 0) return true;
  if (word.size() > 1 && word[0] == '_' && (word[1] == '_' || IsUpper(word[1]))) return true;
  // SIZE_MAX, INT_FAST8_MIN, WCHAR_WIDTH
  return !word.empty() && IsUpper(word[0]) &&
         (word.ends_with("_MAX") || word.ends_with("_MIN") || word.ends_with("_WIDTH"));
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsIdentifier(std::string_view name) {
  return !name.empty() && IsLetter(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) { return IsLetter(c) || IsDigit(c); });
}

// The name with '_' for what C does not allow, and behind a word that is taken.
std::string ToIdentifier(std::string_view name) {
  std::string result;
  if (name.empty() || IsDigit(name[0])) result = "_";
  for (const char c : name) result += IsLetter(c) || IsDigit(c) ? c : '_';
  if (IsTaken(result)) result += '_';
  return result;
}

// An identifier that is not among `used` yet; adds it.
std::string UniqueParameter(std::string_view name, std::set<std::string>* used) {
  const std::string base = ToIdentifier(name);
  std::string result = base;
  for (int i = 2; !used->insert(result).second; ++i) result = absl::StrCat(base, "_", i);
  return result;
}

class InterfaceBuilder {
 public:
  explicit InterfaceBuilder(const PackageManifest& manifest) : manifest_(manifest) {}

  absl::StatusOr<Interface> Build() {
    result_.prefix = manifest_.name();
    if (!IsIdentifier(result_.prefix) || IsKeyword(result_.prefix)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the model's name '", manifest_.name(),
          "' is to begin the names of C functions: expected letters, digits and '_', "
          "not beginning with a digit, and no word of the language; name the graph so"));
    }
    for (const char* name :
         {"model", "variable", "create", "destroy", "error", "unsupported", "target", "use_memory",
          "set_limits", "num_variables", "describe_variable", "get_variable", "set_variable",
          "save_variables", "load_variables"}) {
      functions_.emplace(absl::StrCat(result_.prefix, "_", name), "every model has");
    }
    for (const char* name : {"OK", "INVALID_ARGUMENT", "UNDEFINED_VARIABLE", "OUT_OF_MEMORY",
                             "RUN_FAILED", "FILE_ERROR", "DEADLINE_EXCEEDED", "CANCELLED"}) {
      functions_.emplace(absl::StrCat(absl::AsciiStrToUpper(result_.prefix), "_", name),
                         "every model has for a status");
    }
    for (const PackageVariable& variable : manifest_.variables()) {
      result_.variables.push_back({variable.name(),
                                   static_cast<DataType>(variable.dtype()),
                                   {variable.shape().begin(), variable.shape().end()}});
    }
    for (const PackageSignature& signature : manifest_.signatures()) {
      absl::Status status = AddSignature(signature);
      if (!status.ok()) return status;
    }
    return std::move(result_);
  }

 private:
  absl::Status AddFunction(const std::string& name, const std::string& signature) {
    auto [entry, inserted] =
        functions_.emplace(name, absl::StrCat("signature '", signature, "' has"));
    if (inserted) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("signature '", signature,
                                                   "' gives a C function ", name, ", which ",
                                                   entry->second, " too; rename the signature"));
  }

  absl::Status AddSignature(const PackageSignature& wire) {
    Interface::Signature signature;
    signature.name = wire.name();
    if (!IsIdentifier("_" + wire.name())) {
      return absl::InvalidArgumentError(
          absl::StrCat("signature '", wire.name(),
                       "' is to be the name of a C function: expected letters, digits and '_'; "
                       "rename the signature"));
    }
    signature.function = absl::StrCat(result_.prefix, "_", wire.name());
    signature.peak_bytes_function = signature.function + "_peak_bytes";
    for (const std::string& name : {signature.function, signature.peak_bytes_function}) {
      absl::Status status = AddFunction(name, wire.name());
      if (!status.ok()) return status;
    }
    std::set<std::string> used;
    for (const PackageValue& input : wire.inputs()) {
      for (const std::string& dim : input.shape()) {
        auto expression = DimExpr::Parse(dim);
        if (!expression.ok()) return expression.status();
        for (const std::string& symbol : expression->Symbols()) {
          if (std::count(signature.symbols.begin(), signature.symbols.end(), symbol) > 0) continue;
          signature.symbols.push_back(symbol);
          signature.symbol_parameters.push_back(UniqueParameter(symbol, &used));
        }
      }
    }
    for (const PackageValue& value : wire.inputs()) {
      signature.inputs.push_back(MakeTensor(value, &used));
    }
    for (const PackageValue& value : wire.outputs()) {
      Interface::Tensor tensor = MakeTensor(value, &used);
      const bool open = std::any_of(tensor.shape.begin(), tensor.shape.end(),
                                    [](const std::string& dim) { return !IsDigit(dim[0]); });
      if (open) {
        tensor.bytes_function = absl::StrCat(signature.function, "_", tensor.parameter, "_bytes");
        absl::Status status = AddFunction(tensor.bytes_function, wire.name());
        if (!status.ok()) return status;
      }
      signature.outputs.push_back(std::move(tensor));
    }
    result_.signatures.push_back(std::move(signature));
    return absl::OkStatus();
  }

  static Interface::Tensor MakeTensor(const PackageValue& value, std::set<std::string>* used) {
    Interface::Tensor tensor;
    tensor.name = value.name();
    tensor.parameter = UniqueParameter(value.name(), used);
    tensor.dtype = static_cast<DataType>(value.dtype());
    tensor.shape.assign(value.shape().begin(), value.shape().end());
    return tensor;
  }

  const PackageManifest& manifest_;
  Interface result_;
  std::map<std::string, std::string> functions_;  // name -> who has it
};

}  // namespace

absl::StatusOr<Interface> MakeInterface(const PackageManifest& manifest) {
  return InterfaceBuilder(manifest).Build();
}

}  // namespace weft
