#include "tools/data/csv_rows.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/printable.h"

namespace weft {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

std::string_view Trimmed(std::string_view s) {
  while (!s.empty() && (IsBlank(s.front()) || s.front() == '\r')) s.remove_prefix(1);
  while (!s.empty() && (IsBlank(s.back()) || s.back() == '\r')) s.remove_suffix(1);
  return s;
}

// Walks the text field by field.
class Scanner {
 public:
  Scanner(std::string_view text, char delimiter) : text_(text), delimiter_(delimiter) {}

  bool AtEnd() const { return at_ >= text_.size(); }
  int64_t line() const { return line_; }

  // Reads a row; `fields` is left empty for a blank line.
  absl::Status Row(CsvRows::Fields& fields) {
    fields.clear();
    unquoted_.clear();
    const int64_t start = line_;
    while (true) {
      while (at_ < text_.size() && text_[at_] != delimiter_ && IsBlank(text_[at_])) ++at_;
      if (at_ < text_.size() && text_[at_] == '"') {
        absl::Status status = Quoted(start, fields);
        if (!status.ok()) return status;
      } else {
        const size_t from = at_;
        while (at_ < text_.size() && text_[at_] != delimiter_ && text_[at_] != '\n') ++at_;
        fields.push_back(Trimmed(text_.substr(from, at_ - from)));
      }
      if (at_ >= text_.size() || text_[at_++] == '\n') break;
    }
    ++line_;
    if (fields.size() == 1 && fields[0].empty()) fields.clear();
    return absl::OkStatus();
  }

 private:
  absl::Status Quoted(int64_t start, CsvRows::Fields& fields) {
    const size_t from = ++at_;
    std::string* copy = nullptr;  // made only where a quote is in the field
    size_t copied = from;
    while (true) {
      const size_t quote = text_.find('"', at_);
      if (quote == std::string_view::npos) {
        return absl::InvalidArgumentError(
            absl::StrCat("line ", start, ": a quoted field is not closed"));
      }
      line_ += std::count(text_.begin() + at_, text_.begin() + quote, '\n');
      at_ = quote + 1;
      if (at_ >= text_.size() || text_[at_] != '"') break;
      if (!copy) copy = &unquoted_.emplace_back();
      copy->append(text_.substr(copied, at_ - copied));
      copied = ++at_;
    }
    if (copy) {
      copy->append(text_.substr(copied, at_ - 1 - copied));
      fields.push_back(*copy);
    } else {
      fields.push_back(text_.substr(from, at_ - 1 - from));
    }
    while (at_ < text_.size() && text_[at_] != delimiter_ &&
           (IsBlank(text_[at_]) || text_[at_] == '\r')) {
      ++at_;
    }
    if (at_ < text_.size() && text_[at_] != delimiter_ && text_[at_] != '\n') {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", line_, ": expected a delimiter after a quoted field, got '",
                       Printable(text_.substr(at_, 1)), "'"));
    }
    return absl::OkStatus();
  }

  std::string_view text_;
  char delimiter_;
  size_t at_ = 0;
  int64_t line_ = 1;
  std::deque<std::string> unquoted_;  // a deque: views into its strings stay valid
};

char DelimiterOf(std::string_view text) {
  constexpr std::string_view kDelimiters = ",;\t|";
  int counts[4] = {0, 0, 0, 0};
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (c == '\n' && !quoted) break;
    const size_t which = quoted ? std::string_view::npos : kDelimiters.find(c);
    if (which != std::string_view::npos) ++counts[which];
  }
  return kDelimiters[std::max_element(counts, counts + 4) - counts];
}

}  // namespace

CsvRows::CsvRows(std::string_view text) : text_(text) {
  if (text_.substr(0, 3) == "\xef\xbb\xbf") text_.remove_prefix(3);
  delimiter_ = DelimiterOf(text_);
}

absl::Status CsvRows::ForEach(
    const std::function<absl::Status(int64_t line, const Fields&)>& row) const {
  Scanner scanner(text_, delimiter_);
  Fields fields;
  while (!scanner.AtEnd()) {
    const int64_t line = scanner.line();
    absl::Status status = scanner.Row(fields);
    if (status.ok() && !fields.empty()) status = row(line, fields);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace weft
