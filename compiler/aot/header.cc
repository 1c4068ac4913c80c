// The C header of an artifact.
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "compiler/aot/interface.h"

namespace weft {
namespace {

std::string_view CType(DataType dtype) {
  switch (dtype) {
    case DataType::kBool:
    case DataType::kU8:
      return "uint8_t";
    case DataType::kI8:
      return "int8_t";
    case DataType::kI32:
      return "int32_t";
    case DataType::kI64:
      return "int64_t";
    case DataType::kF16:
    case DataType::kBF16:
      return "uint16_t";
    case DataType::kF64:
      return "double";
    case DataType::kF32:
    case DataType::kInvalid:
      break;
  }
  return "float";
}

// What the C type does not tell of an element.
std::string_view Remark(DataType dtype) {
  switch (dtype) {
    case DataType::kBool:
      return "; each 0 or 1";
    case DataType::kF16:
      return "; IEEE half precision as bits";
    case DataType::kBF16:
      return "; the upper half of an f32 as bits";
    default:
      return "";
  }
}

// Text for a comment: what would end it, or trigraphs, cannot be in there.
std::string InComment(std::string_view text) {
  return absl::StrReplaceAll(std::string(text),
                             {{"*/", "* /"}, {"/*", "/ *"}, {"\n", " "}, {"??", "? ?"}});
}

std::string TypeText(DataType dtype, const std::vector<std::string>& shape) {
  return absl::StrCat(std::string(NameOf(dtype)), "[", InComment(absl::StrJoin(shape, ", ")), "]");
}

std::string TensorLine(const Interface::Tensor& tensor) {
  const std::string name = InComment(tensor.name);
  return absl::StrCat(" *   ", tensor.parameter, ": ", TypeText(tensor.dtype, tensor.shape),
                      tensor.name == tensor.parameter ? "" : absl::StrCat(" (", name, ")"),
                      std::string(Remark(tensor.dtype)), "\n");
}

constexpr char kTop[] =
    R"(/* $P: a model compiled ahead of time by Weft. Generated: do not edit. C99 and C++.
 *
 * Link with -lpthread; nothing else is needed. An instance holds the model's variables, threads and
 * memory. One thread at a time may use an instance; different instances are independent.
 *
 * Functions that return int return $U_OK, or another status, and then $P_error says what is wrong.
 *
 * Tensors are arrays in row-major order that belong to the caller and do not overlap. One that
 * starts at a multiple of 64 bytes is used in place, another is copied. An output may be null where
 * it is not wanted. Open dimensions are arguments: one function serves all sizes.
 *
 * Beside the function that runs a signature, there is ..._peak_bytes for the exact bytes of memory
 * that a run takes whose tensors are all given and start at multiples of 64 bytes, and ..._bytes for
 * those of an output whose size depends on arguments. Both return -1 on an error.
 */
#ifndef $U_WEFT_MODEL_H_
#define $U_WEFT_MODEL_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct $P_model $P_model;

enum {
  $U_OK = 0,
  $U_INVALID_ARGUMENT = 1,
  $U_UNDEFINED_VARIABLE = 2, /* initialize, load, or set it first */
  $U_OUT_OF_MEMORY = 3,
  $U_RUN_FAILED = 4, /* an assertion does not hold, or a loop passes its limit */
  $U_FILE_ERROR = 5,
  $U_DEADLINE_EXCEEDED = 6, /* see $P_set_limits */
  $U_CANCELLED = 7
};

/* An instance that computes with `threads` threads, the calling one included; 0 means one for each
 * core. Results do not depend on it. Null where memory is short, or where $P_unsupported says why.
 */
$P_model* $P_create(int threads);
void $P_destroy($P_model* model); /* null is allowed */

/* What is wrong, after a function has failed on this instance; valid until the next one fails. */
const char* $P_error(const $P_model* model);

/* Why this processor cannot run the model; null where it can. */
const char* $P_unsupported(void);
/* The kind of processor whose code runs: "cpu:x86-64-v4". */
const char* $P_target(const $P_model* model);

/* Runs use `memory` (aligned to 64 bytes) from now on and allocate nothing; the caller keeps it
 * until the instance is destroyed or is given other memory. With null, as at first, an instance
 * allocates what it needs and keeps it. */
int $P_use_memory($P_model* model, void* memory, int64_t bytes);

/* Ends the instance's runs early, from now on: with $U_DEADLINE_EXCEEDED where one is not done
 * `timeout_seconds` after it began (0: no limit), with $U_CANCELLED where *cancel is not 0 (null:
 * never). Another thread may write to *cancel at any time; the byte must live until the next call of
 * this function or the instance's end. Both are looked at between the steps of a run and between the
 * pieces that a step is computed in, until the run begins to write variables: those change all
 * together or not at all. After such an end, outputs are undefined and the instance is as good as
 * before. */
int $P_set_limits($P_model* model, double timeout_seconds, const volatile uint8_t* cancel);
)";

constexpr char kVariables[] = R"(
typedef struct $P_variable {
  const char* name;
  const char* dtype; /* "f32" */
  const int64_t* shape;
  int32_t rank;
  int32_t reserved;
  int64_t bytes;
} $P_variable;

/* Variables, by name and by index:
$V */
int $P_num_variables(void);
/* Fails where `index` is not 0 ... $P_num_variables() - 1. */
int $P_describe_variable(int index, $P_variable* description);
/* Copy all elements; `bytes` is the variable's size. */
int $P_get_variable($P_model* model, const char* name, void* values, int64_t bytes);
int $P_set_variable($P_model* model, const char* name, const void* values, int64_t bytes);
/* All variables to a safetensors file, written atomically, and from one: all or, on a failure,
 * none. Tensors of the file that are no variables are passed over. A file is mapped while it is
 * loaded: put another in its place by renaming, as saving does, never by writing to it. */
int $P_save_variables($P_model* model, const char* path);
int $P_load_variables($P_model* model, const char* path);
)";

