#include "tools/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/file.h"
#include "proto/npy.h"
#include "proto/printable.h"
#include "tools/data/data_file.h"
#include "tools/data/idx.h"
#include "tools/data/random.h"

namespace weft {
namespace {

struct Source {
  std::string name;  // empty: not given
  std::string path;
};

// "x=train.npy"; a '=' after a '/' belongs to the path.
Source Parse(const std::string& specification) {
  const size_t equals = specification.find('=');
  if (equals == std::string::npos || specification.find('/') < equals) return {"", specification};
  return {specification.substr(0, equals), specification.substr(equals + 1)};
}

// Whether it can be a table: text, without control characters, as far as a first look goes.
bool LooksLikeText(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, 4096);
  return !head.empty() && std::none_of(head.begin(), head.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r';
  });
}

class Loader {
 public:
  explicit Loader(const LoadOptions& options) : options_(options) {}

  absl::Status Load(const Source& source) {
    path_ = source.path;
    absl::StatusOr<std::shared_ptr<const Bytes>> file = ReadDataFile(source.path);
    if (!file.ok()) return file.status();
    absl::Status status = LoadBytes(source, *file);
    if (status.ok() || absl::StrContains(status.message(), source.path)) return status;
    return absl::Status(status.code(), absl::StrCat(source.path, ": ", status.message()));
  }

  absl::StatusOr<DataSet> Finish() {
    if (data_.arrays.empty()) return absl::InvalidArgumentError("expected data, got none");
    data_.num_rows = data_.arrays.begin()->second.shape()[0];
    for (const auto& [name, array] : data_.arrays) {
      if (array.shape()[0] != data_.num_rows) {
        return absl::InvalidArgumentError(
            absl::StrCat("expected as many rows in each array, got ", data_.num_rows, " in ",
                         ArrayText(data_.arrays.begin()->first), " and ", array.shape()[0], " in ",
                         ArrayText(name)));
      }
    }
    return std::move(data_);
  }

 private:
  // "'x' (train.npz)".
  std::string ArrayText(const std::string& name) const {
    return absl::StrCat("'", Printable(name), "' (", files_.at(name), ")");
  }

  absl::Status LoadBytes(const Source& source, const std::shared_ptr<const Bytes>& file) {
    const std::string_view bytes = file->view();
    if (bytes.empty()) return absl::InvalidArgumentError("expected data, got an empty file");
    if (absl::StartsWith(absl::string_view(bytes.data(), bytes.size()), "PK")) {
      if (!source.name.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("an .npz file names its arrays itself; leave out '", source.name, "='"));
      }
      auto arrays = ReadNpz(bytes, file);
      if (!arrays.ok()) return arrays.status();
      for (auto& [name, array] : *arrays) {
        absl::Status status = Add(name, std::move(array));
        if (!status.ok()) return status;
      }
      return absl::OkStatus();
    }
    if (bytes.substr(0, 6) == "\x93NUMPY") {
      return AddNamed(source.name.empty() ? "x" : source.name, ReadNpy(bytes, file));
    }
    if (LooksLikeIdx(bytes)) {
      absl::StatusOr<HostTensor> array = ReadIdx(bytes);
      if (!array.ok()) return array.status();
      std::string name = source.name;
      if (name.empty()) name = array->rank() > 1 ? "x" : "y";
      return Add(name, *std::move(array));
    }
    if (LooksLikeText(bytes)) {
      if (source.name.empty()) return AddTable(bytes);
      return absl::InvalidArgumentError(absl::StrCat(
          "a table becomes x and y by itself (--target says which column is y); leave out '",
          source.name, "='"));
    }
    const std::string_view mark = bytes.substr(0, 2);
    return absl::InvalidArgumentError(
        mark == "\xff\xfe" || mark == "\xfe\xff"
            ? "expected a table in UTF-8, got UTF-16; save it as CSV in UTF-8"
            : "expected data as npz, npy, idx or CSV, got something else");
  }

  absl::Status AddTable(std::string_view text) {
    if (data_.table) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected one table, but ", files_.at("x"),
                       " is one already; put all rows into one file, or use --validation-data and "
                       "--test-data"));
    }
    absl::StatusOr<CsvData> table = ParseCsv(text, options_.csv);
    if (!table.ok()) return table.status();
    for (auto& [name, array] : {std::pair("x", table->x), std::pair("y", table->y)}) {
      absl::Status status = Add(name, array);
      if (!status.ok()) return status;
    }
    data_.table = *std::move(table);
    return absl::OkStatus();
  }

  absl::Status AddNamed(const std::string& name, absl::StatusOr<HostTensor> array) {
    if (!array.ok()) return array.status();
    return Add(name, *std::move(array));
  }

  absl::Status Add(const std::string& name, HostTensor array) {
    if (array.rank() == 0) {
      return absl::InvalidArgumentError(absl::StrCat("expected one row per example in array '",
                                                     Printable(name), "', got a single number"));
    }
    // Rows without elements are as many as the header says, whatever the size of the file.
    if (array.num_elements() == 0) {
      return absl::InvalidArgumentError(absl::StrCat("expected rows with elements in array '",
                                                     Printable(name), "', got ",
                                                     array.TypeString()));
    }
    if (!data_.arrays.emplace(name, std::move(array)).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "there is an array ", ArrayText(name), " already; tell files apart by --data NAME=PATH"));
    }
    files_[name] = path_;
    return absl::OkStatus();
  }

  const LoadOptions& options_;
  std::string path_;                          // of the file at hand
  std::map<std::string, std::string> files_;  // that each array is from
  DataSet data_;
};

