// All variables of an instance to and from a safetensors file, in the layout that
// proto/safetensors.h describes.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/aot/support/file.h"
#include "compiler/aot/support/instance.h"
#include "compiler/aot/support/model.h"
#include "proto/core/atomic_file.h"
#include "proto/core/crc32.h"
#include "proto/core/safetensors_format.h"

namespace {

using weft::FormatError;
using weft::SafetensorsFile;
using weft::SafetensorsItem;
using weft::SafetensorsTensor;

// The header and the values, as pieces of a file; frees what it is given.
struct Saving {
  SafetensorsItem* items = nullptr;
  weft::FilePiece* pieces = nullptr;
  char* header = nullptr;

  ~Saving() {
    free(items);
    free(pieces);
    free(header);
  }
};

// Whether a tensor of a file can be a variable's value.
int CheckType(WeftModel* model, const char* path, const SafetensorsTensor& tensor,
              const WeftModelVariable& variable) {
  int64_t shape[weft::kMaxFileRank];
  const size_t rank = ShapeOf(tensor, shape);
  if (static_cast<int32_t>(tensor.dtype) == variable.dtype && rank == variable.rank &&
      (rank == 0 || memcmp(shape, variable.shape, sizeof(int64_t) * rank) == 0)) {
    return WEFT_MODEL_OK;
  }
  char expected[weft::aot::kMaxTypeText], got[weft::aot::kMaxTypeText];
  weft::aot::WriteType(variable.dtype, variable.shape, variable.rank, expected);
  weft::aot::WriteType(static_cast<int32_t>(tensor.dtype), shape, rank, got);
  return weft_model_fail(model, WEFT_MODEL_FILE_ERROR, "'%s': variable '%s': expected %s, got %s",
                         path, variable.name, expected, got);
}

// Sets the variables to the values in a file that was read, or none of them.
int SetVariables(WeftModel* model, const char* path, const SafetensorsFile& file) {
  const WeftModelTables& tables = *weft_model_tables_of(model);
  for (uint32_t i = 0; i < tables.num_variables; ++i) {
    const WeftModelVariable& variable = tables.variables[i];
    const SafetensorsTensor* tensor = file.Find(variable.name);
    if (tensor == nullptr) {
      return weft_model_fail(model, WEFT_MODEL_FILE_ERROR, "'%s' lacks variable '%s'", path,
                             variable.name);
    }
    if (const int status = CheckType(model, path, *tensor, variable)) return status;
  }
  if (int status = weft_model_reserve_variables(model)) return status;
  for (uint32_t i = 0; i < tables.num_variables; ++i) {
    const WeftModelVariable& variable = tables.variables[i];
    const std::string_view bytes = file.BytesOf(*file.Find(variable.name));
    if (int status = weft_model_set_variable(model, variable.name, bytes.data(), variable.bytes)) {
      return status;
    }
  }
  return WEFT_MODEL_OK;
}

}  // namespace

int weft_model_save_variables(WeftModel* model, const char* path) {
  const WeftModelTables& tables = *weft_model_tables_of(model);
  const uint32_t count = tables.num_variables;
  for (uint32_t i = 0; i < count; ++i) {
    if (weft_model_variable_value(model, i) != nullptr) continue;
    return weft_model_fail(model, WEFT_MODEL_UNDEFINED_VARIABLE,
                           "cannot save '%s': variable '%s' has no value", path,
                           tables.variables[i].name);
  }
  const auto no_memory = [&] {
    return weft_model_fail(model, WEFT_MODEL_OUT_OF_MEMORY, "no memory to save '%s'", path);
  };
  Saving saving;
  saving.items = static_cast<SafetensorsItem*>(malloc((count + 1) * sizeof(SafetensorsItem)));
  saving.pieces = static_cast<weft::FilePiece*>(malloc((count + 1) * sizeof(weft::FilePiece)));
  if (saving.items == nullptr || saving.pieces == nullptr) return no_memory();
  for (uint32_t i = 0; i < count; ++i) {
    const WeftModelVariable& variable = tables.variables[i];
    saving.items[i] = {variable.name,
                       static_cast<weft::DataType>(variable.dtype),
                       variable.shape,
                       variable.rank,
                       {static_cast<const char*>(weft_model_variable_value(model, i)),
                        static_cast<size_t>(variable.bytes)}};
  }
  weft::SortSafetensors(saving.items, count);
  const size_t header_size = weft::WriteSafetensorsHeader(saving.items, count, nullptr, 0, nullptr);
  saving.header = static_cast<char*>(malloc(header_size));
  if (saving.header == nullptr) return no_memory();
  weft::WriteSafetensorsHeader(saving.items, count, nullptr, 0, saving.header);
  saving.pieces[0] = {saving.header, header_size};
  uint32_t crc = weft::Crc32({saving.header, header_size});
  for (uint32_t i = 0; i < count; ++i) {
    const std::string_view bytes = saving.items[i].bytes;
    saving.pieces[i + 1] = {bytes.data(), bytes.size()};
    crc = weft::Crc32(bytes, crc);
  }
  weft::PutSafetensorsCrc(crc, saving.header);
  const int written = weft::ReplaceFile(path, saving.pieces, count + 1);
  if (written == 0) return WEFT_MODEL_OK;
  return weft_model_fail(model, WEFT_MODEL_FILE_ERROR, "cannot write '%s': %s", path,
                         strerror(written));
}

int weft_model_load_variables(WeftModel* model, const char* path) {
  weft::aot::MappedFile mapped;
  if (!mapped.Map(path)) {
    return weft_model_fail(model, WEFT_MODEL_FILE_ERROR, "cannot read '%s': %s", path,
                           strerror(errno));
  }
  SafetensorsFile file;
  FormatError error = OpenSafetensors({mapped.bytes(), mapped.size()}, &file);
  void* memory = malloc(file.memory_bytes + 1);
  if (memory == nullptr) {
    return weft_model_fail(model, WEFT_MODEL_OUT_OF_MEMORY, "no memory to load '%s'", path);
  }
  if (!error) error = ParseSafetensors(memory, &file);
  int status;
  if (error) {
    char problem[384];
    Describe(error, problem, sizeof(problem));
    status = weft_model_fail(model, WEFT_MODEL_FILE_ERROR, "'%s': %s", path, problem);
  } else {
    status = SetVariables(model, path, file);
  }
  free(memory);
  return status;
}
