// Taking a training run up again: whether it is the run that a checkpoint is of.
#ifndef WEFT_TOOLS_WEFT_RESUME_H_
#define WEFT_TOOLS_WEFT_RESUME_H_

#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/weft/models.h"

namespace weft::cli {

// What the metadata of a checkpoint says about its run, besides how far it was (trainer.h):
//   model, options             what weft train was given; options as JSON, of mlp and cnn alone
//   graph                      FingerprintOf the graph (fingerprint.h)
//   seed                       of split and order
//   classes, features, target  of a table, as JSON
using RunFacts = std::map<std::string, std::string>;

// The options of a standard model by their names on the command line, as JSON.
std::string OptionsText(const StandardModelOptions& options);

// Of FOLDER/last.safetensors; kBadInput where that cannot be read.
absl::StatusOr<RunFacts> FactsOfCheckpoint(const std::string& folder);

// Whether a run with the facts `now` can go on from `before`. Facts that one of them lacks are not
// compared, nor are options that are not in `given`, those named on the command line. kUsage or
// kBadInput where it cannot.
absl::Status CheckSameRun(const RunFacts& before, const RunFacts& now,
                          const std::set<std::string>& given, const std::string& folder);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_RESUME_H_
