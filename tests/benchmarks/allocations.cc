// How often the second and later runs of a session allocate.
//
//   allocations PACKAGE [DIM=SIZE ...]      prints "SIGNATURE COUNT" for each that takes inputs
#include <cstdio>
#include <string>
#include <vector>

#include "runtime/session.h"
#include "runtime/testing/count_allocations.h"
#include "tools/common/sizes.h"

namespace weft {
namespace {

constexpr int kRuns = 100;

absl::Status Run(const std::string& path, const std::vector<std::string>& size_flags) {
  absl::StatusOr<std::unique_ptr<Session>> loaded = Session::Load(path);
  if (!loaded.ok()) return loaded.status();
  Session& session = **loaded;
  const std::vector<Session::SignatureInfo> signatures = session.Signatures();
  absl::StatusOr<std::map<std::string, int64_t>> sizes =
      cli::ParseSingleSizes(size_flags, cli::OpenDimensions(signatures));
  if (!sizes.ok()) return sizes.status();
  if (auto done = session.Run("init", {}); !done.ok()) return done.status();
  for (const Session::SignatureInfo& signature : signatures) {
    if (signature.inputs.empty()) continue;
    absl::StatusOr<std::vector<std::vector<int64_t>>> shapes = cli::ShapesAt(signature, *sizes);
    if (!shapes.ok()) return shapes.status();
    NamedTensors feeds, outputs;
    for (size_t i = 0; i < shapes->size(); ++i) {
      absl::StatusOr<HostTensor> zeros =
          HostTensor::Create(signature.inputs[i].dtype, (*shapes)[i]);
      if (!zeros.ok()) return zeros.status();
      feeds.emplace(signature.inputs[i].name, *std::move(zeros));
    }
    absl::Status status = session.RunInto(signature.name, feeds, &outputs);
    const long before = AllocationCount();
    for (int i = 0; i < kRuns && status.ok(); ++i) {
      status = session.RunInto(signature.name, feeds, &outputs);
    }
    const long count = AllocationCount() - before;
    if (!status.ok()) return status;
    std::printf("%s %ld\n", signature.name.c_str(), count);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace weft

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: allocations PACKAGE [DIM=SIZE ...]\n");
    return 2;
  }
  const absl::Status status = weft::Run(argv[1], {argv + 2, argv + argc});
  if (status.ok()) return 0;
  std::fprintf(stderr, "allocations: %s\n", std::string(status.message()).c_str());
  return 1;
}
