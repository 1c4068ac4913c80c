// Compares what a graph file, a package and an executable say about the same digits, bit for bit,
// and shows a few of them.
//
//   digits_show X.npy Y.npy GRAPH.npz PACKAGE.npz CLASS.npy PROBABILITIES.npy
//
// The last two are the executable's. Ends with 1 where anything differs.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/host_tensor.h"
#include "proto/npy.h"

namespace {

using weft::HostTensor;
using Tensors = std::map<std::string, HostTensor>;

constexpr int kShown = 6;
constexpr char kShades[] = " .:-=+*#%@";

bool SameBits(const HostTensor& a, const HostTensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// Digits side by side, two characters for a pixel.
void Print(const HostTensor& images, const std::vector<int64_t>& which,
           const HostTensor& probabilities, const HostTensor& classes, const HostTensor& truth) {
  const auto pixels = images.values<uint8_t>();
  for (int row = 0; row < 8; ++row) {
    std::string line;
    for (const int64_t i : which) {
      for (int column = 0; column < 8; ++column) {
        const int shade = pixels[i * 64 + row * 8 + column] * 9 / 16;
        line.append(2, kShades[shade]);
      }
      line += "   ";
    }
    std::printf("  %s\n", line.c_str());
  }
  std::string line;
  for (const int64_t i : which) {
    char text[32];
    const int64_t predicted = classes.values<int64_t>()[i];
    std::snprintf(text, sizeof(text), "%lld, %.1f %% sure%s", static_cast<long long>(predicted),
                  100.0 * probabilities.values<float>()[i * 10 + predicted],
                  predicted == truth.values<int32_t>()[i] ? "" : " X");
    char cell[32];
    std::snprintf(cell, sizeof(cell), "%-19s", text);
    line += cell;
  }
  std::printf("  %s\n\n", line.c_str());
}

absl::Status Run(char** files) {
  absl::StatusOr<HostTensor> images = weft::LoadNpy(files[0]);
  absl::StatusOr<HostTensor> truth = weft::LoadNpy(files[1]);
  absl::StatusOr<Tensors> graph = weft::LoadNpz(files[2]);
  absl::StatusOr<Tensors> package = weft::LoadNpz(files[3]);
  absl::StatusOr<HostTensor> exe_class = weft::LoadNpy(files[4]);
  absl::StatusOr<HostTensor> exe_probabilities = weft::LoadNpy(files[5]);
  for (const absl::Status& status :
       {images.status(), truth.status(), graph.status(), package.status(), exe_class.status(),
        exe_probabilities.status()}) {
    if (!status.ok()) return status;
  }
  for (const Tensors* tensors : {&*graph, &*package}) {
    for (const char* name : {"class", "probabilities"}) {
      if (!tensors->count(name)) {
        return absl::NotFoundError(absl::StrCat("expected an array '", name, "', got none"));
      }
    }
  }
  const Tensors executable = {{"class", *exe_class}, {"probabilities", *exe_probabilities}};
  for (const auto& [name, expected] : *graph) {
    if (!SameBits(expected, package->at(name))) {
      return absl::DataLossError(absl::StrCat("graph and package differ in '", name, "'"));
    }
    if (!SameBits(expected, executable.at(name))) {
      return absl::DataLossError(absl::StrCat("graph and executable differ in '", name, "'"));
    }
  }
  const HostTensor& classes = graph->at("class");
  std::vector<int64_t> right, wrong;
  for (int64_t i = 0; i < truth->num_elements(); ++i) {
    (classes.values<int64_t>()[i] == truth->values<int32_t>()[i] ? right : wrong).push_back(i);
  }
  const HostTensor& probabilities = graph->at("probabilities");
  std::vector<int64_t> shown(right.begin(), right.begin() + std::min<size_t>(kShown, right.size()));
  Print(*images, shown, probabilities, classes, *truth);
  if (!wrong.empty()) {
    if (wrong.size() > kShown) wrong.resize(kShown);
    std::printf("  mistaken (X):\n");
    Print(*images, wrong, probabilities, classes, *truth);
  }
  const double accuracy =
      static_cast<double>(right.size()) / static_cast<double>(truth->num_elements());
  std::printf("graph file, package and executable agree bit for bit on %lld test images\n",
              static_cast<long long>(truth->num_elements()));
  std::printf("test accuracy %.2f %%\n", 100 * accuracy);
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr,
                 "usage: digits_show X.npy Y.npy GRAPH.npz PACKAGE.npz CLASS.npy "
                 "PROBABILITIES.npy\n");
    return 2;
  }
  const absl::Status status = Run(argv + 1);
  if (status.ok()) return 0;
  std::fprintf(stderr, "digits_show: %s\n", std::string(status.message()).c_str());
  return 1;
}