template <typename T>
void Accumulate(const HostTensor& array, const std::vector<int64_t>& rows, std::vector<double>& sum,
                std::vector<double>& squares) {
  const int64_t width = static_cast<int64_t>(sum.size());
  const T* values = array.values<T>().data();
  for (const int64_t row : rows) {
    for (int64_t i = 0; i < width; ++i) sum[i] += static_cast<double>(values[row * width + i]);
  }
  for (double& s : sum) s /= static_cast<double>(rows.size());
  for (const int64_t row : rows) {
    for (int64_t i = 0; i < width; ++i) {
      const double difference = static_cast<double>(values[row * width + i]) - sum[i];
      squares[i] += difference * difference;
    }
  }
}

}  // namespace

std::string DataSet::Describe() const {
  std::string text;
  for (const auto& [name, array] : arrays) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", Printable(name), " ", array.TypeString());
  }
  return text;
}

absl::StatusOr<DataSet> LoadDataSet(const std::vector<std::string>& specifications,
                                    const LoadOptions& options) {
  Loader loader(options);
  for (const std::string& specification : specifications) {
    absl::Status status = loader.Load(Parse(specification));
    if (!status.ok()) return status;
  }
  return loader.Finish();
}

std::vector<int64_t> Shuffled(int64_t n, uint64_t seed) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  SplitMix64 random(seed);
  for (int64_t i = n - 1; i > 0; --i) {
    std::swap(order[i], order[random.Below(static_cast<uint64_t>(i) + 1)]);
  }
  return order;
}

Split SplitRows(int64_t n, double validation, double test, uint64_t seed) {
  const auto rows = [n](double share) {
    const int64_t least = share > 0 ? 1 : 0;
    return std::max<int64_t>(std::llround(static_cast<double>(n) * share), least);
  };
  const int64_t testing = std::min(rows(test), n);
  const int64_t validating = std::min(rows(validation), n - testing);
  const std::vector<int64_t> order = Shuffled(n, seed);
  const auto test_begin = order.end() - testing, validation_begin = test_begin - validating;
  Split split;
  split.training.assign(order.begin(), validation_begin);
  split.validation.assign(validation_begin, test_begin);
  split.test.assign(test_begin, order.end());
  for (auto* part : {&split.training, &split.validation, &split.test}) {
    std::sort(part->begin(), part->end());
  }
  return split;
}

Statistics StatisticsOf(const HostTensor& array, const std::vector<int64_t>& rows) {
  const std::vector<int64_t> shape(array.shape().begin() + 1, array.shape().end());
  const int64_t width = array.num_elements() / std::max<int64_t>(array.shape()[0], 1);
  std::vector<double> mean(width), squares(width);
  WithType(array.dtype(),
           [&](auto type) { Accumulate<decltype(type)>(array, rows, mean, squares); });
  std::vector<float> means(width), deviations(width);
  for (int64_t i = 0; i < width; ++i) {
    means[i] = static_cast<float>(mean[i]);
    const double deviation = std::sqrt(squares[i] / static_cast<double>(rows.size()));
    deviations[i] = deviation > 1e-12 * std::abs(mean[i]) ? static_cast<float>(deviation) : 1.0f;
  }
  return {HostTensor::Of<float>(shape, means), HostTensor::Of<float>(shape, deviations)};
}

}  // namespace weft
