// Graph files: the file as it is, and a GraphDef in a file whose checksums are right.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "graph/graph.h"
#include "proto/container.h"
#include "proto/graph.pb.h"
#include "tests/fuzz/mutate.h"

namespace {

// Graph::Load reads by path; this is a file in memory that has one.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(memfd_create("graph", MFD_CLOEXEC)) {
    if (fd_ < 0 || write(fd_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      abort();
    }
  }
  ~MemoryFile() { close(fd_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

void Load(std::string_view bytes) {
  const MemoryFile file(bytes);
  absl::StatusOr<weft::Graph> graph = weft::Graph::Load(file.path());
  if (!graph.ok()) return;
  // What loads can be written, and read again as the same graph.
  absl::StatusOr<weft::GraphDef> once = graph->ToGraphDef();
  if (!once.ok()) abort();
  absl::StatusOr<weft::Graph> again = weft::Graph::FromGraphDef(*once);
  if (!again.ok() || again->ToGraphDef()->SerializeAsString() != once->SerializeAsString()) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.starts_with("WEFTFILE")) {
    Load(input);
  } else {
    Load(weft::WriteContainer({{"graph", input, 6}}));
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return weft::fuzz::MutateInput(data, size, max_size, "graph", seed);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t max_out, unsigned seed) {
  return weft::fuzz::CrossInputs(data1, size1, data2, size2, out, max_out, seed);
}
