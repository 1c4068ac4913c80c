// From a compiled package to one relocatable object.
#ifndef WEFT_COMPILER_AOT_OBJECT_H_
#define WEFT_COMPILER_AOT_OBJECT_H_

#include <string>

#include "absl/status/statusor.h"
#include "compiler/aot/package_model.h"

namespace weft {

enum class ObjectKind {
  kLibrary,  // exports the functions of the interface, and nothing else
  kProgram,  // exports _start: the main program of compiler/aot/support/main.cc
};

// The bytes of an ELF object that holds the kernels, constants and first values, the plans as
// tables, the executor, and the functions of the interface. It refers to functions of libc and
// pthreads only. Position-independent. Error: ResourceExhausted where the model's constants pass
// what the small code model can address, Internal where LLVM refuses.
absl::StatusOr<std::string> MakeObject(const PackageModel& model, ObjectKind kind);

}  // namespace weft

#endif  // WEFT_COMPILER_AOT_OBJECT_H_
