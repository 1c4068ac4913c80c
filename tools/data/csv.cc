#include "tools/data/csv.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/printable.h"
#include "proto/suggest.h"
#include "tools/data/csv_rows.h"
#include "tools/data/csv_survey.h"

namespace weft {
namespace {

// Sorted as numbers where all are numbers.
std::vector<std::string> Sorted(const std::set<std::string>& values) {
  std::vector<std::string> sorted(values.begin(), values.end());
  if (std::all_of(sorted.begin(), sorted.end(), [](const auto& v) { return NumberOf(v); })) {
    std::sort(sorted.begin(), sorted.end(),
              [](const auto& a, const auto& b) { return *NumberOf(a) < *NumberOf(b); });
  }
  return sorted;
}

// How one column of the file goes into x or y.
struct Encoder {
  std::string name;
  size_t field = 0;
  std::map<std::string, size_t, std::less<>> categories;  // value -> index; empty: a number
  double mean = 0;
  size_t width() const { return categories.empty() ? 1 : categories.size(); }

  absl::StatusOr<double> Number(std::string_view text) const {
    const std::optional<double> number = NumberOf(text);
    if (number && std::abs(*number) <= std::numeric_limits<float>::max()) return *number;
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", number ? "a finite f32" : "a number", " in column '",
                     Printable(name), "', got '", Printable(text), "'"));
  }
  absl::StatusOr<size_t> Category(std::string_view text) const {
    const auto it = categories.find(text);
    if (it != categories.end()) return it->second;
    return absl::InvalidArgumentError(absl::StrCat("column '", Printable(name), "' has the value '",
                                                   Printable(text),
                                                   "', which the training data does not have"));
  }
};

std::map<std::string, size_t, std::less<>> Indexed(const std::vector<std::string>& values) {
  std::map<std::string, size_t, std::less<>> indexed;
  for (const std::string& value : values) indexed.emplace(value, indexed.size());
  return indexed;
}

// Dropped rows leave room at the end, which the view does not show.
HostTensor FirstRows(HostTensor tensor, int64_t rows) {
  std::vector<int64_t> shape = tensor.shape();
  shape[0] = rows;
  auto whole = std::make_shared<HostTensor>(std::move(tensor));
  return HostTensor::View(whole->dtype(), shape, whole->data(), whole);
}

class Reader {
 public:
  Reader(const CsvRows& rows, const CsvOptions& options) : rows_(rows), options_(options) {}

  absl::StatusOr<CsvData> Read() {
    absl::StatusOr<Survey> survey = SurveyRows(rows_);
    if (!survey.ok()) return survey.status();
    survey_ = *std::move(survey);
    has_header_ = HasHeader(survey_, options_.header);
    for (size_t i = 0; i < survey_.columns.size(); ++i) {
      // Tools that write row numbers often leave their column without a name.
      const bool named = has_header_ && !survey_.first[i].empty();
      names_.push_back(named ? survey_.first[i] : absl::StrCat("column", i + 1));
      if (const auto [first, is_new] = fields_.emplace(names_.back(), i); !is_new) {
        return absl::InvalidArgumentError(absl::StrCat(
            "expected a name of its own for each column, but columns ", first->second + 1, " and ",
            i + 1, " are both '", Printable(names_.back()), "'"));
      }
      // Without a header the first row is data like the others.
      if (!has_header_ && !IsMissing(survey_.first[i])) {
        survey_.columns[i].Add(survey_.first[i], survey_.first_line);
      }
    }
    if (survey_.rows - has_header_ < 1) {
      return absl::InvalidArgumentError("expected rows below the header (the first row), got none");
    }
    for (const absl::Status& status : {ChooseTarget(), ChooseFeatures()}) {
      if (!status.ok()) return status;
    }
    absl::Status filled = Fill();
    if (!filled.ok()) return filled;
    return std::move(data_);
  }

