// All variables of an instance to and from a safetensors file, in the layout that
// proto/safetensors.h describes.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compiler/aot/support/file.h"
#include "compiler/aot/support/model.h"
#include "compiler/aot/support/safetensors.h"
#include "proto/atomic_file.h"

namespace {

using weft::aot::SafetensorsEntry;

// Text that grows. After memory ran short it is empty and `failed`.
class Text {
 public:
  Text() = default;
  Text(const Text&) = delete;
  ~Text() { free(data_); }
  bool failed() const { return failed_; }
  char* data() { return data_; }
  size_t size() const { return size_; }

  void Append(const char* bytes, size_t count) {
    if (failed_) return;
    if (size_ + count > capacity_) {
      const size_t capacity = (size_ + count) * 2;
      void* data = realloc(data_, capacity);
      if (data == nullptr) {
        failed_ = true;
        return;
      }
      data_ = static_cast<char*>(data);
      capacity_ = capacity;
    }
    memcpy(data_ + size_, bytes, count);
    size_ += count;
  }
  void Append(const char* text) { Append(text, strlen(text)); }
  void Format(const char* format, ...) __attribute__((format(printf, 2, 3))) {
    char buffer[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(buffer, sizeof(buffer), format, arguments);
    va_end(arguments);
    Append(buffer);
  }
  // As a JSON string.
  void AppendString(const char* text) {
    Append("\"");
    for (; *text != '\0'; ++text) {
      if (*text == '"' || *text == '\\') {
        Format("\\%c", *text);
      } else if (static_cast<unsigned char>(*text) < 0x20) {
        Format("\\u%04x", static_cast<unsigned>(*text));
      } else {
        Append(text, 1);
      }
    }
    Append("\"");
  }

 private:
  char* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
  bool failed_ = false;
};

// Tensors whose size is a multiple of 64 first, then those of larger elements; by name otherwise.
int CompareVariables(const void* a, const void* b) {
  const auto* x = *static_cast<const WeftModelVariable* const*>(a);
  const auto* y = *static_cast<const WeftModelVariable* const*>(b);
  const bool x_odd = x->bytes % 64 != 0, y_odd = y->bytes % 64 != 0;
  if (x_odd != y_odd) return x_odd ? 1 : -1;
  if (x_odd) {
    const int64_t difference = weft_dtype_bytes(y->dtype) - weft_dtype_bytes(x->dtype);
    if (difference != 0) return difference > 0 ? 1 : -1;
  }
  return strcmp(x->name, y->name);
}

// The header, its length included, with zeros for the checksum, whose place it tells.
void WriteHeader(const WeftModelVariable* const* order, uint32_t count, Text* header,
                 size_t* crc_position) {
  header->Append("\0\0\0\0\0\0\0\0", 8);
  header->Append("{\"__metadata__\":{\"weft.crc32\":\"");
  *crc_position = header->size();
  header->Append("00000000\"}");
  int64_t offset = 0;
  for (uint32_t i = 0; i < count; ++i) {
    header->Append(",");
    header->AppendString(order[i]->name);
    header->Format(":{\"dtype\":\"%s\",\"shape\":[",
                   weft::aot::SafetensorsTypeName(order[i]->dtype));
    for (uint32_t d = 0; d < order[i]->rank; ++d) {
      header->Format("%s%lld", d == 0 ? "" : ",", static_cast<long long>(order[i]->shape[d]));
    }
    header->Format("],\"data_offsets\":[%lld,%lld]}", static_cast<long long>(offset),
                   static_cast<long long>(offset + order[i]->bytes));
    offset += order[i]->bytes;
  }
  header->Append("}");
  while (header->size() % 64 != 0 && !header->failed()) header->Append(" ");
  if (header->failed()) return;
  const uint64_t size = header->size() - sizeof(size);
  memcpy(header->data(), &size, sizeof(size));
}

struct Loading {
  const WeftModelTables* tables;
  const char** data;  // for each variable
  char problem[384];
};

const char* Remember(void* context, const SafetensorsEntry& entry) {
  auto* loading = static_cast<Loading*>(context);
  for (uint32_t i = 0; i < loading->tables->num_variables; ++i) {
    const WeftModelVariable& variable = loading->tables->variables[i];
    if (strcmp(variable.name, entry.name) != 0) continue;
    const char* problem = nullptr;
    if (entry.dtype != variable.dtype) {
      problem = "has another dtype";
    } else if (entry.rank != static_cast<int>(variable.rank) ||
               (entry.rank > 0 &&
                memcmp(entry.shape, variable.shape, sizeof(int64_t) * variable.rank) != 0)) {
      problem = "has another shape";
    } else if (loading->data[i] != nullptr) {
      problem = "is there twice";
    }
    loading->data[i] = entry.data;
    if (problem == nullptr) return nullptr;
    snprintf(loading->problem, sizeof(loading->problem), "variable '%s' %s there", variable.name,
             problem);
    return loading->problem;
  }
  return nullptr;
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
  auto** order = static_cast<const WeftModelVariable**>(malloc((count + 1) * sizeof(void*)));
  auto* pieces = static_cast<weft::FilePiece*>(malloc((count + 1) * sizeof(weft::FilePiece)));
  Text header;
  size_t crc_position = 0;
  if (order != nullptr) {
    for (uint32_t i = 0; i < count; ++i) order[i] = &tables.variables[i];
    qsort(order, count, sizeof(*order), CompareVariables);
    WriteHeader(order, count, &header, &crc_position);
  }
  int status;
  if (order == nullptr || pieces == nullptr || header.failed()) {
    status = weft_model_fail(model, WEFT_MODEL_OUT_OF_MEMORY, "no memory to save '%s'", path);
  } else {
    pieces[0] = {header.data(), header.size()};
    uint32_t crc = weft::aot::Crc32(header.data(), header.size(), 0);
    for (uint32_t i = 0; i < count; ++i) {
      const auto index = static_cast<uint32_t>(order[i] - tables.variables);
      pieces[i + 1] = {static_cast<const char*>(weft_model_variable_value(model, index)),
                       static_cast<size_t>(order[i]->bytes)};
      crc = weft::aot::Crc32(pieces[i + 1].bytes, pieces[i + 1].size, crc);
    }
    char digits[9];
    snprintf(digits, sizeof(digits), "%08x", crc);
    memcpy(header.data() + crc_position, digits, 8);
    status = WEFT_MODEL_OK;
    if (const int error = weft::ReplaceFile(path, pieces, count + 1)) {
      status = weft_model_fail(model, WEFT_MODEL_FILE_ERROR, "cannot write '%s': %s", path,
                               strerror(error));
    }
  }
  free(order);
  free(pieces);
  return status;
}

int weft_model_load_variables(WeftModel* model, const char* path) {
  const WeftModelTables& tables = *weft_model_tables_of(model);
  weft::aot::MappedFile file;
  if (!file.Map(path)) {
    return weft_model_fail(model, WEFT_MODEL_FILE_ERROR, "cannot read '%s': %s", path,
                           strerror(errno));
  }
  Loading loading = {};
  loading.tables = &tables;
  loading.data = static_cast<const char**>(calloc(tables.num_variables + 1, sizeof(char*)));
  if (loading.data == nullptr) {
    return weft_model_fail(model, WEFT_MODEL_OUT_OF_MEMORY, "no memory to load '%s'", path);
  }
  int status = WEFT_MODEL_OK;
  const char* problem = weft::aot::WalkSafetensors(file.bytes(), file.size(), &Remember, &loading);
  if (problem != nullptr) {
    status = weft_model_fail(model, WEFT_MODEL_FILE_ERROR, "'%s': %s", path, problem);
  }
  for (uint32_t i = 0; status == WEFT_MODEL_OK && i < tables.num_variables; ++i) {
    if (loading.data[i] != nullptr) continue;
    status = weft_model_fail(model, WEFT_MODEL_FILE_ERROR, "'%s' lacks variable '%s'", path,
                             tables.variables[i].name);
  }
  if (status == WEFT_MODEL_OK) status = weft_model_reserve_variables(model);
  for (uint32_t i = 0; status == WEFT_MODEL_OK && i < tables.num_variables; ++i) {
    status = weft_model_set_variable(model, tables.variables[i].name, loading.data[i],
                                     tables.variables[i].bytes);
  }
  free(loading.data);
  return status;
}
