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
  const std::string options =
      R"({"--dropout": 0, "--hidden": [8], "--learning-rate": 0.002, "--weight-decay": null})";
  // What the run is of: graph, seed, classes, features, target.
  const std::string of = "00000000-1\n0\n[\"a\"]\n[\"x\"]\n\"species\"\n";
  const std::string none = "\n\n\n\n\n\n\n";
  const std::vector<std::pair<std::string, std::string>> seeds = {
      {"done", "2\n\n\n\nmlp\n" + options + "\n" + of + history},
      {"unfinished", "2\n3\n" + metrics + "\n8 rows by 2, seed 0\n" + none + history},
      {"first", "0\n1\n" + metrics + "\n8 rows by 2, seed 0\nmlp\n\n" + of + "[]"},
      {"ahead", "1\n\n\n\n" + none + history},
      {"nested", "1\n\n\n\nmlp\n{\"--hidden\": [[8]]}\n" + of + history},
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
