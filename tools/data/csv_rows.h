// Splits the text of a table into rows and fields.
#ifndef WEFT_TOOLS_DATA_CSV_ROWS_H_
#define WEFT_TOOLS_DATA_CSV_ROWS_H_

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace weft {

class CsvRows {
 public:
  // The text must outlive this. A byte-order mark is skipped. The delimiter is the one of , ; tab |
  // that the first row has most often outside quotes.
  explicit CsvRows(std::string_view text);

  // Valid until the next row. Fields are without surrounding spaces and quotes; "" in a quoted
  // field is one quote.
  using Fields = std::vector<std::string_view>;
  // Calls `row` with each row that is not blank, and the line it starts on (from 1), until it
  // fails. Error: InvalidArgument on a quote that is not closed, or text after a closing quote;
  // whatever `row` returns.
  absl::Status ForEach(const std::function<absl::Status(int64_t line, const Fields&)>& row) const;

  char delimiter() const { return delimiter_; }

 private:
  std::string_view text_;
  char delimiter_ = ',';
};

}  // namespace weft

#endif  // WEFT_TOOLS_DATA_CSV_ROWS_H_
