// A first look at every row of a table: what kind of columns it has.
#ifndef WEFT_TOOLS_DATA_CSV_SURVEY_H_
#define WEFT_TOOLS_DATA_CSV_SURVEY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/data/csv.h"
#include "tools/data/csv_rows.h"

namespace weft {

// Different values of a column of text at most.
inline constexpr size_t kMaxCategories = 256;

// "inf" is a number here; "nan" is none, but a missing value.
std::optional<double> NumberOf(std::string_view field);
bool IsMissing(std::string_view field);

// What the rows below the first say about a column; missing fields say nothing.
struct ColumnSurvey {
  bool all_numbers = true;
  int64_t present = 0, numbers = 0;
  double sum = 0;
  std::set<std::string> values;  // until there are too many
  bool first_is_number = false;  // of the first row
  bool first_recurs = false;
  std::string text;  // the first field that is no number, and its line
  int64_t text_line = 0;

  void Add(std::string_view field, int64_t line);
  // "'oops' in line 7 is no number".
  std::string WhyText() const;
  // Whether it is text by mistake, it seems: most fields are numbers, or would be with a decimal
  // point in the place of a comma.
  bool IsRatherNumbers() const;
};

struct Survey {
  std::vector<std::string> first;  // the first row
  int64_t first_line = 1;
  std::vector<ColumnSurvey> columns;
  int64_t rows = 0;  // with the first
};

// Error: InvalidArgument, with the line, where rows differ in length; where there are none.
absl::StatusOr<Survey> SurveyRows(const CsvRows& rows);

// Whether the first row holds names.
bool HasHeader(const Survey& survey, Header header);

// Whether a target looks like classes.
bool AssumeClasses(const ColumnSurvey& column);

}  // namespace weft

#endif  // WEFT_TOOLS_DATA_CSV_SURVEY_H_
