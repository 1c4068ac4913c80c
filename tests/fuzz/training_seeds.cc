// Writes the seeds of the target `checkpoint`:  training_seeds FOLDER
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "proto/file.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string history =
      R"([{"epoch": 1, "training": {"loss": 0.5}, "validation": {"loss": 0.25, "accuracy": 1}},)"
      R"( {"epoch": 2, "training": {"loss": 0.125}, "validation": {"loss": 1e300}}])";
  const std::string metrics = R"({"rows": 6, "sums": {"loss": 1.5}})";
  const std::vector<std::pair<std::string, std::string>> seeds = {
      {"done", "2\n\n\n\n" + history},
      {"unfinished", "2\n3\n" + metrics + "\n8 rows by 2, seed 0\n" + history},
      {"first", "0\n1\n" + metrics + "\n8 rows by 2, seed 0\n[]"},
      {"ahead", "1\n\n\n\n" + history},
  };
  for (const auto& [name, bytes] : seeds) {
    const absl::Status status = weft::WriteFileAtomically(std::string(argv[1]) + "/" + name, bytes);
    if (!status.ok()) {
      fprintf(stderr, "%s\n", std::string(status.message()).c_str());
      return 1;
    }
  }
  return 0;
}
