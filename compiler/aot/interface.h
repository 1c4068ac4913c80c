// What an artifact exports: the C functions of a package's signatures and variables.
#ifndef WEFT_COMPILER_AOT_INTERFACE_H_
#define WEFT_COMPILER_AOT_INTERFACE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/dtype.h"

namespace weft {

class PackageManifest;  // proto/plan.proto

struct Interface {
  struct Tensor {
    std::string name;       // in the graph
    std::string parameter;  // in C
    DataType dtype;
    std::vector<std::string> shape;  // "batch", "784"
    // Outputs with open dimensions: the function that says how many bytes it has; otherwise empty.
    std::string bytes_function;
  };
  struct Signature {
    std::string name;
    std::string function;             // PREFIX_NAME
    std::string peak_bytes_function;  // PREFIX_NAME_peak_bytes
    // Names of the open dimensions in the order of arguments, and as parameters.
    std::vector<std::string> symbols;
    std::vector<std::string> symbol_parameters;
    std::vector<Tensor> inputs, outputs;
  };
  struct Variable {
    std::string name;
    DataType dtype;
    std::vector<int64_t> shape;
  };

  std::string prefix;  // the model's name
  std::vector<Signature> signatures;
  std::vector<Variable> variables;
};

// Error (InvalidArgument): the model's name or a signature's is no C identifier, or two functions
// would have one name; says what to rename.
absl::StatusOr<Interface> MakeInterface(const PackageManifest& manifest);

// The header, in C and C++, that declares it. `guard` is a name for the include guard.
std::string WriteHeader(const Interface& interface);

}  // namespace weft

#endif  // WEFT_COMPILER_AOT_INTERFACE_H_
