// The model whose files are in tests/compat, and how they are run.
#ifndef WEFT_TESTS_COMPAT_FIXTURE_H_
#define WEFT_TESTS_COMPAT_FIXTURE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/host_tensor.h"
#include "runtime/session.h"

namespace weft {

// The signatures that are run, in this order, from the variables' first values on: training comes
// before predictions with what it gives.
const std::vector<std::string>& FixtureSignatures();

// How sessions of the fixture find the device that its nodes are placed on: it is this processor.
SessionOptions OptionsOfFixture();

// Runs each of them with its inputs "in/<signature>/<name>"; gives "out/<signature>/<name>".
absl::StatusOr<NamedTensors> RunFixture(Session& session, const NamedTensors& values);

}  // namespace weft

#endif  // WEFT_TESTS_COMPAT_FIXTURE_H_
