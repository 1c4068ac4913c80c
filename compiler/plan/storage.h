// Which values share memory: from values to storages, each of which becomes a buffer.
#ifndef WEFT_COMPILER_PLAN_STORAGE_H_
#define WEFT_COMPILER_PLAN_STORAGE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "llvm/ADT/DenseMap.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "proto/dim_expr.h"

namespace weft {

enum class Space { kArena, kConstant, kVariable, kInput, kOutput };

// Bytes that one or more values occupy, at the same time (reshapes) or one after the other (results
// written over operands).
struct Storage {
  Space space = Space::kArena;
  // Of the function's inputs, outputs or variables.
  int index = 0;
  // For constants: the elements, or the index of a weight.
  mlir::Attribute constant;
  DimExpr bytes;
  // The device that it lies on, as place.h names it.
  std::string device;
  // Positions in the schedule between which it is needed; for the arena.
  int64_t begin = 0, end = 0;
  // The op that makes its first value; null for arguments.
  mlir::Operation* maker = nullptr;
};

struct StorageCopy {
  int source = 0, destination = 0;
};

struct StorageOptions {
  // Results may be written over operands.
  bool in_place = true;
  // Storages are reused once what they hold is dead. Without, everything lives to the end.
  bool reuse = true;
};

// Operand and result pairs that a kernel may keep in one buffer, for each fusion.
using MayShare = llvm::DenseMap<mlir::Operation*, std::vector<std::pair<int, int>>>;

class StoragePlan {
 public:
  // The function holds fusions, reshapes, constants, assertions, prints and control flow.
  StoragePlan(mlir::func::FuncOp function, const MayShare& may_share,
              const StorageOptions& options);

  // An index in storages().
  int Of(mlir::Value value) const { return Root(storage_of_.lookup(value)); }
  const std::vector<Storage>& storages() const { return storages_; }
  // Whether the storage stands for itself; those merged into others are skipped.
  bool IsRoot(int storage) const { return Root(storage) == storage; }
  // Copies to make before `op`, in this order (for a terminator: at the end of its block), and
  // those at the start of the function.
  const std::vector<StorageCopy>& CopiesBefore(mlir::Operation* op) const;
  const std::vector<StorageCopy>& first_copies() const { return first_copies_; }

 private:
  struct Use {
    int64_t position;
    mlir::Operation* op;
  };
  // A value that must end up in a storage when control reaches `at`.
  struct Destination {
    mlir::Value value;
    int storage;
    mlir::Operation* at;
  };

  int Root(int storage) const;
  int NewStorage(Space space, int index, mlir::Value value, mlir::Operation* maker);
  void NumberOps(mlir::Block* block);
  void AssignBlock(mlir::Block* block);
  void AssignWhile(mlir::Operation* op);
  void AssignCond(mlir::Operation* op);
  void BindResults();
  void RecordUses(mlir::Block* block);
  void RecordUse(mlir::Value value, mlir::Operation* op);
  void Resolve();
  bool MakeDirect(const Destination& destination);
  bool OldValueIsRead(int storage, const Destination& destination) const;
  void StartLoopsInPlace();
  void ShareOperands();
  void AddCopies();
  void Redirect(int from, int to);

  mlir::func::FuncOp function_;
  const MayShare& may_share_;
  StorageOptions options_;
  std::vector<Storage> storages_;
  mutable std::vector<int> parent_;
  std::vector<std::vector<Use>> uses_;
  llvm::DenseMap<mlir::Value, int> storage_of_;
  llvm::DenseMap<mlir::Operation*, int64_t> position_, end_position_;
  std::vector<Destination> destinations_;
  // Carried values of loops: where they start from.
  std::vector<Destination> starts_;
  llvm::DenseMap<mlir::Operation*, std::vector<StorageCopy>> copies_;
  std::vector<StorageCopy> first_copies_;
  int64_t next_position_ = 1;
  // Of the last assertion or loop.
  int64_t last_failing_ = 0;
};

}  // namespace weft

#endif  // WEFT_COMPILER_PLAN_STORAGE_H_