 private:
  absl::StatusOr<size_t> Field(const std::string& name) const {
    if (const auto it = fields_.find(name); it != fields_.end()) return it->second;
    const std::string message =
        absl::StrCat("there is no column '", Printable(name), "'", Suggestion(name, names_));
    return options_.like ? absl::InvalidArgumentError(message)
                         : absl::FailedPreconditionError(message);
  }

  absl::Status ChooseTarget() {
    const std::string wanted = options_.like ? options_.like->target : options_.target;
    absl::StatusOr<size_t> field = wanted.empty() ? names_.size() - 1 : Field(wanted);
    if (!field.ok()) return field.status();
    target_.field = *field;
    target_.name = data_.target = names_[*field];
    const ColumnSurvey& column = survey_.columns[*field];
    if (options_.like) {
      data_.classes = options_.like->classes;
    } else if (options_.task == Task::kClassification ||
               (options_.task == Task::kAutomatic && AssumeClasses(column))) {
      if (column.values.size() > kMaxCategories) {
        return absl::InvalidArgumentError(absl::StrCat("the target '", Printable(target_.name),
                                                       "' has more than ", kMaxCategories,
                                                       " classes"));
      }
      data_.classes = Sorted(column.values);
    } else if (!column.all_numbers) {
      return absl::InvalidArgumentError(absl::StrCat("regression needs numbers, but the target '",
                                                     Printable(target_.name),
                                                     "' has text in it: ", column.WhyText()));
    }
    target_.categories = Indexed(data_.classes);
    return absl::OkStatus();
  }

  absl::Status ChooseFeatures() {
    std::set<size_t> left_out = {target_.field};
    for (const std::string& name : options_.ignore) {
      absl::StatusOr<size_t> field = Field(name);
      if (!field.ok()) return field.status();
      left_out.insert(*field);
    }
    if (options_.like) {
      for (const CsvColumn& column : options_.like->columns) {
        absl::StatusOr<size_t> field = Field(column.name);
        if (!field.ok()) return field.status();
        AddFeature(*field, column.categories, column.mean);
      }
      return absl::OkStatus();
    }
    for (size_t i = 0; i < names_.size(); ++i) {
      if (left_out.count(i)) continue;
      const ColumnSurvey& column = survey_.columns[i];
      if (!column.all_numbers && column.values.size() > kMaxCategories) {
        return absl::InvalidArgumentError(absl::StrCat(
            "column '", Printable(names_[i]), "' is text with more than ", kMaxCategories,
            " different values, as ", column.WhyText(),
            "; mend that, or leave the column out (--ignore ", Printable(names_[i]), ")"));
      }
      if (column.IsRatherNumbers()) {
        data_.notes.push_back(absl::StrCat("column '", Printable(names_[i]),
                                           "' is taken as text, as ", column.WhyText()));
      }
      const double mean = column.present > 0 ? column.sum / static_cast<double>(column.present) : 0;
      AddFeature(i, column.all_numbers ? std::vector<std::string>{} : Sorted(column.values), mean);
    }
    if (features_.empty()) {
      return absl::InvalidArgumentError("expected a column besides the target, got none");
    }
    return absl::OkStatus();
  }

  void AddFeature(size_t field, const std::vector<std::string>& categories, double mean) {
    Encoder& feature = features_.emplace_back();
    feature.name = names_[field];
    feature.field = field;
    feature.categories = Indexed(categories);
    feature.mean = mean;
    width_ += feature.width();
    data_.columns.push_back({names_[field], categories, mean});
  }

  // Whether the row is left out for a missing value.
  absl::StatusOr<bool> Drop(const CsvRows::Fields& fields) const {
    auto drop = [&](const Encoder& column, bool may_fill) -> absl::StatusOr<bool> {
      if (!IsMissing(fields[column.field])) return false;
      if (options_.missing == Missing::kDropRow) return true;
      if (may_fill && options_.missing == Missing::kMean) return false;
      return absl::InvalidArgumentError(absl::StrCat(
          "column '", Printable(column.name), "' has no value",
          options_.missing == Missing::kMean
              ? ", and only numbers of x have a mean (--missing drop leaves rows out)"
              : "; --missing drop leaves such rows out, --missing mean fills them in"));
    };
    absl::StatusOr<bool> result = drop(target_, false);
    for (size_t i = 0; i < features_.size() && result.ok() && !*result; ++i) {
      result = drop(features_[i], features_[i].categories.empty());
    }
    return result;
  }

