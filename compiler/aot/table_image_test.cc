#include "compiler/aot/table_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "llvm/IR/GlobalVariable.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/raw_ostream.h"

namespace weft {
namespace {

struct Entry {
  const char* name;
  const Entry* next;
  const void* outside;
  int64_t value;
};

std::string Text(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  EXPECT_FALSE(llvm::verifyModule(module, &stream)) << text;
  return text;
}

TEST(TableImage, PointersAreAddresses) {
  llvm::LLVMContext context;
  llvm::Module module("test", context);
  auto* outside = new llvm::GlobalVariable(module, llvm::Type::getInt8Ty(context), true,
                                           llvm::GlobalValue::ExternalLinkage, nullptr, "outside");
  TableImage image;
  const std::vector<Entry> entries = {{nullptr, nullptr, nullptr, 0x41}, {}};
  const TableImage::Offset first = image.Add(absl::MakeConstSpan(entries));
  const TableImage::Offset odd = image.AddString("ab");
  EXPECT_EQ(image.AddString("ab"), odd);
  // Aligned, although a string came before.
  const TableImage::Offset second = image.AddOne(entries[0]);
  EXPECT_EQ(second % alignof(Entry), 0u);
  image.Point(first + offsetof(Entry, name), odd);
  image.Point(first + offsetof(Entry, next), first + sizeof(Entry));
  image.PointOutside(second + offsetof(Entry, outside), outside, 5);
  image.Define(module, "tables");
  const std::string text = Text(module);
  EXPECT_THAT(text, testing::HasSubstr("@tables = hidden constant <{ ptr, ptr, [")) << text;
  EXPECT_THAT(text, testing::HasSubstr(
                        "<{ ptr getelementptr (i8, ptr @tables, i64 64), ptr getelementptr (i8, "
                        "ptr @tables, i64 32)"));
  EXPECT_THAT(text, testing::HasSubstr("ptr getelementptr (i8, ptr @outside, i64 5)"));
  EXPECT_THAT(text, testing::HasSubstr("align 64"));
}

TEST(TableImage, ReplacesItsDeclaration) {
  llvm::LLVMContext context;
  llvm::Module module("test", context);
  auto* declared = new llvm::GlobalVariable(module, llvm::Type::getInt8Ty(context), true,
                                            llvm::GlobalValue::ExternalLinkage, nullptr, "tables");
  new llvm::GlobalVariable(module, declared->getType(), true, llvm::GlobalValue::ExternalLinkage,
                           declared, "user");
  TableImage image;
  image.AddString("text");
  image.Define(module, "tables");
  const std::string text = Text(module);
  EXPECT_THAT(text, testing::HasSubstr("@user = constant ptr @tables"));
  EXPECT_EQ(text.find("@tables = external"), std::string::npos);
}

}  // namespace
}  // namespace weft