constexpr char kBottom[] = R"(
#ifdef __cplusplus
}
#endif

#endif /* $U_WEFT_MODEL_H_ */
)";

std::string SignatureText(const Interface& interface, const Interface::Signature& signature) {
  std::vector<std::string> sizes = {absl::StrCat(interface.prefix, "_model* model")};
  for (const std::string& symbol : signature.symbol_parameters) {
    sizes.push_back(absl::StrCat("int64_t ", symbol));
  }
  std::vector<std::string> parameters = sizes;
  std::string text = absl::StrCat("\n/* Signature ", signature.name, ".\n");
  if (!signature.inputs.empty()) absl::StrAppend(&text, " * Inputs:\n");
  for (const Interface::Tensor& tensor : signature.inputs) {
    absl::StrAppend(&text, TensorLine(tensor));
    parameters.push_back(
        absl::StrCat("const ", std::string(CType(tensor.dtype)), "* ", tensor.parameter));
  }
  if (!signature.outputs.empty()) absl::StrAppend(&text, " * Outputs:\n");
  for (const Interface::Tensor& tensor : signature.outputs) {
    absl::StrAppend(&text, TensorLine(tensor));
    parameters.push_back(absl::StrCat(std::string(CType(tensor.dtype)), "* ", tensor.parameter));
  }
  absl::StrAppend(&text, " */\nint ", signature.function, "(", absl::StrJoin(parameters, ", "),
                  ");\nint64_t ", signature.peak_bytes_function, "(", absl::StrJoin(sizes, ", "),
                  ");\n");
  for (const Interface::Tensor& tensor : signature.outputs) {
    if (tensor.bytes_function.empty()) continue;
    absl::StrAppend(&text, "int64_t ", tensor.bytes_function, "(", absl::StrJoin(sizes, ", "),
                    ");\n");
  }
  return text;
}

}  // namespace

std::string WriteHeader(const Interface& interface) {
  std::string variables;
  for (const Interface::Variable& variable : interface.variables) {
    std::vector<std::string> shape;
    for (const int64_t dim : variable.shape) shape.push_back(absl::StrCat(dim));
    absl::StrAppend(&variables, " *   ", InComment(variable.name), ": ",
                    TypeText(variable.dtype, shape), std::string(Remark(variable.dtype)), "\n");
  }
  if (interface.variables.empty()) variables = " *   (none)\n";
  const std::vector<std::pair<std::string, std::string>> names = {
      {"$P", interface.prefix}, {"$U", absl::AsciiStrToUpper(interface.prefix)}, {"$V", variables}};
  std::string text = absl::StrReplaceAll(kTop, names);
  for (const Interface::Signature& signature : interface.signatures) {
    absl::StrAppend(&text, SignatureText(interface, signature));
  }
  absl::StrAppend(&text, absl::StrReplaceAll(kVariables, names),
                  absl::StrReplaceAll(kBottom, names));
  return text;
}

}  // namespace weft
