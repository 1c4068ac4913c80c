#include "proto/container.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/core/crc32.h"

namespace weft {
namespace {

constexpr char kMagic[] = {'W', 'E', 'F', 'T', 'F', 'I', 'L', 'E'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kMaxSections = 4096;
constexpr int kMinLog2Alignment = 6;
constexpr int kMaxLog2Alignment = 16;

// As in the file; little-endian, like every machine that Weft runs on.
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t num_sections;
  uint64_t file_size;
  uint32_t table_crc;
  uint32_t zero;
};
static_assert(sizeof(Header) == 32);

struct TableEntry {
  char name[32];
  uint64_t offset;
  uint64_t size;
  uint32_t crc;
  uint32_t log2_alignment;
  uint64_t zero;
};
static_assert(sizeof(TableEntry) == 64);

uint64_t AlignUp(uint64_t value, int log2_alignment) {
  const uint64_t mask = (uint64_t{1} << log2_alignment) - 1;
  return (value + mask) & ~mask;
}

bool AllZero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
}

// The file as pieces: header and table, then padding and bytes of each section.
struct Layout {
  std::string head;
  std::vector<std::string> padding;
  std::vector<std::string_view> pieces;
};

void LayOut(const std::vector<SectionToWrite>& sections, Layout* layout) {
  if (sections.size() > kMaxSections) abort();
  std::vector<TableEntry> table(sections.size());
  uint64_t offset = sizeof(Header) + sizeof(TableEntry) * sections.size();
  layout->padding.reserve(sections.size());
  for (size_t i = 0; i < sections.size(); ++i) {
    const SectionToWrite& section = sections[i];
    if (!IsSectionName(section.name) || section.log2_alignment < kMinLog2Alignment ||
        section.log2_alignment > kMaxLog2Alignment) {
      abort();
    }
    for (size_t j = 0; j < i; ++j) {
      if (sections[j].name == section.name) abort();
    }
    const uint64_t start = AlignUp(offset, section.log2_alignment);
    layout->padding.emplace_back(start - offset, '\0');
    TableEntry& entry = table[i];
    memset(&entry, 0, sizeof(entry));
    memcpy(entry.name, section.name.data(), section.name.size());
    entry.offset = start;
    entry.size = section.bytes.size();
    entry.crc = Crc32(section.bytes);
    entry.log2_alignment = static_cast<uint32_t>(section.log2_alignment);
    offset = start + section.bytes.size();
  }
  const std::string_view table_bytes(reinterpret_cast<const char*>(table.data()),
                                     table.size() * sizeof(TableEntry));
  Header header;
  memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.num_sections = static_cast<uint32_t>(sections.size());
  header.file_size = offset;
  header.table_crc = Crc32(table_bytes);
  header.zero = 0;
  layout->head.assign(reinterpret_cast<const char*>(&header), sizeof(header));
  layout->head.append(table_bytes);
  layout->pieces.push_back(layout->head);
  for (size_t i = 0; i < sections.size(); ++i) {
    layout->pieces.push_back(layout->padding[i]);
    layout->pieces.push_back(sections[i].bytes);
  }
}

}  // namespace

bool IsSectionName(std::string_view name) {
  if (name.empty() || name.size() >= sizeof(TableEntry::name)) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '+' || c == '-';
  });
}

std::string WriteContainer(const std::vector<SectionToWrite>& sections) {
  Layout layout;
  LayOut(sections, &layout);
  size_t size = 0;
  for (std::string_view piece : layout.pieces) size += piece.size();
  std::string file;
  file.reserve(size);
  for (std::string_view piece : layout.pieces) file.append(piece);
  return file;
}

absl::Status WriteContainerFile(const std::string& path,
                                const std::vector<SectionToWrite>& sections) {
  Layout layout;
  LayOut(sections, &layout);
  return WriteFileAtomically(path, layout.pieces);
}

