// Writes the seeds of the targets `package` and `tensors`:  runtime_seeds FOLDER
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "proto/file.h"
#include "proto/npy.h"
#include "proto/safetensors.h"
#include "runtime/testing/plan_builder.h"

namespace {

std::string WithoutChecksum(std::string file) {
  // Another key: then the file is as one by others, and changes to it are not noticed at once.
  return file.replace(file.find("weft.crc32"), 10, "some.other");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  using weft::HostTensor;
  const std::map<std::string, HostTensor> tensors = {
      {"w", HostTensor::Of<float>({2, 8}, std::vector<float>(16, 0.5f))},
      {"flag", HostTensor::Of<bool>({3}, {true, false, true})},
      {"step", HostTensor::Scalar<int64_t>(7)}};
  const auto package = weft::plan_testing::MakeTestPackage();
  auto gpu_package = package;
  weft::plan_testing::AddGpuTarget(&gpu_package);
  const std::vector<std::pair<std::string, std::string>> seeds = {
      {"package", package.Bytes()},
      {"gpu_package", gpu_package.Bytes()},
      {"box_package", weft::plan_testing::MakeBoxPackage().Bytes()},
      {"manifest", package.manifest.SerializeAsString()},
      {"checkpoint", weft::WriteSafetensors(tensors, {{"epoch", "3"}})},
      {"safetensors", WithoutChecksum(weft::WriteSafetensors(tensors))},
      {"npz", weft::WriteNpz(tensors).value()},
      {"npy", weft::WriteNpy(tensors.at("w"))},
      {"npy_scalar", weft::WriteNpy(tensors.at("step"))},
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
