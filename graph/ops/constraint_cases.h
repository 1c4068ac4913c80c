// Cases for the rules of the op table: for each op a node that is good, with the types that
// inference gives, and for each numbered constraint one that breaks it.
#ifndef WEFT_GRAPH_OPS_CONSTRAINT_CASES_H_
#define WEFT_GRAPH_OPS_CONSTRAINT_CASES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "graph/graph.h"

namespace weft {

struct AttributeValue
    : std::variant<int64_t, bool, std::string, DataType, Shape, std::vector<int64_t>> {
  using variant::variant;
};

struct ConstraintCase {
  std::string op;
  int constraint = 0;  // 0 for the good one
  // Types such as "f32[batch, 3]", and the attributes.
  std::vector<std::string> operands = {};
  std::vector<std::pair<std::string, AttributeValue>> attributes = {};
  std::vector<std::string> results = {};  // of the good one
  // Instead of operands and attributes: builds something in a graph that has no error yet.
  std::function<void(Graph&)> build = nullptr;
  // Tells cases of one constraint apart, where it has several parts: "matmul_c2_rank".
  std::string part = {};
};

// "matmul_c2"; "matmul" for the good one.
std::string NameOf(const ConstraintCase& c);

const std::vector<ConstraintCase>& ConstraintCases();

}  // namespace weft

#endif  // WEFT_GRAPH_OPS_CONSTRAINT_CASES_H_
