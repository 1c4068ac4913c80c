// Rows of a data set, a batch at a time, in the types and shapes that a model asks for.
#ifndef WEFT_TOOLS_DATA_BATCHES_H_
#define WEFT_TOOLS_DATA_BATCHES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/host_tensor.h"
#include "tools/data/dataset.h"

namespace weft {

// What a model wants of one array.
struct BatchInput {
  std::string name;
  DataType dtype = DataType::kInvalid;
  std::vector<int64_t> row_shape;  // without the batch dimension
};

struct BatchOptions {
  int64_t batch_size = 32;
  bool shuffle = true;
  // Leaves out the last, smaller batch, where there is at least one whole one.
  bool drop_last = false;
  uint64_t seed = 0;
};

// Not thread-safe. Allocates when made, and nothing later but at the start of an epoch.
class Batches {
 public:
  // Error (InvalidArgument): an array that the data does not have (with the nearest name), a row of
  // other size than the model's, or a value that the model's type cannot hold: fractions and large
  // numbers where it wants integers. Floats are rounded to narrower floats without a word. The data
  // is kept (shared).
  static absl::StatusOr<Batches> Create(const DataSet& data, std::vector<int64_t> rows,
                                        const std::vector<BatchInput>& inputs,
                                        const BatchOptions& options);

  int64_t num_batches() const;
  // The numbers of rows that batches come in: one, and that of the last where it is another.
  std::vector<int64_t> sizes() const;
  int64_t num_rows() const { return static_cast<int64_t>(rows_.size()); }
  // Begins again. With shuffling, the order depends on seed and epoch alone, so that training taken
  // up again goes on as it would have.
  void StartEpoch(int64_t epoch);
  // Moves to the next batch; false at the end of the epoch.
  bool Next();
  // Goes to where Next gives the batch of that index, from 0 on, in the epoch's order.
  void SkipTo(int64_t batch);
  // Of the current batch, overwritten by Next: [rows, row_shape...].
  int64_t batch_rows() const { return batch_rows_; }
  const std::map<std::string, HostTensor>& feeds() const { return *feeds_; }
  const std::vector<int64_t>& batch_indices() const { return indices_; }

 private:
  struct Input {
    BatchInput wanted;
    HostTensor source;
    int64_t row_elements = 0;
  };
  Batches() = default;
  void Fill();

  std::vector<int64_t> rows_;
  std::vector<int64_t> order_;
  BatchOptions options_;
  std::vector<Input> inputs_;
  std::map<std::string, HostTensor> whole_, rest_;  // of batch_size rows, and of those left over
  const std::map<std::string, HostTensor>* feeds_ = nullptr;
  std::vector<int64_t> indices_;
  int64_t next_ = 0;
  int64_t batch_rows_ = 0;
};

}  // namespace weft

#endif  // WEFT_TOOLS_DATA_BATCHES_H_
