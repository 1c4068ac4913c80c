// Files of training data as `weft train` reads them: npz, npy, CSV, idx, and any of them packed by
// gzip; what is read is split and handed out in batches.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/file.h"
#include "tools/data/batches.h"
#include "tools/data/csv.h"
#include "tools/data/data_file.h"
#include "tools/data/dataset.h"
#include "tools/data/idx.h"

namespace weft {
namespace {

constexpr uint64_t kMaxUnpacked = 1 << 16;
constexpr int64_t kMaxBatches = 100;

void ReadTable(std::string_view bytes) {
  for (const Missing missing : {Missing::kRefuse, Missing::kDropRow, Missing::kMean}) {
    CsvOptions options;
    options.missing = missing;
    const auto data = ParseCsv(bytes, options);
    if (!data.ok()) continue;
    if (static_cast<int64_t>(data->FeatureNames().size()) != data->x.shape()[1]) abort();
    // The file goes with itself.
    options.like = &*data;
    options.target = data->target;
    const auto again = ParseCsv(bytes, options);
    if (again.ok() && again->x.TypeString() != data->x.TypeString()) abort();
  }
}

// Each array, as its own dtype and as f32, in the order of an epoch.
void TakeBatches(const DataSet& data) {
  const Split split = SplitRows(data.num_rows, 0.2, 0.1, 1);
  const size_t rows = split.training.size() + split.validation.size() + split.test.size();
  if (static_cast<int64_t>(rows) != data.num_rows) abort();
  if (split.training.empty()) return;
  for (const auto& [name, array] : data.arrays) {
    StatisticsOf(array, split.training);
    for (const DataType dtype : {array.dtype(), DataType::kF32, DataType::kI8}) {
      BatchInput input{name, dtype, {array.shape().begin() + 1, array.shape().end()}};
      auto batches = Batches::Create(data, split.training, {input}, {.batch_size = 3});
      if (!batches.ok()) continue;
      int64_t taken = 0;
      while (taken < kMaxBatches && batches->Next()) {
        const HostTensor& batch = batches->feeds().at(name);
        if (batch.shape()[0] != batches->batch_rows()) abort();
        ++taken;
      }
      if (taken < kMaxBatches && taken != batches->num_batches()) abort();
    }
  }
}

// The file itself: LoadDataSet takes names of files.
void ReadFile(std::string_view bytes) {
  static const int file = memfd_create("data", 0);
  static const auto& path = *new std::string("/proc/self/fd/" + std::to_string(file));
  if (ftruncate(file, 0) != 0 ||
      pwrite(file, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    abort();
  }
  const auto data = LoadDataSet({path});
  if (!data.ok()) return;
  for (const auto& [name, array] : data->arrays) {
    if (array.num_elements() < data->num_rows || array.shape()[0] != data->num_rows) abort();
  }
  TakeBatches(*data);
}

void Read(std::string_view bytes) {
  if (LooksLikeIdx(bytes)) {
    if (auto tensor = ReadIdx(bytes); tensor.ok() && tensor->size_bytes() > 8 * bytes.size()) {
      abort();
    }
  }
  ReadTable(bytes);
  ReadFile(bytes);
}

}  // namespace
}  // namespace weft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  // What unpacks to more is not for here.
  if (const auto unpacked = weft::Gunzip(input, weft::kMaxUnpacked); unpacked.ok()) {
    weft::Read((*unpacked)->view());
  } else if (input.substr(0, 2) != "\x1f\x8b") {
    weft::Read(input);
  }
  return 0;
}
