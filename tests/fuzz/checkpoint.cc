// Folders of checkpoints that `weft train --resume` goes on from: the metadata of last.safetensors,
// a line each, then history.json: how far the run was, and whether it is the same run. The tensors
// themselves are the target `tensors`.
#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/core/json.h"
#include "proto/safetensors.h"
#include "tools/weft/checkpoint_folder.h"
#include "tools/weft/resume.h"

namespace weft::cli {
namespace {

// A session that takes any checkpoint.
class AnyCheckpoint : public Session {
 public:
  std::map<std::string, std::string> metadata;

  absl::StatusOr<std::map<std::string, std::string>> RestoreCheckpoint(
      const std::string&) override {
    return metadata;
  }
  absl::StatusOr<NamedTensors> Run(const std::string&, const NamedTensors&,
                                   const RunOptions&) override {
    return NamedTensors{};
  }
  absl::StatusOr<std::vector<HostTensor>> Run(const NamedTensors&, const std::vector<std::string>&,
                                              const std::vector<std::string>&,
                                              const RunOptions&) override {
    return absl::UnimplementedError("not here");
  }
  absl::StatusOr<std::unique_ptr<Call>> Prepare(const std::string&,
                                                const std::vector<std::vector<int64_t>>&) override {
    return absl::UnimplementedError("not here");
  }
  std::vector<SignatureInfo> Signatures() const override { return {}; }
  absl::StatusOr<NamedTensors> GetVariables() override {
    return NamedTensors{{"w", HostTensor::Scalar<float>(1)}};
  }
  absl::Status SetVariables(const NamedTensors&) override { return absl::OkStatus(); }
  absl::Status SaveCheckpoint(const std::string&,
                              const std::map<std::string, std::string>&) override {
    return absl::OkStatus();
  }
  void EnableProfiling(bool) override {}
  std::vector<StepProfile> Profile() const override { return {}; }
};

// Without the synchronisation of files that last, for which there are too many.
void Write(const std::string& path, std::string_view bytes) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(path.c_str(), "wb"), &fclose);
  if (!file || fwrite(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) abort();
}

const std::string& Folder() {
  static const std::string* const folder = [] {
    auto* name =
        new std::string((std::filesystem::temp_directory_path() / "checkpoint.XXXXXX").string());
    if (mkdtemp(name->data()) == nullptr) abort();
    Write(*name + "/best.safetensors",
          WriteSafetensors({{"w", HostTensor::Scalar<float>(2)}}, {{"epoch", "1"}}));
    return name;
  }();
  return *folder;
}

// A run of a standard model, with each option given, goes on from that checkpoint, or does not.
void Resume(const std::map<std::string, std::string>& metadata) {
  RunFacts facts;
  // A safetensors file holds UTF-8 alone.
  for (const auto& [key, value] : metadata) {
    if (IsUtf8(value)) facts[key] = value;
  }
  Write(Folder() + "/last.safetensors",
        WriteSafetensors({{"w", HostTensor::Scalar<float>(1)}}, facts));
  const absl::StatusOr<RunFacts> before = FactsOfCheckpoint(Folder());
  if (!before.ok()) abort();
  for (const auto& [key, value] : facts) {
    if (before->at(key) != value) abort();
  }
  const RunFacts now = {{"model", "mlp"},          {"options", OptionsText({})},
                        {"graph", "00000000-1"},   {"seed", "0"},
                        {"classes", R"(["a"])"},   {"features", R"(["x"])"},
                        {"target", R"("species")"}};
  const absl::Status same = CheckSameRun(
      *before, now, {"--hidden", "--learning-rate", "--dropout", "--weight-decay"}, Folder());
  if (same.ok() && before->count("seed") && before->at("seed") != "0") abort();
}

void Restore(std::string_view input) {
  AnyCheckpoint session;
  for (const char* key : {"epoch", "batches", "metrics", "epoch_shape", "model", "options", "graph",
                          "seed", "classes", "features", "target"}) {
    const size_t end = std::min(input.find('\n'), input.size());
    // An empty line stands for none.
    if (end > 0) session.metadata[key] = std::string(input.substr(0, end));
    input.remove_prefix(std::min(end + 1, input.size()));
  }
  Resume(session.metadata);
  Write(Folder() + "/history.json", input);
  absl::StatusOr<RunState> state = CheckpointFolder(Folder(), {}).Restore(session);
  if (!state.ok()) return;
  if (state->epochs() < 0 || state->batches < 0 || state->best_epoch < 0 ||
      state->best_epoch > state->epochs()) {
    abort();
  }
}

}  // namespace
}  // namespace weft::cli

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weft::cli::Restore({reinterpret_cast<const char*>(data), size});
  return 0;
}
