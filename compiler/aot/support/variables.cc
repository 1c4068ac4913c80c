// Variables of an instance, by name and by index.
#include <string.h>

#include "compiler/aot/support/instance.h"
#include "compiler/aot/support/model.h"

namespace {

using weft::aot::Allocate;
using weft::aot::VariableState;

int FindVariable(WeftModel* model, const char* name, int64_t bytes, uint32_t* index) {
  const WeftModelTables& tables = *model->tables;
  for (uint32_t i = 0; i < tables.num_variables; ++i) {
    if (strcmp(tables.variables[i].name, name) != 0) continue;
    if (tables.variables[i].bytes != bytes) {
      return weft_model_fail(
          model, WEFT_MODEL_INVALID_ARGUMENT, "variable '%s' has %lld bytes, got %lld", name,
          static_cast<long long>(tables.variables[i].bytes), static_cast<long long>(bytes));
    }
    *index = i;
    return WEFT_MODEL_OK;
  }
  return weft_model_fail(model, WEFT_MODEL_INVALID_ARGUMENT, "the model has no variable '%s'",
                         name);
}

// Gives a variable that is a constant of the tables memory of its own, with the same value.
int ReserveVariable(WeftModel* model, uint32_t index) {
  VariableState& variable = model->variables[index];
  if (variable.owned) return WEFT_MODEL_OK;
  const WeftModelVariable& info = model->tables->variables[index];
  void* data = Allocate(info.bytes);
  if (data == nullptr) {
    return weft_model_fail(model, WEFT_MODEL_OUT_OF_MEMORY,
                           "no memory for variable '%s' of %lld bytes", info.name,
                           static_cast<long long>(info.bytes));
  }
  memcpy(data, variable.data, static_cast<size_t>(info.bytes));
  variable.data = data;
  variable.owned = true;
  return WEFT_MODEL_OK;
}

}  // namespace

int weft_model_describe_variable(const WeftModelTables* tables, int index,
                                 WeftModelVariableInfo* info) {
  if (index < 0 || static_cast<uint32_t>(index) >= tables->num_variables) {
    return WEFT_MODEL_INVALID_ARGUMENT;
  }
  const WeftModelVariable& variable = tables->variables[index];
  info->name = variable.name;
  info->dtype = weft_dtype_name(variable.dtype);
  info->shape = variable.shape;
  info->rank = static_cast<int32_t>(variable.rank);
  info->zero = 0;
  info->bytes = variable.bytes;
  return WEFT_MODEL_OK;
}

int weft_model_get_variable(WeftModel* model, const char* name, void* values, int64_t bytes) {
  uint32_t index;
  if (int status = FindVariable(model, name, bytes, &index)) return status;
  if (!model->variables[index].defined) {
    return weft_model_fail(model, WEFT_MODEL_UNDEFINED_VARIABLE, "variable '%s' has no value yet",
                           name);
  }
  memcpy(values, model->variables[index].data, static_cast<size_t>(bytes));
  return WEFT_MODEL_OK;
}

int weft_model_set_variable(WeftModel* model, const char* name, const void* values, int64_t bytes) {
  uint32_t index;
  if (int status = FindVariable(model, name, bytes, &index)) return status;
  if (int status = ReserveVariable(model, index)) return status;
  memcpy(model->variables[index].data, values, static_cast<size_t>(bytes));
  model->variables[index].defined = true;
  return WEFT_MODEL_OK;
}

int weft_model_reserve_variables(WeftModel* model) {
  for (uint32_t i = 0; i < model->tables->num_variables; ++i) {
    if (int status = ReserveVariable(model, i)) return status;
  }
  return WEFT_MODEL_OK;
}

const void* weft_model_variable_value(const WeftModel* model, uint32_t index) {
  return model->variables[index].defined ? model->variables[index].data : nullptr;
}
