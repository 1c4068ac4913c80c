// Files of training data: CSV, idx, and either of them packed by gzip.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tools/data/csv.h"
#include "tools/data/data_file.h"
#include "tools/data/idx.h"

namespace {

constexpr uint64_t kMaxUnpacked = 1 << 16;

void Read(std::string_view bytes) {
  if (weft::LooksLikeIdx(bytes)) {
    if (auto tensor = weft::ReadIdx(bytes);
        tensor.ok() && tensor->size_bytes() > 8 * bytes.size()) {
      abort();
    }
  }
  for (const weft::Missing missing :
       {weft::Missing::kRefuse, weft::Missing::kDropRow, weft::Missing::kMean}) {
    weft::CsvOptions options;
    options.missing = missing;
    const auto data = weft::ParseCsv(bytes, options);
    if (!data.ok()) continue;
    if (static_cast<int64_t>(data->FeatureNames().size()) != data->x.shape()[1]) abort();
    // The file goes with itself.
    options.like = &*data;
    options.target = data->target;
    const auto again = weft::ParseCsv(bytes, options);
    if (again.ok() && again->x.TypeString() != data->x.TypeString()) abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  Read(input);
  if (const auto unpacked = weft::Gunzip(input, kMaxUnpacked); unpacked.ok()) Read(*unpacked);
  return 0;
}
