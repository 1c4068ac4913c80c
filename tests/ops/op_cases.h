// Small graphs around each op, from which the numeric tests are generated: gradients against finite
// differences, compiled code against the reference evaluator. Element-wise ops get theirs from the
// op table; the others from the list in op_cases.cc, and an op that is missing there fails
// OpCases.EveryOpHasCases.
#ifndef WEFT_TESTS_OPS_OP_CASES_H_
#define WEFT_TESTS_OPS_OP_CASES_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "graph/ops/op_info.h"
#include "proto/host_tensor.h"

namespace weft {

// One operand.
struct InputSpec {
  enum class Kind {
    kData,   // of the dtype under test, within the op's test domain or [low, high]
    kIndex,  // i32 in [low, high]
    kI64,    // i64 in [low, high]
    kBool,
  };
  std::vector<int64_t> shape;
  Kind kind = Kind::kData;
  std::optional<double> low = {}, high = {};
};

struct OpCase {
  std::string name;  // "matmul/transposed"; unique
  std::string op;
  std::vector<InputSpec> inputs;
  // The op (or a small composition around it) on the inputs. The first result is differentiated.
  std::function<std::vector<Tensor>(Graph&, const std::vector<Tensor>&)> build;
  // Whether finite differences apply: not where a result is quantised, say.
  bool gradient = true;
  // The composition around the op wants arithmetic or fractions.
  bool floats_only = false;
  // For each input, the axes whose size may be open: `build` takes sizes from the inputs there.
  // nullopt: all axes of ops whose attributes name no sizes, none of others.
  std::optional<std::vector<std::vector<int>>> open = {};
};

// Whether the case can be built over inputs of which some sizes are open.
bool CanBeOpen(const OpCase& c);

// The cases of an op; empty where it has none, which is right for the ops of OpsWithoutCases alone.
std::vector<OpCase> CasesOf(const OpInfo& op);
// Declarations and terminators, which cannot be built by themselves, each with the reason.
const std::vector<std::pair<std::string, std::string>>& OpsWithoutCases();

// The size that an open dimension has in a run, from its size in the case.
using Resize = int64_t (*)(int64_t size);

// Elements of an operand, the same for the same case, place, dtype and sizes. With `resize`, for
// the case built with open dimensions, which then have other sizes.
HostTensor DrawInput(const OpCase& c, size_t index, DataType dtype, Resize resize = nullptr);
// The graph's input for it, named "x<index>"; where `open`, sizes above 1 that may be are open
// dimensions, of one name where they are equal in the case.
Tensor MakeInput(Graph& graph, const OpCase& c, size_t index, DataType dtype, bool open = false);
// The dtypes under which the case can be built: those of the op's entry, or the floats among them.
std::vector<DataType> DTypesOf(const OpCase& c);

}  // namespace weft

#endif  // WEFT_TESTS_OPS_OP_CASES_H_
