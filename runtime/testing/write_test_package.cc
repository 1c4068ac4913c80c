// Writes the test package (plan_builder.h) to a file:  write_test_package FILE
#include <cstdio>

#include "proto/file.h"
#include "runtime/testing/plan_builder.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const absl::Status status =
      weft::WriteFileAtomically(argv[1], weft::plan_testing::MakeTestPackage().Bytes());
  if (!status.ok()) fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
