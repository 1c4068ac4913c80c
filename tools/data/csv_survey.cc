#include "tools/data/csv_survey.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proto/printable.h"

namespace weft {
namespace {

// Classification is assumed of whole numbers where there are this few kinds, each this often.
constexpr size_t kMaxAssumedClasses = 20;
constexpr int64_t kMinRowsPerAssumedClass = 5;
// Of a field in a message at most.
constexpr size_t kMaxShown = 40;

// "nan" and "-nan(ind)", as C and C++ write them.
bool IsNan(std::string_view field) {
  if (!field.empty() && (field[0] == '+' || field[0] == '-')) field.remove_prefix(1);
  if (field.empty() || (field[0] != 'n' && field[0] != 'N')) return false;
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  return error == std::errc() && end == field.data() + field.size() && std::isnan(value);
}

// "0,5", as in many languages.
bool HasDecimalComma(std::string_view field) {
  const size_t comma = field.find(',');
  if (comma == std::string_view::npos) return false;
  std::string with_point(field);
  with_point[comma] = '.';
  return NumberOf(with_point).has_value();
}

}  // namespace

std::optional<double> NumberOf(std::string_view field) {
  if (!field.empty() && field[0] == '+') {
    field.remove_prefix(1);
    if (!field.empty() && field[0] == '-') return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (end != field.data() + field.size()) return std::nullopt;
  // Too large or too small: an infinity, or next to nothing.
  if (error == std::errc::result_out_of_range)
    return std::strtod(std::string(field).c_str(), nullptr);
  if (error != std::errc() || std::isnan(value)) return std::nullopt;
  return value;
}

bool IsMissing(std::string_view field) {
  static constexpr std::array<std::string_view, 5> kWords = {"na", "n/a", "null", "none", "?"};
  if (field.empty() || IsNan(field)) return true;
  if (field.size() > 4) return false;
  const std::string lower = absl::AsciiStrToLower(std::string(field));
  return std::find(kWords.begin(), kWords.end(), lower) != kWords.end();
}

void ColumnSurvey::Add(std::string_view field, int64_t line) {
  ++present;
  if (values.size() <= kMaxCategories) values.emplace(field);
  if (const std::optional<double> number = NumberOf(field)) {
    ++numbers;
    if (std::isfinite(*number)) sum += *number;
    return;
  }
  if (all_numbers) {
    text = field;
    text_line = line;
  }
  all_numbers = false;
}

std::string ColumnSurvey::WhyText() const {
  return absl::StrCat(
      "'", Printable(text, kMaxShown), "' in line ", text_line, " is no number",
      HasDecimalComma(text) ? " (numbers have a decimal point here, not a comma)" : "");
}

bool ColumnSurvey::IsRatherNumbers() const {
  return !all_numbers && (2 * numbers > present || HasDecimalComma(text));
}

absl::StatusOr<Survey> SurveyRows(const CsvRows& rows) {
  Survey survey;
  absl::Status status = rows.ForEach([&](int64_t line, const CsvRows::Fields& fields) {
    if (survey.rows++ == 0) {
      survey.first_line = line;
      survey.first.assign(fields.begin(), fields.end());
      survey.columns.resize(fields.size());
      for (size_t i = 0; i < fields.size(); ++i) {
        survey.columns[i].first_is_number = NumberOf(fields[i]).has_value() || IsMissing(fields[i]);
      }
      return absl::OkStatus();
    }
    if (fields.size() != survey.columns.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", line, ": expected ", survey.columns.size(),
                       " fields as in the first row, got ", fields.size()));
    }
    for (size_t i = 0; i < fields.size(); ++i) {
      if (IsMissing(fields[i])) continue;
      survey.columns[i].Add(fields[i], line);
      survey.columns[i].first_recurs |= fields[i] == survey.first[i];
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (survey.rows == 0) return absl::InvalidArgumentError("expected rows, got an empty file");
  return survey;
}

bool HasHeader(const Survey& survey, Header header) {
  if (header != Header::kAutomatic) return header == Header::kPresent;
  // An only row of nothing but text names columns; there is nothing to learn in it.
  if (survey.rows == 1) {
    return std::none_of(survey.columns.begin(), survey.columns.end(),
                        [](const ColumnSurvey& column) { return column.first_is_number; });
  }
  bool any_numbers = false, recurs = false;
  for (const ColumnSurvey& column : survey.columns) {
    const bool numbers = column.all_numbers && column.present > 0;
    if (numbers && !column.first_is_number) return true;
    any_numbers |= numbers;
    recurs |= column.first_recurs;
  }
  return !any_numbers && !recurs;
}

bool AssumeClasses(const ColumnSurvey& column) {
  if (!column.all_numbers) return true;
  if (column.values.size() > kMaxAssumedClasses ||
      column.present < kMinRowsPerAssumedClass * static_cast<int64_t>(column.values.size())) {
    return false;
  }
  return std::all_of(column.values.begin(), column.values.end(),
                     [](const std::string& v) { return *NumberOf(v) == std::trunc(*NumberOf(v)); });
}

}  // namespace weft
