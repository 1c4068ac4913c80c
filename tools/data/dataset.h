// Data to train on and evaluate with: named arrays with one row per example.
#ifndef WEFT_TOOLS_DATA_DATASET_H_
#define WEFT_TOOLS_DATA_DATASET_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/host_tensor.h"
#include "tools/data/csv.h"

namespace weft {

// Immutable once loaded; copies share the arrays.
struct DataSet {
  // Every array's first dimension is `num_rows`.
  std::map<std::string, HostTensor> arrays;
  int64_t num_rows = 0;
  // Where it came from a table: how the columns became x and y. Its x and y are those in `arrays`.
  std::optional<CsvData> table;
  // "x f32[392, 9], y f32[392, 1]".
  std::string Describe() const;
};

struct LoadOptions {
  CsvOptions csv;
};

// Loads one or more files into one data set. A specification is "PATH" or "NAME=PATH"; the kind of
// a file is told by its contents, and by its name where those leave it open:
//   .npz               each of its arrays under its own name
//   .npy               one array: NAME, or x
//   idx, idx.gz        one array: NAME, or x where it has two dimensions or more, else y
//   csv, tsv, csv.gz   x and y (tools/data/csv.h)
// Error: InvalidArgument, naming the file, on damage, on two arrays of one name, on an array
// without elements, or on arrays with different numbers of rows.
absl::StatusOr<DataSet> LoadDataSet(const std::vector<std::string>& specifications,
                                    const LoadOptions& options = {});

// The numbers 0 to n-1 in an order that depends on nothing but the arguments, on any machine
// (Fisher-Yates on SplitMix64).
std::vector<int64_t> Shuffled(int64_t n, uint64_t seed);

// Splits row numbers by Shuffled(n, seed): its end tests, what lies before that validates, the rest
// trains; so the test rows stay the same whatever share validates. Shares of the rows are rounded,
// but at least one row where a share is above 0. All are sorted.
struct Split {
  std::vector<int64_t> training, validation, test;
};
Split SplitRows(int64_t n, double validation, double test, uint64_t seed);

// Mean and standard deviation of each feature (the elements of a row) over some rows. A feature
// that does not change has deviation 1, so that dividing by it is safe.
struct Statistics {
  HostTensor mean, deviation;  // f32, of the shape of a row
};
Statistics StatisticsOf(const HostTensor& array, const std::vector<int64_t>& rows);

}  // namespace weft

#endif  // WEFT_TOOLS_DATA_DATASET_H_
