// The linker for images. An image needs no more of a linker than to place sections and to resolve
// references between them that are relative to the place of use; doing that here is quicker than
// to call lld, and it takes no files and no lock.
#include <cstring>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "compiler/codegen/cpu/backend.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/MemoryBuffer.h"

namespace weft {
namespace {

using llvm::object::ELF64LEFile;
using Shdr = ELF64LEFile::Elf_Shdr;
using Sym = ELF64LEFile::Elf_Sym;

constexpr char kPadding[] = {'\x90'};

absl::Status Error(absl::string_view problem, absl::string_view symbol) {
  return absl::InternalError(
      absl::StrCat("generated code ", problem, symbol.empty() ? "" : ": ", symbol));
}

template <typename T>
absl::StatusOr<T> Get(llvm::Expected<T> value) {
  if (value) return *std::move(value);
  return absl::InternalError(
      absl::StrCat("generated object is malformed: ", llvm::toString(value.takeError())));
}

// One object while it is linked.
struct Input {
  ELF64LEFile file;
  llvm::ArrayRef<Shdr> sections;
  llvm::ArrayRef<Sym> symbols;
  llvm::StringRef names;
  std::map<size_t, uint64_t> placed;  // section index -> offset in the image
};

class Linker {
 public:
  absl::Status Add(const std::string& object) {
    auto file = Get(ELF64LEFile::create(object));
    if (!file.ok()) return file.status();
    Input input{*file, {}, {}, {}, {}};
    auto sections = Get(input.file.sections());
    if (!sections.ok()) return sections.status();
    input.sections = *sections;
    for (const Shdr& section : input.sections) {
      if (section.sh_type != llvm::ELF::SHT_SYMTAB) continue;
      auto symbols = Get(input.file.symbols(&section));
      auto names = Get(input.file.getStringTableForSymtab(section, input.sections));
      if (!symbols.ok()) return symbols.status();
      if (!names.ok()) return names.status();
      input.symbols = *symbols;
      input.names = *names;
    }
    for (size_t i = 0; i < input.sections.size(); ++i) {
      const Shdr& section = input.sections[i];
      if (!(section.sh_flags & llvm::ELF::SHF_ALLOC) || section.sh_size == 0) continue;
      if (section.sh_flags & llvm::ELF::SHF_WRITE || section.sh_type != llvm::ELF::SHT_PROGBITS) {
        auto name = Get(input.file.getSectionName(section));
        return Error("has writable data or a section of its own kind",
                     name.ok() ? name->str() : "");
      }
      auto contents = Get(input.file.getSectionContents(section));
      if (!contents.ok()) return contents.status();
      Align(section.sh_addralign);
      input.placed[i] = image_.bytes.size();
      image_.bytes.append(reinterpret_cast<const char*>(contents->data()), contents->size());
    }
    for (const Sym& symbol : input.symbols) {
      if (symbol.getBinding() != llvm::ELF::STB_GLOBAL || symbol.isUndefined()) continue;
      auto place = input.placed.find(symbol.st_shndx);
      std::string name = Name(input, symbol);
      if (place == input.placed.end()) return Error("defines a symbol in no section", name);
      if (!image_.symbols.emplace(name, place->second + symbol.st_value).second) {
        return Error("has two kernels of one name", name);
      }
    }
    inputs_.push_back(std::move(input));
    return absl::OkStatus();
  }

  absl::StatusOr<CodeImage> Finish() {
    Align(64);
    for (const Input& input : inputs_) {
      for (const Shdr& section : input.sections) {
        if (section.sh_type == llvm::ELF::SHT_REL) return Error("has relocations of type REL", "");
        if (section.sh_type != llvm::ELF::SHT_RELA) continue;
        auto place = input.placed.find(section.sh_info);
        if (place == input.placed.end()) continue;  // of a section that is not loaded
        auto relocations = Get(input.file.relas(section));
        if (!relocations.ok()) return relocations.status();
        for (const auto& relocation : *relocations) {
          absl::Status status = Resolve(input, place->second, relocation);
          if (!status.ok()) return status;
        }
      }
    }
    return std::move(image_);
  }

 private:
  static std::string Name(const Input& input, const Sym& symbol) {
    auto name = symbol.getName(input.names);
    if (name) return name->str();
    llvm::consumeError(name.takeError());
    return "";
  }

  void Align(uint64_t alignment) {
    while (alignment > 1 && image_.bytes.size() % alignment != 0) {
      image_.bytes.append(kPadding, sizeof(kPadding));
    }
  }

  absl::Status Resolve(const Input& input, uint64_t base, const ELF64LEFile::Elf_Rela& relocation) {
    const Sym& symbol = input.symbols[relocation.getSymbol(false)];
    const std::string name = Name(input, symbol);
    uint64_t target;
    if (symbol.isUndefined()) {
      auto known = image_.symbols.find(name);
      if (known == image_.symbols.end()) return Error("refers to what it does not contain", name);
      target = known->second;
    } else {
      auto place = input.placed.find(symbol.st_shndx);
      if (place == input.placed.end()) return Error("refers to a section that is not there", name);
      target = place->second + symbol.st_value;
    }
    const uint64_t where = base + relocation.r_offset;
    const int64_t value = static_cast<int64_t>(target + relocation.r_addend - where);
    switch (relocation.getType(false)) {
      case llvm::ELF::R_X86_64_PC32:
      case llvm::ELF::R_X86_64_PLT32: {
        const int32_t narrow = static_cast<int32_t>(value);
        if (narrow != value) return Error("is too large for 32-bit offsets", name);
        std::memcpy(image_.bytes.data() + where, &narrow, sizeof(narrow));
        return absl::OkStatus();
      }
      case llvm::ELF::R_X86_64_PC64:
        std::memcpy(image_.bytes.data() + where, &value, sizeof(value));
        return absl::OkStatus();
      default:
        return Error(
            absl::StrCat("needs a relocation at load time of type ", relocation.getType(false)),
            name);
    }
  }

  std::vector<Input> inputs_;
  CodeImage image_;
};

}  // namespace

absl::StatusOr<CodeImage> LinkImage(absl::Span<const std::string> objects) {
  Linker linker;
  for (const std::string& object : objects) {
    absl::Status status = linker.Add(object);
    if (!status.ok()) return status;
  }
  return linker.Finish();
}

}  // namespace weft