absl::StatusOr<Container> Container::Open(std::shared_ptr<const Bytes> bytes) {
  const std::string_view file = bytes->view();
  const auto error = [&](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat(bytes->path(), ": ", what...));
  };
  Header header;
  if (file.size() < sizeof(header) || memcmp(file.data(), kMagic, sizeof(kMagic)) != 0) {
    return error("not a Weft file (expected it to start with \"WEFTFILE\")");
  }
  memcpy(&header, file.data(), sizeof(header));
  if (header.version != kVersion) {
    return error("expected container version ", kVersion, ", got ", header.version,
                 "; use the Weft that wrote it");
  }
  if (header.file_size != file.size()) {
    return error("expected ", header.file_size, " bytes, got ", file.size(),
                 "; the file is truncated or damaged");
  }
  if (header.num_sections > kMaxSections ||
      header.num_sections * sizeof(TableEntry) > file.size() - sizeof(header) || header.zero != 0) {
    return error("damaged header (", header.num_sections, " sections)");
  }
  const std::string_view table =
      file.substr(sizeof(header), header.num_sections * sizeof(TableEntry));
  if (Crc32(table) != header.table_crc) return error("the section table is damaged");

  Container container;
  uint64_t end = sizeof(header) + table.size();
  for (uint32_t i = 0; i < header.num_sections; ++i) {
    TableEntry entry;
    memcpy(&entry, table.data() + i * sizeof(entry), sizeof(entry));
    const std::string_view name(entry.name, strnlen(entry.name, sizeof(entry.name)));
    if (!IsSectionName(name) ||
        !AllZero(std::string_view(entry.name, sizeof(entry.name)).substr(name.size()))) {
      return error("section ", i, " has a malformed name");
    }
    if (container.Has(name)) return error("section '", std::string(name), "' is there twice");
    if (entry.log2_alignment < kMinLog2Alignment || entry.log2_alignment > kMaxLog2Alignment ||
        entry.zero != 0 || entry.offset < end || entry.offset > file.size() ||
        entry.offset != AlignUp(end, static_cast<int>(entry.log2_alignment)) ||
        entry.size > file.size() - entry.offset) {
      return error("section '", std::string(name), "' lies outside the file or overlaps another");
    }
    if (!AllZero(file.substr(end, entry.offset - end))) {
      return error("damaged between sections, before '", std::string(name), "'");
    }
    end = entry.offset + entry.size;
    container.entries_.push_back({std::string(name), entry.offset, entry.size, entry.crc,
                                  static_cast<int>(entry.log2_alignment)});
  }
  if (end != file.size()) return error("has bytes after its last section");
  container.bytes_ = std::move(bytes);
  return container;
}

bool Container::Has(std::string_view section) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.name == section; });
}

absl::StatusOr<const Container::Entry*> Container::Find(std::string_view name) const {
  for (const Entry& entry : entries_) {
    if (entry.name == name) return &entry;
  }
  return absl::NotFoundError(
      absl::StrCat(bytes_->path(), ": has no section '", std::string(name), "'"));
}

absl::StatusOr<std::string_view> Container::Section(std::string_view name, bool verify) const {
  absl::StatusOr<const Entry*> entry = Find(name);
  if (!entry.ok()) return entry.status();
  const std::string_view bytes = bytes_->view().substr((*entry)->offset, (*entry)->size);
  if (verify && Crc32(bytes) != (*entry)->crc) {
    return absl::DataLossError(absl::StrCat(bytes_->path(), ": section '", std::string(name),
                                            "' is damaged (its checksum differs)"));
  }
  return bytes;
}

absl::StatusOr<uint64_t> Container::Offset(std::string_view name) const {
  absl::StatusOr<const Entry*> entry = Find(name);
  if (!entry.ok()) return entry.status();
  return (*entry)->offset;
}

std::vector<std::string> Container::Names() const {
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const Entry& entry : entries_) names.push_back(entry.name);
  return names;
}

std::vector<SectionToWrite> Container::Sections() const {
  std::vector<SectionToWrite> sections;
  sections.reserve(entries_.size());
  for (const Entry& entry : entries_) {
    sections.push_back(
        {entry.name, bytes_->view().substr(entry.offset, entry.size), entry.log2_alignment});
  }
  return sections;
}

}  // namespace weft
