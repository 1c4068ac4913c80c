#ifndef WEFT_RUNTIME_PTX_EMULATOR_SYNTAX_H_
#define WEFT_RUNTIME_PTX_EMULATOR_SYNTAX_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/ptx_emulator/types.h"

// PTX text as a tree: what the parser makes and the decoder reads. All names point into the text,
// which Module::text owns.
namespace weft::ptx {

// What is known of the source of an instruction: from .loc.
struct SourceLine {
  int file = 0;  // key of Module::files; 0: unknown
  int line = 0;
};

struct Initializer {
  // A pointer to a symbol, written over `bytes`.
  struct Address {
    uint64_t offset = 0;
    std::string_view symbol;
    int64_t addend = 0;
    int size = 8;
  };
  std::vector<uint8_t> bytes;  // may be shorter than the variable: the rest is zero
  std::vector<Address> addresses;
};

struct Variable {
  std::string_view name;
  int line = 0;
  Space space = Space::kGlobal;
  Type type = Type::kB8;
  uint32_t alignment = 1;
  uint64_t bytes = 0;
  bool dynamic = false;  // .extern .shared x[]: as long as the launch says
  bool external = false;
  bool initialized = false;
  Initializer initializer;
};

struct Operand {
  enum class Kind : uint8_t {
    kNone,
    kRegister,  // index: of Function::registers
    kSpecial,   // name: "%tid.x"
    kVariable,  // index: of Function::variables, of Module::variables where `module_scope`; plus
                // `offset`
    kName,      // a label or a function
    kInteger,   // value
    kFloat32,   // value: bits
    kFloat64,   // value: bits
    kAddress,   // elements[0] is the base, which may be an integer; `offset`; further elements are
                // what follows in the brackets
    kVector,    // {a, b}
    kList,      // (a, b)
    kPair,      // a|b
    kNot,       // !a
    kSink,      // _
  };
  Kind kind = Kind::kNone;
  bool module_scope = false;
  uint32_t index = 0;
  std::string_view name;
  uint64_t value = 0;
  int64_t offset = 0;
  std::vector<Operand> elements;
};

struct Statement {
  int line = 0;
  SourceLine source;
  int scope = 0;            // for the look-up of labels
  std::string_view opcode;  // with its modifiers
  int guard = -1;           // register of @%p
  bool guard_negated = false;
  std::vector<Operand> operands;
};

struct Label {
  std::string_view name;
  int line = 0;
  int scope = 0;
  uint32_t statement = 0;                 // the one that follows
  bool is_table = false;                  // .branchtargets
  std::vector<std::string_view> targets;  // of the table
};

struct Register {
  std::string_view name;
  Type type = Type::kB32;
  std::string Name() const;
  int number = -1;  // of %r<N>; -1: the name is whole
};

struct Function {
  std::string_view name;
  int line = 0;
  bool is_entry = false;
  bool has_body = false;
  // The parameters and results are the first of `variables`.
  uint32_t parameters = 0;
  uint32_t results = 0;  // follow the parameters
  std::vector<Variable> variables;
  std::vector<Register> registers;  // those that are used
  std::vector<Statement> statements;
  std::vector<Label> labels;
  std::vector<int> scope_parents;  // scope 0 is the body
  uint32_t max_threads = 0;        // .maxntid, .reqntid: product; 0: not given
  bool exact_threads = false;      // .reqntid
  Dim3 threads_given;              // as written
};

struct Module {
  std::string text;
  int version_major = 0, version_minor = 0;
  int sm = 0;                   // 80 of sm_80
  bool sm_accelerated = false;  // sm_90a
  std::map<int, std::string> files;
  std::vector<Variable> variables;
  std::vector<Function> functions;
  std::unordered_map<std::string_view, size_t> function_index;  // by name

  const Function* FindFunction(std::string_view name) const;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_SYNTAX_H_
