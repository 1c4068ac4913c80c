// The file around a graph (`.weft`) and a package (`.weftpkg`): named sections, each aligned and
// with a checksum.
//
// Layout, little-endian:  8 bytes magic "WEFTFILE"; u32 version (1); u32 number of sections; u64
// size of the whole file; u32 CRC-32 of the section table; u32 0; then per section 64 bytes: char
// name[32] padded with 0, u64 offset, u64 size, u32 CRC-32 of the bytes, u32 log2 of the alignment,
// u64 0. Sections lie in table order, do not overlap, and start at multiples of their alignment
// (64, or 4096 for code and mapped weights); bytes between them are 0.
//
// Sections of a graph file: "graph" (GraphDef), "weights" (safetensors). Of a package: "manifest"
// (PackageManifest), "weights" (safetensors), "constants" (raw, offsets in Buffer.constant_offset),
// "code.<target>" (an image to map readable and executable, position-independent, no relocations,
// such as "code.x86-64-v3", or PTX; the manifest says which), "cubin.<target>" (machine code that
// an assembler made of PTX), "golden" (safetensors with "in/<name>",
// "out/<name>").
//
// Version 1. Changes: (none yet)
#ifndef WEFT_PROTO_CONTAINER_H_
#define WEFT_PROTO_CONTAINER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/file.h"

namespace weft {

struct SectionToWrite {
  std::string name;
  std::string_view bytes;  // must live until the write returns
  int log2_alignment = 6;
};

// Whether a section may have the name: 1 to 31 characters of [A-Za-z0-9._+-].
bool IsSectionName(std::string_view name);
// The file's bytes, in memory. Names are those of IsSectionName, each once, at most 4096; the
// alignment is 2^6 to 2^16 (a breach is a bug of the caller and aborts).
std::string WriteContainer(const std::vector<SectionToWrite>& sections);
// Writes the file as WriteFileAtomically (proto/file.h) does.
absl::Status WriteContainerFile(const std::string& path,
                                const std::vector<SectionToWrite>& sections);

class Container {
 public:
  // Verifies the table (bounds, order, overlap, alignment, its checksum) but not the sections'
  // checksums. Error: InvalidArgument, naming the file.
  static absl::StatusOr<Container> Open(std::shared_ptr<const Bytes> bytes);
  bool Has(std::string_view section) const;
  // The section's bytes. With `verify`, its checksum is compared first (DataLoss where it differs).
  // NotFound where there is none.
  absl::StatusOr<std::string_view> Section(std::string_view name, bool verify = true) const;
  // Offset in the file; for mapping.
  absl::StatusOr<uint64_t> Offset(std::string_view name) const;
  std::vector<std::string> Names() const;
  // All sections, as they are and aligned as they are, to write them again; their bytes are this
  // container's. Checksums are not compared.
  std::vector<SectionToWrite> Sections() const;
  const std::shared_ptr<const Bytes>& bytes() const { return bytes_; }

 private:
  struct Entry {
    std::string name;
    uint64_t offset, size;
    uint32_t crc;
    int log2_alignment;
  };
  absl::StatusOr<const Entry*> Find(std::string_view name) const;

  std::shared_ptr<const Bytes> bytes_;
  std::vector<Entry> entries_;
};

}  // namespace weft

#endif  // WEFT_PROTO_CONTAINER_H_
