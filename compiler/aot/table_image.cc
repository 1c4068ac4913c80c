#include "compiler/aot/table_image.h"

#include <vector>

#include "llvm/IR/Constants.h"
#include "llvm/IR/DerivedTypes.h"
#include "llvm/IR/GlobalVariable.h"
#include "llvm/IR/Module.h"

namespace weft {
namespace {

constexpr uint64_t kPointerBytes = 8;

}  // namespace

TableImage::Offset TableImage::AddBytes(const void* bytes, size_t size, size_t alignment) {
  bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment, '\0');
  const Offset offset = bytes_.size();
  bytes_.append(static_cast<const char*>(bytes), size);
  return offset;
}

TableImage::Offset TableImage::AddString(std::string_view text) {
  const auto found = strings_.find(text);
  if (found != strings_.end()) return found->second;
  const std::string string(text);
  const Offset offset = AddBytes(string.c_str(), string.size() + 1, 1);
  strings_.emplace(string, offset);
  return offset;
}

void TableImage::Point(Offset field, Offset target) { pointers_[field] = {nullptr, target}; }

void TableImage::PointOutside(Offset field, llvm::Constant* base, uint64_t offset) {
  pointers_[field] = {base, offset};
}

void TableImage::Define(llvm::Module& module, std::string_view name) const {
  llvm::LLVMContext& context = module.getContext();
  // A packed struct of stretches of bytes and pointers, in turn.
  std::vector<llvm::Type*> types;
  std::vector<llvm::Constant*> fields;
  auto* pointer = llvm::PointerType::get(context, 0);
  auto* byte = llvm::Type::getInt8Ty(context);
  Offset at = 0;
  const auto add_bytes = [&](Offset end) {
    if (end == at) return;
    fields.push_back(llvm::ConstantDataArray::getString(
        context, llvm::StringRef(bytes_).slice(at, end), /*AddNull=*/false));
    types.push_back(fields.back()->getType());
    at = end;
  };
  for (const auto& [field, target] : pointers_) {
    add_bytes(field);
    types.push_back(pointer);
    fields.push_back(nullptr);
    at = field + kPointerBytes;
  }
  add_bytes(bytes_.size());
  auto* type = llvm::StructType::get(context, types, /*isPacked=*/true);
  const llvm::StringRef symbol(name.data(), name.size());
  auto* image = new llvm::GlobalVariable(module, type, /*isConstant=*/true,
                                         llvm::GlobalValue::ExternalLinkage, nullptr);
  if (llvm::GlobalVariable* declaration = module.getNamedGlobal(symbol)) {
    declaration->replaceAllUsesWith(image);
    declaration->eraseFromParent();
  }
  image->setName(symbol);
  image->setAlignment(llvm::Align(64));
  image->setVisibility(llvm::GlobalValue::HiddenVisibility);
  image->setDSOLocal(true);
  auto* offset_type = llvm::Type::getInt64Ty(context);
  auto entry = pointers_.begin();
  for (llvm::Constant*& field : fields) {
    if (field != nullptr) continue;
    const Pointer& target = entry->second;
    llvm::Constant* base = target.base == nullptr ? image : target.base;
    field = llvm::ConstantExpr::getGetElementPtr(
        byte, base, llvm::ConstantInt::get(offset_type, target.offset));
    ++entry;
  }
  image->setInitializer(llvm::ConstantStruct::get(type, fields));
}

}  // namespace weft
