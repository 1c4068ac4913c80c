// How an instance begins and ends.
#include "compiler/aot/support/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/aot/support/instance.h"
#include "runtime/core/cpu.h"

namespace {

using weft::aot::Allocate;
using weft::aot::AllocateArray;
using weft::aot::PlanState;
using weft::aot::SignatureState;
using weft::aot::VariableState;

const WeftModelTarget* PickTarget(const WeftModelTables* tables) {
  WeftCpu cpu;
  weft_cpu_read(&cpu);
  for (uint32_t i = 0; i < tables->num_targets; ++i) {
    const WeftModelTarget& target = tables->targets[i];
    bool runs = true;
    for (uint32_t f = 0; f < target.num_features; ++f) {
      runs &= weft_cpu_has(&cpu, target.features[f]) != 0;
    }
    if (runs) return &target;
  }
  return nullptr;
}

bool AllocatePlans(WeftModel* model) {
  uint32_t variables = 0, inputs = 0, outputs = 0;
  const WeftModelTables& tables = *model->tables;
  model->signatures = AllocateArray<SignatureState>(tables.num_signatures);
  if (model->signatures == nullptr) return false;
  for (uint32_t s = 0; s < tables.num_signatures; ++s) {
    const WeftModelSignature& signature = model->target->signatures[s];
    PlanState* plans = AllocateArray<PlanState>(signature.num_plans);
    if (plans == nullptr) return false;
    model->signatures[s].plans = plans;
    for (uint32_t i = 0; i < signature.num_plans; ++i) {
      const WeftPlan& plan = *signature.plans[i].plan;
      plans[i].plan = &signature.plans[i];
      plans[i].memory = Allocate(static_cast<int64_t>(weft_instance_bytes(&plan)));
      plans[i].symbols = AllocateArray<int64_t>(plan.num_symbols);
      if (plans[i].memory == nullptr || plans[i].symbols == nullptr) return false;
      if (plan.num_variables > variables) variables = plan.num_variables;
      if (plan.num_inputs > inputs) inputs = plan.num_inputs;
      if (plan.num_outputs > outputs) outputs = plan.num_outputs;
    }
  }
  model->plan_variables = AllocateArray<void*>(variables);
  model->inputs = AllocateArray<const void*>(inputs);
  model->outputs = AllocateArray<void*>(outputs);
  return model->plan_variables != nullptr && model->inputs != nullptr && model->outputs != nullptr;
}

bool AllocateVariables(WeftModel* model) {
  const WeftModelTables& tables = *model->tables;
  model->variables = AllocateArray<VariableState>(tables.num_variables);
  if (model->variables == nullptr) return false;
  for (uint32_t i = 0; i < tables.num_variables; ++i) {
    const WeftModelVariable& info = tables.variables[i];
    VariableState& variable = model->variables[i];
    variable.defined = info.value != nullptr;
    if (variable.defined && !info.assigned) {
      variable.data = const_cast<void*>(info.value);  // only read, or replaced as a whole
      continue;
    }
    variable.data = Allocate(info.bytes);
    if (variable.data == nullptr) return false;
    variable.owned = true;
    if (variable.defined) memcpy(variable.data, info.value, static_cast<size_t>(info.bytes));
  }
  return true;
}

}  // namespace

int weft_model_fail(WeftModel* model, int status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(model->error, sizeof(model->error), format, arguments);
  va_end(arguments);
  return status;
}

const char* weft_model_unsupported(const WeftModelTables* tables) {
  if (PickTarget(tables) != nullptr) return nullptr;
  return "this processor lacks instructions that every target of the model needs; compile it with "
         "--target cpu:x86-64-v3";
}

WeftModel* weft_model_create(const WeftModelTables* tables, int threads) {
  const WeftModelTarget* target = PickTarget(tables);
  if (target == nullptr) return nullptr;
  WeftModel* model = AllocateArray<WeftModel>(1);
  if (model == nullptr) return nullptr;
  model->tables = tables;
  model->target = target;
  model->threads = threads > 0 ? threads : weft_num_cores();
  if (!AllocateVariables(model) || !AllocatePlans(model)) {
    weft_model_destroy(model);
    return nullptr;
  }
  if (model->threads > 1) {
    model->pool_memory = Allocate(static_cast<int64_t>(weft_pool_bytes(model->threads)));
    if (model->pool_memory == nullptr) {
      weft_model_destroy(model);
      return nullptr;
    }
    model->pool = weft_pool_start(model->pool_memory, model->threads);
    model->threads = weft_pool_threads(model->pool);
  }
  return model;
}

void weft_model_destroy(WeftModel* model) {
  if (model == nullptr) return;
  if (model->pool != nullptr) weft_pool_stop(model->pool);
  free(model->pool_memory);
  for (uint32_t i = 0; model->variables != nullptr && i < model->tables->num_variables; ++i) {
    if (model->variables[i].owned) free(model->variables[i].data);
  }
  for (uint32_t s = 0; model->signatures != nullptr && s < model->tables->num_signatures; ++s) {
    PlanState* plans = model->signatures[s].plans;
    for (uint32_t i = 0; plans != nullptr && i < model->target->signatures[s].num_plans; ++i) {
      free(plans[i].memory);
      free(plans[i].symbols);
    }
    free(plans);
  }
  free(model->variables);
  free(model->signatures);
  free(model->plan_variables);
  free(model->inputs);
  free(model->outputs);
  if (!model->memory_is_callers) free(model->memory);
  free(model);
}

const char* weft_model_error(const WeftModel* model) { return model->error; }
const char* weft_model_target(const WeftModel* model) { return model->target->name; }
const WeftModelTables* weft_model_tables_of(const WeftModel* model) { return model->tables; }
