// Writes the seeds of the target `data`:  table_seeds FOLDER
#include <zlib.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "proto/file.h"
#include "proto/npy.h"

namespace {

using std::string_literals::operator""s;

std::string Gzip(std::string text) {
  z_stream stream = {};
  constexpr int kGzip = 15 + 16;
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(text.data());
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string cars = "weight,origin,mpg\n3504,USA,18\n?,\"Ja\"\"pan\",24.5\n1e3,USA,-3.25\n";
  const std::string image =
      "\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x03"
      "abcdef"s;
  const std::vector<std::pair<std::string, std::string>> seeds = {
      {"cars.csv", cars},
      {"numbers.csv", "1;2.5;0\r\n3;-4e5;1\r\n5;6;0\r\n"},
      {"words.csv",
       "\xef\xbb\xbf"
       "cat\tmeow\ndog\twoof\ncat\tNA\n"},
      {"image.idx", image},
      {"shorts.idx", "\0\0\x0b\x01\0\0\0\x02\x01\x02\xff\xfe"s},
      {"doubles.idx", "\0\0\x0e\x01\0\0\0\x01\xc0\0\0\0\0\0\0\0"s},
      {"cars.gz", Gzip(cars)},
      {"rows.npy",
       weft::WriteNpy(weft::HostTensor::Of<float>({5, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 0}))},
      {"none.npy", weft::WriteNpy(weft::HostTensor::Of<float>({3, 0}, {}))},
      {"rows.npz", *weft::WriteNpz({{"x", weft::HostTensor::Of<float>({4, 1}, {1, 2, 3, 4})},
                                    {"y", weft::HostTensor::Of<int64_t>({4}, {0, 1, -1, 2})}})},
      {"image.gz", Gzip(image)},
  };
  for (const auto& [name, bytes] : seeds) {
    const absl::Status status = weft::WriteFileAtomically(std::string(argv[1]) + "/" + name, bytes);
    if (!status.ok()) {
      fprintf(stderr, "%s\n", std::string(status.message()).c_str());
      return 1;
    }
  }
  return 0;
}
