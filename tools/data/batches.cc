#include "tools/data/batches.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/suggest.h"
#include "tools/data/random.h"

namespace weft {
namespace {

// Whether every value of `From` is one of `To`, rounding between floats aside.
template <typename From, typename To>
bool AlwaysFits() {
  constexpr DataType from = DataTypeOfT<From>::value, to = DataTypeOfT<To>::value;
  if (from == to || IsFloat(to)) return true;
  if (IsFloat(from)) return false;
  if (from == DataType::kBool) return true;
  if (to == DataType::kBool) return false;
  return static_cast<double>(std::numeric_limits<From>::lowest()) >=
             static_cast<double>(std::numeric_limits<To>::lowest()) &&
         static_cast<double>(std::numeric_limits<From>::max()) <=
             static_cast<double>(std::numeric_limits<To>::max());
}

template <typename To>
bool Fits(double value) {
  if constexpr (DataTypeOfT<To>::value == DataType::kBool) {
    return value == 0 || value == 1;
  } else {
    // The upper end as a power of two, which a double holds where the largest value itself is not
    // one.
    const double end = 2.0 * static_cast<double>(std::numeric_limits<To>::max() / 2 + 1);
    return value == std::trunc(value) &&
           value >= static_cast<double>(std::numeric_limits<To>::lowest()) && value < end;
  }
}

absl::Status CheckValues(const std::string& name, const HostTensor& source, DataType wanted) {
  return WithType(source.dtype(), [&](auto from) {
    using From = decltype(from);
    return WithType(wanted, [&](auto to) {
      using To = decltype(to);
      if constexpr (!IsFloat(DataTypeOfT<To>::value)) {
        if (AlwaysFits<From, To>()) return absl::OkStatus();
        for (const From value : source.template values<From>()) {
          if (!Fits<To>(static_cast<double>(value))) {
            return absl::InvalidArgumentError(absl::StrCat(
                "input '", name, "' wants ", std::string(NameOf(wanted)),
                ", which cannot hold the value ", static_cast<double>(value), " in the data"));
          }
        }
      }
      return absl::OkStatus();
    });
  });
}

template <typename From, typename To>
void CopyRows(const From* from, To* to, int64_t elements, const std::vector<int64_t>& rows) {
  for (const int64_t row : rows) {
    const From* source = from + row * elements;
    if constexpr (std::is_same_v<From, To>) {
      std::memcpy(to, source, static_cast<size_t>(elements) * sizeof(To));
    } else {
      for (int64_t i = 0; i < elements; ++i) to[i] = static_cast<To>(source[i]);
    }
    to += elements;
  }
}

// BF16 converts through float.
template <typename From>
void CopyRows(const From* from, BF16* to, int64_t elements, const std::vector<int64_t>& rows) {
  for (const int64_t row : rows) {
    for (int64_t i = 0; i < elements; ++i) {
      *to++ = BF16(static_cast<float>(from[row * elements + i]));
    }
  }
}

std::string Dims(const std::vector<int64_t>& dims) {
  return absl::StrCat("[", absl::StrJoin(dims, ", "), "]");
}

}  // namespace

absl::StatusOr<Batches> Batches::Create(const DataSet& data, std::vector<int64_t> rows,
                                        const std::vector<BatchInput>& inputs,
                                        const BatchOptions& options) {
  if (options.batch_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a batch size of 1 or more, got ", options.batch_size));
  }
  if (rows.empty()) return absl::InvalidArgumentError("expected rows to take batches from");
  Batches batches;
  batches.rows_ = std::move(rows);
  batches.options_ = options;
  const int64_t count = batches.num_rows();
  batches.options_.batch_size = std::min(options.batch_size, count);
  for (const BatchInput& wanted : inputs) {
    const auto found = data.arrays.find(wanted.name);
    if (found == data.arrays.end()) {
      std::vector<std::string> names;
      for (const auto& [name, array] : data.arrays) names.push_back(name);
      return absl::InvalidArgumentError(absl::StrCat("the model wants an input '", wanted.name,
                                                     "', which the data does not have",
                                                     Suggestion(wanted.name, names)));
    }
    Input input{wanted, found->second, 1};
    for (const int64_t dim : wanted.row_shape) input.row_elements *= dim;
    const std::vector<int64_t>& shape = input.source.shape();
    if (input.row_elements * shape[0] != input.source.num_elements()) {
      return absl::InvalidArgumentError(
          absl::StrCat("input '", wanted.name, "' wants rows of ", Dims(wanted.row_shape),
                       ", but a row of the data is ", Dims({shape.begin() + 1, shape.end()})));
    }
    absl::Status status = CheckValues(wanted.name, input.source, wanted.dtype);
    if (!status.ok()) return status;
    for (auto [feeds, size] : {std::pair(&batches.whole_, batches.options_.batch_size),
                               std::pair(&batches.rest_, count % batches.options_.batch_size)}) {
      std::vector<int64_t> batch_shape = {size};
      batch_shape.insert(batch_shape.end(), wanted.row_shape.begin(), wanted.row_shape.end());
      absl::StatusOr<HostTensor> tensor = HostTensor::Create(wanted.dtype, batch_shape);
      if (!tensor.ok()) return tensor.status();
      feeds->emplace(wanted.name, *std::move(tensor));
    }
    batches.inputs_.push_back(std::move(input));
  }
  batches.StartEpoch(0);
  return batches;
}

int64_t Batches::num_batches() const {
  const int64_t whole = num_rows() / options_.batch_size;
  return whole + (!options_.drop_last && num_rows() % options_.batch_size != 0);
}

std::vector<int64_t> Batches::sizes() const {
  std::vector<int64_t> sizes = {options_.batch_size};
  const int64_t rest = num_rows() % options_.batch_size;
  if (rest != 0 && !options_.drop_last) sizes.push_back(rest);
  return sizes;
}

void Batches::StartEpoch(int64_t epoch) {
  order_ = rows_;
  if (options_.shuffle) {
    // One generator scrambles the epoch before it joins the seed, so that neighbouring seeds do not
    // share epochs.
    const uint64_t seed = options_.seed ^ SplitMix64(static_cast<uint64_t>(epoch)).Next();
    const std::vector<int64_t> shuffled = Shuffled(num_rows(), seed);
    for (size_t i = 0; i < order_.size(); ++i) order_[i] = rows_[shuffled[i]];
  }
  next_ = 0;
  batch_rows_ = 0;
}

bool Batches::Next() {
  const int64_t left = num_rows() - next_;
  if (left == 0 || (options_.drop_last && left < options_.batch_size)) return false;
  batch_rows_ = std::min(left, options_.batch_size);
  indices_.assign(order_.begin() + next_, order_.begin() + next_ + batch_rows_);
  next_ += batch_rows_;
  Fill();
  return true;
}

void Batches::SkipTo(int64_t batch) {
  next_ = std::clamp<int64_t>(batch, 0, num_batches()) * options_.batch_size;
  next_ = std::min(next_, num_rows());
}

void Batches::Fill() {
  std::map<std::string, HostTensor>& feeds = batch_rows_ == options_.batch_size ? whole_ : rest_;
  for (const Input& input : inputs_) {
    HostTensor& batch = feeds.at(input.wanted.name);
    WithType(input.source.dtype(), [&](auto from) {
      WithType(input.wanted.dtype, [&](auto to) {
        CopyRows(static_cast<const decltype(from)*>(input.source.data()),
                 static_cast<decltype(to)*>(batch.mutable_data()), input.row_elements, indices_);
      });
    });
  }
  feeds_ = &feeds;
}

}  // namespace weft
