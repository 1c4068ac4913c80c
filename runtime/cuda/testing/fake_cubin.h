// An image that has the form of machine code for NVIDIA's GPUs, and holds PTX: what a fake
// assembler makes and a fake driver takes.
#ifndef WEFT_RUNTIME_CUDA_TESTING_FAKE_CUBIN_H_
#define WEFT_RUNTIME_CUDA_TESTING_FAKE_CUBIN_H_

#include <elf.h>

#include <cstring>
#include <string>
#include <string_view>

namespace weft::cuda {

// Sections of the image, in this order, after the empty one.
enum FakeSection { kNames = 1, kSymbolNames, kSymbols, kRelocations, kPtx, kShared, kFakeSections };

inline std::string MakeFakeCubin(std::string_view ptx) {
  const std::string names("\0.shstrtab\0.strtab\0.symtab\0.rel.ptx\0.ptx\0.nv.shared\0", 52);
  const std::string symbol_names("\0kernel\0", 8);
  Elf64_Sym symbols[2] = {};
  symbols[1].st_name = 1;
  symbols[1].st_shndx = kPtx;
  symbols[1].st_size = ptx.size();
  Elf64_Rel relocation = {};
  relocation.r_info = ELF64_R_INFO(1, 2);
  const std::string_view contents[kFakeSections] = {
      {},
      names,
      symbol_names,
      {reinterpret_cast<const char*>(symbols), sizeof(symbols)},
      {reinterpret_cast<const char*>(&relocation), sizeof(relocation)},
      ptx,
      {}};
  const unsigned types[kFakeSections] = {SHT_NULL, SHT_STRTAB,   SHT_STRTAB, SHT_SYMTAB,
                                         SHT_REL,  SHT_PROGBITS, SHT_NOBITS};
  const char* const called[kFakeSections] = {"",     ".shstrtab", ".strtab",   ".symtab",
                                             ".rel", ".ptx",      ".nv.shared"};
  Elf64_Shdr sections[kFakeSections] = {};
  Elf64_Phdr segment = {};
  std::string body;
  const size_t begin = sizeof(Elf64_Ehdr) + sizeof(segment) + sizeof(sections);
  for (int i = 1; i < kFakeSections; ++i) {
    if (!contents[i].empty()) body.resize((body.size() + 7) / 8 * 8);
    sections[i].sh_name = static_cast<Elf64_Word>(names.find(called[i]));
    sections[i].sh_type = types[i];
    sections[i].sh_offset = begin + body.size();
    sections[i].sh_size = contents[i].size();
    body += contents[i];
  }
  sections[kSymbols].sh_link = kSymbolNames;
  sections[kSymbols].sh_entsize = sizeof(Elf64_Sym);
  sections[kRelocations].sh_link = kSymbols;
  sections[kRelocations].sh_info = kPtx;
  sections[kRelocations].sh_entsize = sizeof(Elf64_Rel);
  // Of memory, not of the file.
  sections[kShared].sh_size = 1 << 20;
  segment.p_offset = sections[kPtx].sh_offset;
  segment.p_filesz = ptx.size();

  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_machine = 190;
  header.e_ehsize = sizeof(header);
  header.e_phentsize = sizeof(segment);
  header.e_phnum = 1;
  header.e_phoff = sizeof(header);
  header.e_shentsize = sizeof(sections[0]);
  header.e_shnum = kFakeSections;
  header.e_shoff = sizeof(header) + sizeof(segment);
  header.e_shstrndx = kNames;
  std::string image;
  image.append(reinterpret_cast<const char*>(&header), sizeof(header));
  image.append(reinterpret_cast<const char*>(&segment), sizeof(segment));
  image.append(reinterpret_cast<const char*>(sections), sizeof(sections));
  return image + body;
}

// What lies where in such an image.
struct FakeCubin {
  explicit FakeCubin(char* image)
      : header(reinterpret_cast<Elf64_Ehdr*>(image)),
        segment(reinterpret_cast<Elf64_Phdr*>(image + sizeof(Elf64_Ehdr))),
        sections(reinterpret_cast<Elf64_Shdr*>(segment + 1)),
        symbols(reinterpret_cast<Elf64_Sym*>(image + sections[kSymbols].sh_offset)),
        relocation(reinterpret_cast<Elf64_Rel*>(image + sections[kRelocations].sh_offset)) {}
  std::string_view ptx() const {
    return {reinterpret_cast<const char*>(header) + sections[kPtx].sh_offset,
            sections[kPtx].sh_size};
  }

  Elf64_Ehdr* header;
  Elf64_Phdr* segment;
  Elf64_Shdr* sections;
  Elf64_Sym* symbols;
  Elf64_Rel* relocation;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_TESTING_FAKE_CUBIN_H_
