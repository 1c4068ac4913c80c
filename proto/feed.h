// What is wrong with a tensor that is fed: one text, whether compiler, runtime or a tool finds it.
#ifndef WEFT_PROTO_FEED_H_
#define WEFT_PROTO_FEED_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "proto/dtype.h"

namespace weft {

// What a signature declares of one of its inputs.
struct FeedType {
  std::string what;  // "input 'x' of 'predict'"
  DataType dtype = DataType::kInvalid;
  std::vector<std::string> dims;  // "batch", "784", "2 * batch"
};

// "f32[batch, 784]".
std::string TypeText(DataType dtype, const std::vector<std::string>& dims);

// InvalidArgument: "input 'x' of 'predict': expected f32[batch, 784], got f32[1, 700] (dimension 1
// has to be 784)". `why` is what stands in the brackets, which are left out where it is empty.
absl::Status FeedMismatch(const FeedType& expected, DataType dtype,
                          const std::vector<int64_t>& shape, const std::string& why = "");

// Dtype, rank, that no size is negative, and sizes that are numbers in `expected`. Open ones
// take any size here.
absl::Status CheckFeed(const FeedType& expected, DataType dtype, const std::vector<int64_t>& shape);

// Where a size is computed from open dimensions: dimension `dim` has to be `size`.
absl::Status DimensionMismatch(const FeedType& expected, DataType dtype,
                               const std::vector<int64_t>& shape, size_t dim, int64_t size);

// Where two inputs (or two dimensions of one) give an open dimension different sizes: "signature
// 'join': batch is 3 from x (dimension 0) but 4 from z (dimension 0)". `who` comes first.
struct OpenSize {
  std::string input;
  size_t dim = 0;
  int64_t size = 0;
};
absl::Status OpenSizeMismatch(const std::string& who, const std::string& symbol,
                              const OpenSize& first, const OpenSize& other);

// Checks inputs one after the other: CheckFeed, and that an open dimension has one size in all of
// them. What is computed from open dimensions is left to the caller.
class FeedChecker {
 public:
  explicit FeedChecker(std::string who) : who_(std::move(who)) {}
  absl::Status Add(const std::string& input, const FeedType& expected, DataType dtype,
                   const std::vector<int64_t>& shape);
  const std::map<std::string, OpenSize>& sizes() const { return sizes_; }

 private:
  std::string who_;
  std::map<std::string, OpenSize> sizes_;
};

}  // namespace weft

#endif  // WEFT_PROTO_FEED_H_
