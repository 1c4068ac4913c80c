#include "runtime/cuda/cubin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "runtime/cuda/testing/fake_cubin.h"

namespace weft::cuda {
namespace {

using ::testing::HasSubstr;

const std::string& Whole() {
  static const auto* const image = new std::string(MakeFakeCubin(".version 7.0\n.target sm_80\n"));
  return *image;
}

TEST(Cubin, AWholeOne) { EXPECT_TRUE(CheckCubin(Whole()).ok()) << CheckCubin(Whole()); }

TEST(Cubin, EveryHeaderThatSpeaksOfWhatIsNotThere) {
  constexpr uint64_t kFar = uint64_t{1} << 40, kHuge = ~uint64_t{0} - 8;
  const std::pair<const char*, std::function<void(FakeCubin&)>> damages[] = {
      {"it is no ELF image", [](FakeCubin& c) { c.header->e_ident[0] = 'E'; }},
      {"not for NVIDIA's GPUs", [](FakeCubin& c) { c.header->e_machine = EM_X86_64; }},
      {"not for NVIDIA's GPUs", [](FakeCubin& c) { c.header->e_ident[EI_CLASS] = ELFCLASS32; }},
      {"not for NVIDIA's GPUs", [](FakeCubin& c) { c.header->e_ident[EI_DATA] = ELFDATA2MSB; }},
      {"sizes of their own", [](FakeCubin& c) { c.header->e_ehsize = 60; }},
      {"sizes of their own", [](FakeCubin& c) { c.header->e_phentsize = 1; }},
      {"sizes of their own", [](FakeCubin& c) { c.header->e_shentsize = 1; }},
      {"segment 0 is not within it", [](FakeCubin& c) { c.header->e_phoff = kFar; }},
      {"segment 0 is not within it", [](FakeCubin& c) { c.header->e_phoff = kHuge; }},
      {"segment 0 is not within it", [](FakeCubin& c) { c.segment->p_filesz = kFar; }},
      {"segment 0 is not within it", [](FakeCubin& c) { c.segment->p_offset = kHuge; }},
      {"is not within it", [](FakeCubin& c) { c.header->e_shoff = kFar; }},
      {"is not within it", [](FakeCubin& c) { c.header->e_shoff = kHuge; }},
      {"is not within it", [](FakeCubin& c) { c.header->e_shnum = 60000; }},
      {"section 5 is not within it", [](FakeCubin& c) { c.sections[kPtx].sh_size = kFar; }},
      {"section 5 is not within it", [](FakeCubin& c) { c.sections[kPtx].sh_offset = kHuge; }},
      {"names", [](FakeCubin& c) { c.header->e_shnum = 0; }},
      {"names", [](FakeCubin& c) { c.header->e_shstrndx = kFakeSections; }},
      {"names", [](FakeCubin& c) { c.header->e_shstrndx = kPtx; }},
      {"names", [](FakeCubin& c) { c.sections[kNames].sh_size -= 1; }},
      {"section 5 has no name", [](FakeCubin& c) { c.sections[kPtx].sh_name = 52; }},
      {"section 5 belongs to none", [](FakeCubin& c) { c.sections[kPtx].sh_link = 99; }},
      {"no table of symbols", [](FakeCubin& c) { c.sections[kSymbols].sh_entsize = 8; }},
      {"no table of symbols", [](FakeCubin& c) { c.sections[kSymbols].sh_size -= 1; }},
      {"no table of symbols", [](FakeCubin& c) { c.sections[kSymbols].sh_link = kPtx; }},
      {"symbol without a name", [](FakeCubin& c) { c.symbols[1].st_name = 8; }},
      {"symbol that is nowhere", [](FakeCubin& c) { c.symbols[1].st_shndx = kFakeSections; }},
      {"symbol that is nowhere", [](FakeCubin& c) { c.symbols[1].st_size += 1; }},
      {"symbol that is nowhere", [](FakeCubin& c) { c.symbols[1].st_value = kHuge; }},
      {"no table of relocations", [](FakeCubin& c) { c.sections[kRelocations].sh_entsize = 24; }},
      {"no table of relocations", [](FakeCubin& c) { c.sections[kRelocations].sh_size -= 1; }},
      {"no table of relocations", [](FakeCubin& c) { c.sections[kRelocations].sh_link = kPtx; }},
      {"no table of relocations", [](FakeCubin& c) { c.sections[kRelocations].sh_info = 99; }},
      {"relocation that is nowhere",
       [](FakeCubin& c) { c.relocation->r_info = ELF64_R_INFO(2, 2); }},
      {"relocation that is nowhere", [](FakeCubin& c) { c.relocation->r_offset = kHuge; }},
      {"relocation that is nowhere",
       [](FakeCubin& c) { c.relocation->r_offset = c.sections[kPtx].sh_size - 3; }}};
  for (const auto& [what, damage] : damages) {
    std::string image = Whole();
    FakeCubin parts(image.data());
    damage(parts);
    const absl::Status status = CheckCubin(image);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }
}

// Memory around the image is not read: the sanitizers would say so.
TEST(Cubin, CutAnywhereAndDamagedAtRandom) {
  for (size_t size = 0; size < Whole().size(); ++size) {
    const std::vector<char> cut(Whole().begin(), Whole().begin() + static_cast<int64_t>(size));
    EXPECT_FALSE(CheckCubin({cut.data(), cut.size()}).ok()) << size;
  }
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::vector<char> image(Whole().begin(), Whole().end());
    for (int k = 0; k < 3; ++k) image[random() % image.size()] = static_cast<char>(random());
    refused += CheckCubin({image.data(), image.size()}).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace weft::cuda
