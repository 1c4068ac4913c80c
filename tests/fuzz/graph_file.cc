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

const std::string_view weft::fuzz::kMessageSection = "graph";

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.starts_with("WEFTFILE")) {
    Load(input);
  } else {
    Load(weft::WriteContainer({{"graph", input, 6}}));
  }
  return 0;
}