  // One row of x, and of y: `y` points to its class or its number.
  absl::Status FillRow(const CsvRows::Fields& fields, float* x, void* y) const {
    for (const Encoder& feature : features_) {
      const std::string_view field = fields[feature.field];
      if (!feature.categories.empty()) {
        absl::StatusOr<size_t> category = feature.Category(field);
        if (!category.ok()) return category.status();
        x[*category] = 1;
      } else if (IsMissing(field)) {
        *x = static_cast<float>(feature.mean);
      } else {
        absl::StatusOr<double> number = feature.Number(field);
        if (!number.ok()) return number.status();
        *x = static_cast<float>(*number);
      }
      x += feature.width();
    }
    const std::string_view field = fields[target_.field];
    if (data_.classification()) {
      absl::StatusOr<size_t> category = target_.Category(field);
      if (!category.ok()) return category.status();
      *static_cast<int32_t*>(y) = static_cast<int32_t>(*category);
    } else {
      absl::StatusOr<double> number = target_.Number(field);
      if (!number.ok()) return number.status();
      *static_cast<float*>(y) = static_cast<float>(*number);
    }
    return absl::OkStatus();
  }

  absl::Status Fill() {
    const int64_t width = static_cast<int64_t>(width_), most = survey_.rows - has_header_;
    absl::StatusOr<HostTensor> x = HostTensor::Create(DataType::kF32, {most, width});
    if (!x.ok()) return x.status();
    absl::StatusOr<HostTensor> y = data_.classification()
                                       ? HostTensor::Create(DataType::kI32, {most})
                                       : HostTensor::Create(DataType::kF32, {most, 1});
    if (!y.ok()) return y.status();
    float* next = x->mutable_values<float>().data();
    auto* next_y = static_cast<char*>(y->mutable_data());
    int64_t rows = 0;
    bool header = has_header_;
    absl::Status status = rows_.ForEach([&](int64_t line, const CsvRows::Fields& fields) {
      if (std::exchange(header, false)) return absl::OkStatus();
      absl::StatusOr<bool> drop = Drop(fields);
      absl::Status status = drop.status();
      if (status.ok() && *drop) {
        ++data_.dropped_rows;
        return absl::OkStatus();
      }
      if (status.ok()) status = FillRow(fields, next, next_y);
      next += width;
      next_y += SizeOf(y->dtype());
      ++rows;
      if (status.ok()) return status;
      return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", status.message()));
    });
    if (!status.ok()) return status;
    if (rows == 0) return absl::InvalidArgumentError("every row has a missing value");
    data_.x = FirstRows(*std::move(x), rows);
    data_.y = FirstRows(*std::move(y), rows);
    return absl::OkStatus();
  }

  const CsvRows& rows_;
  const CsvOptions& options_;
  Survey survey_;
  bool has_header_ = false;
  std::vector<std::string> names_;
  std::unordered_map<std::string, size_t> fields_;  // where each name stands
  Encoder target_;
  std::vector<Encoder> features_;
  size_t width_ = 0;
  CsvData data_;
};

}  // namespace

std::vector<std::string> CsvData::FeatureNames() const {
  std::vector<std::string> names;
  for (const CsvColumn& column : columns) {
    if (column.categories.empty()) names.push_back(column.name);
    for (const std::string& category : column.categories) {
      names.push_back(absl::StrCat(column.name, "=", category));
    }
  }
  return names;
}

absl::StatusOr<CsvData> ParseCsv(std::string_view text, const CsvOptions& options) {
  return Reader(CsvRows(text), options).Read();
}

}  // namespace weft
