// Tables in text: CSV (RFC 4180) and its relatives with ';', tab or '|' between fields.
#ifndef WEFT_TOOLS_DATA_CSV_H_
#define WEFT_TOOLS_DATA_CSV_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/host_tensor.h"

namespace weft {

enum class Task { kAutomatic, kRegression, kClassification };
enum class Header { kAutomatic, kPresent, kAbsent };
// What becomes of a row with an empty field, "NA", "N/A", "NaN", "null", "none" or "?".
enum class Missing { kRefuse, kDropRow, kMean };

struct CsvOptions {
  std::string target;               // empty: the last column
  std::vector<std::string> ignore;  // columns to leave out
  // kAutomatic: classification where the target is text, or whole numbers of at most 20 kinds, each
  // of them 5 times on average; regression otherwise.
  Task task = Task::kAutomatic;
  // kAutomatic: the first row is a header where it has text above a column of numbers, or where no
  // column is of numbers and no field of it comes again below.
  Header header = Header::kAutomatic;
  Missing missing = Missing::kRefuse;
  // For files that go with an earlier one, such as a test set beside its training set: the classes,
  // categories and means of that one, so that both encode alike.
  const struct CsvData* like = nullptr;
};

struct CsvColumn {
  std::string name;
  // Empty for a column of numbers. Otherwise the values it takes, sorted; it becomes one column of
  // zeros and ones for each.
  std::vector<std::string> categories;
  double mean = 0;  // of the numbers there are: what Missing::kMean fills in
};

struct CsvData {
  HostTensor x;                    // f32 [rows, features]
  HostTensor y;                    // regression: f32 [rows, 1]; classification: i32 [rows]
  std::vector<CsvColumn> columns;  // those that x is made of, in order
  std::string target;
  // Classification: what the numbers in y stand for (sorted; as numbers where they are numbers).
  std::vector<std::string> classes;
  int64_t dropped_rows = 0;
  // What may not be meant so: a column of numbers that is taken as text for some field of it.
  std::vector<std::string> notes;
  bool classification() const { return !classes.empty(); }
  // Names of x's features: "weight", "origin=USA".
  std::vector<std::string> FeatureNames() const;
};

// Error (InvalidArgument), with the line: a row with more or fewer fields than the first, an open
// quote, a missing value where that is refused, a number that f32 does not hold (also "inf"), two
// columns of one name, no rows, a column of text with more than 256 different values. A column
// without a name is called "column" and its number. FailedPrecondition: a name in `options` that no
// column has (the nearest is suggested).
absl::StatusOr<CsvData> ParseCsv(std::string_view text, const CsvOptions& options = {});

}  // namespace weft

#endif  // WEFT_TOOLS_DATA_CSV_H_
