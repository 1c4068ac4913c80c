#include "runtime/cuda/cubin.h"

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"

namespace weft::cuda {
namespace {

constexpr uint16_t kMachine = 190;  // EM_CUDA

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  absl::Status Check() {
    if (!Read(0, &header_) || std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) {
      return Wrong("it is no ELF image");
    }
    if (header_.e_ident[EI_CLASS] != ELFCLASS64 || header_.e_ident[EI_DATA] != ELFDATA2LSB ||
        header_.e_machine != kMachine) {
      return Wrong("it is not for NVIDIA's GPUs");
    }
    if (header_.e_ehsize != sizeof(Elf64_Ehdr) ||
        (header_.e_phnum > 0 && header_.e_phentsize != sizeof(Elf64_Phdr)) ||
        (header_.e_shnum > 0 && header_.e_shentsize != sizeof(Elf64_Shdr))) {
      return Wrong("its headers have sizes of their own");
    }
    for (uint64_t i = 0; i < header_.e_phnum; ++i) {
      Elf64_Phdr segment;
      if (!ReadOf(header_.e_phoff, i, &segment) ||
          !Holds(bytes_.size(), segment.p_offset, segment.p_filesz)) {
        return Wrong(absl::StrCat("segment ", i, " is not within it"));
      }
    }
    sections_.resize(header_.e_shnum);
    for (size_t i = 0; i < sections_.size(); ++i) {
      Elf64_Shdr& section = sections_[i];
      if (!ReadOf(header_.e_shoff, i, &section) ||
          (HasBytes(section) && !Holds(bytes_.size(), section.sh_offset, section.sh_size))) {
        return WrongSection(i, "is not within it");
      }
    }
    if (sections_.empty() || !IsText(header_.e_shstrndx))
      return Wrong("its sections have no names");
    for (size_t i = 0; i < sections_.size(); ++i) {
      if (absl::Status status = CheckSection(i); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status Wrong(const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("its machine code is damaged: ", what));
  }
  static absl::Status WrongSection(size_t i, const char* what) {
    return Wrong(absl::StrCat("section ", i, " ", what));
  }
  static bool Holds(uint64_t size, uint64_t offset, uint64_t bytes) {
    return offset <= size && bytes <= size - offset;
  }
  static bool HasBytes(const Elf64_Shdr& section) {
    return section.sh_type != SHT_NULL && section.sh_type != SHT_NOBITS;
  }

  template <typename T>
  bool Read(uint64_t offset, T* value) const {
    if (!Holds(bytes_.size(), offset, sizeof(T))) return false;
    std::memcpy(value, bytes_.data() + offset, sizeof(T));
    return true;
  }
  // Entry i of a table.
  template <typename T>
  bool ReadOf(uint64_t table, uint64_t i, T* value) const {
    return table <= bytes_.size() && Read(table + i * sizeof(T), value);
  }

  // Names, each of which ends.
  bool IsText(size_t i) const {
    if (i >= sections_.size() || sections_[i].sh_type != SHT_STRTAB) return false;
    const Elf64_Shdr& section = sections_[i];
    return section.sh_size > 0 && bytes_[section.sh_offset + section.sh_size - 1] == '\0';
  }

  absl::Status CheckSection(size_t i) const {
    const Elf64_Shdr& section = sections_[i];
    if (section.sh_name >= sections_[header_.e_shstrndx].sh_size) {
      return WrongSection(i, "has no name");
    }
    if (section.sh_link >= sections_.size()) return WrongSection(i, "belongs to none");
    switch (section.sh_type) {
      case SHT_SYMTAB:
        return CheckSymbols(i);
      case SHT_REL:
        return CheckRelocations<Elf64_Rel>(i);
      case SHT_RELA:
        return CheckRelocations<Elf64_Rela>(i);
      default:
        return absl::OkStatus();
    }
  }

  absl::Status CheckSymbols(size_t i) const {
    const Elf64_Shdr& section = sections_[i];
    if (section.sh_entsize != sizeof(Elf64_Sym) || section.sh_size % sizeof(Elf64_Sym) != 0 ||
        !IsText(section.sh_link)) {
      return WrongSection(i, "is no table of symbols");
    }
    for (uint64_t k = 0; k < section.sh_size / sizeof(Elf64_Sym); ++k) {
      Elf64_Sym symbol;
      if (!ReadOf(section.sh_offset, k, &symbol) ||
          symbol.st_name >= sections_[section.sh_link].sh_size) {
        return WrongSection(i, "has a symbol without a name");
      }
      if (symbol.st_shndx >= SHN_LORESERVE) continue;
      if (symbol.st_shndx >= sections_.size() ||
          (symbol.st_shndx != SHN_UNDEF &&
           !Holds(sections_[symbol.st_shndx].sh_size, symbol.st_value, symbol.st_size))) {
        return WrongSection(i, "has a symbol that is nowhere");
      }
    }
    return absl::OkStatus();
  }

  template <typename Relocation>
  absl::Status CheckRelocations(size_t i) const {
    const Elf64_Shdr& section = sections_[i];
    const Elf64_Shdr& symbols = sections_[section.sh_link];
    if (section.sh_entsize != sizeof(Relocation) || section.sh_size % sizeof(Relocation) != 0 ||
        symbols.sh_type != SHT_SYMTAB || section.sh_info >= sections_.size()) {
      return WrongSection(i, "is no table of relocations");
    }
    for (uint64_t k = 0; k < section.sh_size / sizeof(Relocation); ++k) {
      Relocation relocation;
      if (!ReadOf(section.sh_offset, k, &relocation) ||
          ELF64_R_SYM(relocation.r_info) >= symbols.sh_size / sizeof(Elf64_Sym) ||
          !Holds(sections_[section.sh_info].sh_size, relocation.r_offset, sizeof(uint64_t))) {
        return WrongSection(i, "has a relocation that is nowhere");
      }
    }
    return absl::OkStatus();
  }

  const std::string_view bytes_;
  Elf64_Ehdr header_ = {};
  std::vector<Elf64_Shdr> sections_;
};

}  // namespace

absl::Status CheckCubin(std::string_view bytes) { return Reader(bytes).Check(); }

}  // namespace weft::cuda
