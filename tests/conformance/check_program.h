// Compiled programs beside the reference evaluator.
#ifndef WEFT_TESTS_CONFORMANCE_CHECK_PROGRAM_H_
#define WEFT_TESTS_CONFORMANCE_CHECK_PROGRAM_H_

#include <string>

#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/random_program.h"

namespace weft {

// Of `all`, what the signature takes.
inline NamedTensors FeedsOf(const Session& session, const std::string& signature,
                            const TensorMap& all) {
  NamedTensors feeds;
  for (const auto& each : session.Signatures()) {
    if (each.name != signature) continue;
    for (const auto& input : each.inputs) feeds[input.name] = all.at(input.name);
  }
  return feeds;
}

inline void ExpectEqual(const HostTensor& compiled, const HostTensor& reference,
                        const std::string& what) {
  ASSERT_EQ(compiled.shape(), reference.shape()) << what;
  EXPECT_EQ(compiled.ToString(1 << 20), reference.ToString(1 << 20)) << what;
}

// Two runs of the program give exactly what the reference evaluator gives, values of variables
// included: the second starts from what the first one assigned. With open sizes there are no
// variables, and no signature that gives them values.
inline void ExpectRunsOfReference(Session& session, const RandomProgram& program, bool open) {
  Interpreter interpreter(program.graph);
  ASSERT_TRUE(interpreter.Initialize().ok());
  if (!open) {
    const absl::Status initialized = session.Run("init", {}).status();
    ASSERT_TRUE(initialized.ok()) << initialized;
  }
  const NamedTensors feeds = FeedsOf(session, "run", program.feeds);
  for (int run = 0; run < 2; ++run) {
    const auto reference = interpreter.RunSignature("run", program.feeds);
    ASSERT_TRUE(reference.ok()) << reference.status();
    const auto compiled = session.Run("run", feeds);
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    for (const auto& [name, value] : *reference) ExpectEqual(compiled->at(name), value, name);
    for (const auto& [name, value] : interpreter.variables()) {
      const auto variable = session.GetVariable(name);
      ASSERT_TRUE(variable.ok()) << variable.status();
      ExpectEqual(*variable, value, name);
    }
  }
}

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_CHECK_PROGRAM_H_
