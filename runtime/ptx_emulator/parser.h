#ifndef WEFT_RUNTIME_PTX_EMULATOR_PARSER_H_
#define WEFT_RUNTIME_PTX_EMULATOR_PARSER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/ptx_emulator/syntax.h"

namespace weft::ptx {

// Parses the text of one PTX module. InvalidArgument names the line and what was expected there. No
// text crashes it, and memory and time are linear in the length of the text.
absl::StatusOr<std::unique_ptr<Module>> Parse(std::string text);

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_PARSER_H_
