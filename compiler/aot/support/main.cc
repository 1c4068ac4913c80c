// The main program of `--emit executable`: runs one signature, with tensors in .npy files. It is
// started by _start below, so that no part of a C library needs to be there when it is linked.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiler/aot/support/file.h"
#include "compiler/aot/support/model.h"
#include "proto/core/atomic_file.h"
#include "proto/core/npy_format.h"
#include "runtime/core/half.h"

extern "C" const WeftModelTables weft_model_tables __attribute__((visibility("hidden")));
extern "C" int weft_main(int argc, char** argv) __attribute__((visibility("hidden"), used));

// As the System V ABI has it: the stack holds argc, argv, the environment; rdx is a function for
// exit. __libc_start_main(main, argc, argv, init, fini, rtld_fini, stack_end).
__asm__(R"(
.pushsection .text._start,"ax",@progbits
.globl _start
.type _start,@function
_start:
  xorl %ebp, %ebp
  movq %rdx, %r9
  popq %rsi
  movq %rsp, %rdx
  andq $-16, %rsp
  pushq %rax
  pushq %rsp
  xorl %r8d, %r8d
  xorl %ecx, %ecx
  leaq weft_main(%rip), %rdi
  call __libc_start_main@PLT
  hlt
.size _start, .-_start
.popsection
)");

namespace {

using weft::DataType;
using weft::NpyTensor;
using weft::aot::MappedFile;

enum ExitCode { kOk = 0, kRunFailed = 1, kUsage = 2, kBadInput = 3 };

constexpr int64_t kAlignment = 64;
constexpr size_t kShownElements = 16;

__attribute__((format(printf, 2, 3))) int Fail(int code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char text[1024];
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  fprintf(stderr, "%s: %s\n", weft_model_tables.name, text);
  return code;
}

struct Options {
  const char* signature = nullptr;
  const char* variables = nullptr;
  const char* save_variables = nullptr;
  long threads = 0;
  long bench = 0;  // runs to time
  bool init = false;
  bool help = false;
};

struct Tensor {
  const char* path = nullptr;
  MappedFile file;
  NpyTensor npy = {};
};

int64_t Nanoseconds() {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

int CompareTimes(const void* a, const void* b) {
  const int64_t x = *static_cast<const int64_t*>(a), y = *static_cast<const int64_t*>(b);
  return x < y ? -1 : x > y;
}

bool ParseNumber(const char* text, long* value) {
  *value = 0;
  if (*text == '\0') return false;
  for (; *text != '\0'; ++text) {
    if (*text < '0' || *text > '9' || *value > 100'000'000) return false;
    *value = *value * 10 + (*text - '0');
  }
  return true;
}

// The signature that runs when none is named: predict, or the only one. -1 where there is no such.
int DefaultSignature() {
  const WeftModelTarget& target = weft_model_tables.targets[0];
  for (uint32_t i = 0; i < weft_model_tables.num_signatures; ++i) {
    if (strcmp(target.signatures[i].name, "predict") == 0) return static_cast<int>(i);
  }
  return weft_model_tables.num_signatures == 1 ? 0 : -1;
}

int FindSignature(const char* name) {
  if (name == nullptr) return DefaultSignature();
  const WeftModelTarget& target = weft_model_tables.targets[0];
  for (uint32_t i = 0; i < weft_model_tables.num_signatures; ++i) {
    if (strcmp(target.signatures[i].name, name) == 0) return static_cast<int>(i);
  }
  return -1;
}

// Names are the same for every target.
const WeftPlan& PlanOf(int signature) {
  const WeftModelSignature& info = weft_model_tables.targets[0].signatures[signature];
  return *info.plans[info.num_plans - 1].plan;
}

void PrintValue(FILE* stream, const WeftPlan& plan, const WeftValue& value) {
  fprintf(stream, "%s: %s[", value.name, weft_dtype_name(value.dtype));
  for (uint32_t d = 0; d < value.rank; ++d) {
    fprintf(stream, "%s%s", d == 0 ? "" : ", ", plan.dim_names[value.first_dim + d]);
  }
  fprintf(stream, "]\n");
}

void PrintHelp() {
  const WeftModelTables& tables = weft_model_tables;
  printf(
      "usage: %s [--signature=NAME] [--INPUT=FILE.npy ...] [--out-OUTPUT=FILE.npy ...]\n"
      "  --signature=NAME        what to run; predict, or the only one, if not given\n"
      "  --INPUT=FILE.npy        an input; --in-INPUT where the name is that of an option\n"
      "  --out-OUTPUT=FILE.npy   where an output goes; with none of these, to the screen\n"
      "  --variables=FILE        values of the variables, a .safetensors file\n"
      "  --init                  run the signature init first, which gives them first values\n"
      "  --save-variables=FILE   write the variables afterwards\n"
      "  --threads=N             0, if not given: one for each core\n"
      "  --bench[=RUNS]          print times of that many runs (100) to standard error\n",
      tables.name);
  for (uint32_t s = 0; s < tables.num_signatures; ++s) {
    const WeftPlan& plan = PlanOf(static_cast<int>(s));
    printf("\nsignature %s\n", plan.signature);
    for (uint32_t i = 0; i < plan.num_inputs; ++i) {
      printf("  --");
      PrintValue(stdout, plan, plan.inputs[i]);
    }
    for (uint32_t i = 0; i < plan.num_outputs; ++i) {
      printf("  --out-");
      PrintValue(stdout, plan, plan.outputs[i]);
    }
  }
}

// The value of option `name` in an argument "--name=value", or "--name" "value" (then it moves *i
// on); null where the argument is another option.
const char* ValueOf(const char* name, int argc, char** argv, int* i) {
  const char* text = argv[*i] + 2;
  const size_t size = strlen(name);
  if (strncmp(text, name, size) != 0) return nullptr;
  if (text[size] == '=') return text + size + 1;
  if (text[size] != '\0' || *i + 1 >= argc) return nullptr;
  return argv[++*i];
}

// Options that do not depend on the signature; marks them as read by setting them to null.
int ReadOptions(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const int first = i;
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      options->help = true;
    } else if (strncmp(argv[i], "--", 2) != 0) {
      return Fail(kUsage, "expected an option, got '%s'; see --help", argv[i]);
    } else if (strcmp(argv[i], "--init") == 0) {
      options->init = true;
    } else if (strcmp(argv[i], "--bench") == 0) {
      options->bench = 100;
    } else if (const char* value = ValueOf("signature", argc, argv, &i)) {
      options->signature = value;
    } else if (const char* value = ValueOf("variables", argc, argv, &i)) {
      options->variables = value;
    } else if (const char* value = ValueOf("save-variables", argc, argv, &i)) {
      options->save_variables = value;
    } else if (const char* value = ValueOf("threads", argc, argv, &i)) {
      if (!ParseNumber(value, &options->threads) || options->threads > WEFT_MAX_THREADS) {
        return Fail(kUsage, "expected --threads=0 to %d, got '%s'", WEFT_MAX_THREADS, value);
      }
    } else if (const char* value = ValueOf("bench", argc, argv, &i)) {
      if (!ParseNumber(value, &options->bench) || options->bench < 1 ||
          options->bench > 10'000'000) {
        return Fail(kUsage, "expected --bench=1 to 10000000, got '%s'", value);
      }
    } else {
      if (strchr(argv[i], '=') == nullptr && i + 1 < argc) ++i;  // its value
      continue;
    }
    for (int j = first; j <= i; ++j) argv[j] = nullptr;
  }
  return kOk;
}

// What is left: "--NAME=path" for inputs, "--out-NAME=path" for outputs.
int ReadTensorOptions(int argc, char** argv, const Options& options, const WeftPlan& plan,
                      Tensor* inputs, Tensor* outputs) {
  for (int i = 1; i < argc; ++i) {
    if (argv[i] == nullptr) continue;
    char* argument = argv[i];
    bool found = false;
    for (uint32_t j = 0; !found && j < plan.num_inputs + plan.num_outputs; ++j) {
      const bool is_input = j < plan.num_inputs;
      Tensor& tensor = is_input ? inputs[j] : outputs[j - plan.num_inputs];
      const char* name = is_input ? plan.inputs[j].name : plan.outputs[j - plan.num_inputs].name;
      const char* path = nullptr;
      const char* prefix = is_input ? "--in-" : "--out-";
      if (strncmp(argument, prefix, strlen(prefix)) == 0) {
        argv[i] = argument + strlen(prefix) - 2;
        path = ValueOf(name, argc, argv, &i);
      }
      if (path == nullptr && is_input) {
        argv[i] = argument;
        path = ValueOf(name, argc, argv, &i);
      }
      if (path == nullptr) continue;
      found = true;
      if (tensor.path != nullptr) return Fail(kUsage, "'%s' is given twice", name);
      tensor.path = path;
    }
    if (!found) {
      return Fail(kUsage, "signature %s has no input or output for '%s'; see --help",
                  plan.signature, argument);
    }
  }
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    if (inputs[i].path == nullptr) {
      return Fail(kUsage, "signature %s needs --%s=FILE.npy; see --help", plan.signature,
                  plan.inputs[i].name);
    }
    if (options.save_variables != nullptr &&
        weft::IsSameFile(options.save_variables, inputs[i].path)) {
      return Fail(kUsage, "--save-variables would overwrite the input '%s'", inputs[i].path);
    }
  }
  for (uint32_t j = 0; j < plan.num_outputs; ++j) {
    const char* path = outputs[j].path;
    if (path == nullptr) continue;
    const auto is = [&](const char* other) {
      return other != nullptr && weft::IsSameFile(path, other);
    };
    const char* name = plan.outputs[j].name;
    for (uint32_t i = 0; i < plan.num_inputs; ++i) {
      if (!is(inputs[i].path)) continue;
      return Fail(kUsage, "--out-%s would overwrite the input '%s'", name, path);
    }
    if (is(options.variables)) {
      return Fail(kUsage, "--out-%s would overwrite the variables '%s'", name, path);
    }
    bool twice = is(options.save_variables);
    for (uint32_t k = 0; k < j; ++k) twice |= is(outputs[k].path);
    // A pipe takes one after the other.
    if (twice && strncmp(path, "/dev/", 5) != 0) {
      return Fail(kUsage, "--out-%s: '%s' would be written twice", name, path);
    }
  }
  return kOk;
}

int ReadInputs(const WeftPlan& plan, Tensor* inputs) {
  for (uint32_t i = 0; i < plan.num_inputs; ++i) {
    Tensor& input = inputs[i];
    const WeftValue& value = plan.inputs[i];
    if (!input.file.Map(input.path)) {
      return Fail(kBadInput, "cannot read '%s': %s", input.path, strerror(errno));
    }
    if (const weft::FormatError error =
            ParseNpy({input.file.bytes(), input.file.size()}, &input.npy)) {
      char problem[256];
      Describe(error, problem, sizeof(problem));
      return Fail(kBadInput, "'%s': %s", input.path, problem);
    }
    if (static_cast<int32_t>(input.npy.dtype) != value.dtype) {
      return Fail(kBadInput, "'%s': input '%s' has dtype %s, the file has %s", input.path,
                  value.name, weft_dtype_name(value.dtype), NameOf(input.npy.dtype).data());
    }
    if (input.npy.rank != value.rank) {
      return Fail(kBadInput, "'%s': input '%s' has %u dimensions, the file has %zu", input.path,
                  value.name, value.rank, input.npy.rank);
    }
    if (input.npy.InOrder()) continue;
    const size_t size = input.npy.elements.size();
    auto* elements = static_cast<char*>(malloc(size + 1));
    if (elements == nullptr) return Fail(kRunFailed, "no memory");
    CopyNpyElements(input.npy, elements);
    input.npy.elements = {elements, size};  // the process's, like the inputs
  }
  return kOk;
}

void PrintElement(const NpyTensor& npy, size_t index) {
  const char* at = npy.elements.data() + index * static_cast<size_t>(SizeOf(npy.dtype));
  const auto load = [at](auto value) {
    memcpy(&value, at, sizeof(value));
    return value;
  };
  switch (npy.dtype) {
    case DataType::kBool:
      printf("%s", *at != 0 ? "true" : "false");
      break;
    case DataType::kI8:
      printf("%d", load(int8_t{}));
      break;
    case DataType::kU8:
      printf("%d", load(uint8_t{}));
      break;
    case DataType::kI32:
      printf("%d", load(int32_t{}));
      break;
    case DataType::kI64:
      printf("%lld", static_cast<long long>(load(int64_t{})));
      break;
    case DataType::kF16:
      printf("%g", static_cast<double>(WeftFromHalf(load(uint16_t{}))));
      break;
    case DataType::kBF16:
      printf("%g", static_cast<double>(WeftFromBfloat16(load(uint16_t{}))));
      break;
    case DataType::kF32:
      printf("%.9g", static_cast<double>(load(float{})));
      break;
    default:
      printf("%.17g", load(double{}));
      break;
  }
}

void PrintTensor(const char* name, const NpyTensor& npy) {
  printf("%s %s[", name, NameOf(npy.dtype).data());
  for (size_t d = 0; d < npy.rank; ++d) {
    printf("%s%lld", d == 0 ? "" : ", ", static_cast<long long>(npy.shape[d]));
  }
  printf("]");
  const size_t count = npy.elements.size() / static_cast<size_t>(SizeOf(npy.dtype));
  for (size_t i = 0; i < count && i < kShownElements; ++i) {
    printf(" ");
    PrintElement(npy, i);
  }
  printf("%s\n", count > kShownElements ? " ..." : "");
}

// Returns 0 or an errno.
int WriteTensor(const char* path, const NpyTensor& npy) {
  char header[weft::MaxNpyHeaderBytes(weft::kMaxFileRank)];
  const size_t size = WriteNpyHeader(npy.dtype, npy.shape, npy.rank, header);
  const weft::FilePiece pieces[] = {{header, size}, {npy.elements.data(), npy.elements.size()}};
  return weft::ReplaceFile(path, pieces, 2);
}

// Everything of one run of the program, released when it ends.
struct Program {
  WeftModel* model = nullptr;
  Tensor* inputs = nullptr;
  Tensor* outputs = nullptr;
  const WeftPlan* plan = nullptr;
  uint32_t signature = 0;
  int64_t* symbols = nullptr;

  int Failed(int code) { return Fail(code, "%s", weft_model_error(model)); }

  int Open(const Options& options) {
    if (const char* reason = weft_model_unsupported(&weft_model_tables)) {
      return Fail(kRunFailed, "%s", reason);
    }
    model = weft_model_create(&weft_model_tables, static_cast<int>(options.threads));
    if (model == nullptr) return Fail(kRunFailed, "no memory for the model");
    if (options.init) {
      const int init = FindSignature("init");
      if (init < 0 || PlanOf(init).num_inputs > 0 || PlanOf(init).num_outputs > 0) {
        return Fail(kUsage, "there is no signature init to run for --init");
      }
      if (weft_model_run(model, static_cast<uint32_t>(init), nullptr, nullptr, nullptr)) {
        return Failed(kRunFailed);
      }
    }
    if (options.variables != nullptr && weft_model_load_variables(model, options.variables)) {
      return Failed(kBadInput);
    }
    return kOk;
  }

  // Sizes, and memory for outputs.
  int Prepare() {
    const int64_t* shapes[256];
    if (plan->num_inputs > 256) return Fail(kUsage, "the signature has too many inputs");
    for (uint32_t i = 0; i < plan->num_inputs; ++i) shapes[i] = inputs[i].npy.shape;
    if (weft_model_bind(model, signature, shapes, symbols)) return Failed(kBadInput);
    for (uint32_t i = 0; i < plan->num_outputs; ++i) {
      NpyTensor& npy = outputs[i].npy;
      npy.dtype = static_cast<DataType>(plan->outputs[i].dtype);
      npy.rank = plan->outputs[i].rank;
      const int64_t bytes = weft_model_output_bytes(model, signature, i, symbols);
      if (bytes < 0 || weft_model_output_shape(model, signature, i, symbols, npy.shape)) {
        return Failed(kBadInput);
      }
      const auto size = static_cast<size_t>((bytes / kAlignment + 1) * kAlignment);
      const auto* elements = static_cast<char*>(aligned_alloc(kAlignment, size));
      if (elements == nullptr) return Fail(kRunFailed, "no memory for the outputs");
      npy.elements = {elements, static_cast<size_t>(bytes)};
    }
    return kOk;
  }

  int Run() {
    const void* in[256];
    void* out[256];
    if (plan->num_outputs > 256) return Fail(kUsage, "the signature has too many outputs");
    for (uint32_t i = 0; i < plan->num_inputs; ++i) in[i] = inputs[i].npy.elements.data();
    for (uint32_t i = 0; i < plan->num_outputs; ++i) {
      out[i] = const_cast<char*>(outputs[i].npy.elements.data());
    }
    return weft_model_run(model, signature, symbols, in, out) ? Failed(kRunFailed) : kOk;
  }

  int Bench(long runs) {
    auto* times = static_cast<int64_t*>(malloc(static_cast<size_t>(runs) * sizeof(int64_t)));
    if (times == nullptr) return Fail(kRunFailed, "no memory for the times");
    int code = kOk;
    for (long i = 0; code == kOk && i < runs; ++i) {
      const int64_t start = Nanoseconds();
      code = Run();
      times[i] = Nanoseconds() - start;
    }
    if (code == kOk) {
      qsort(times, static_cast<size_t>(runs), sizeof(int64_t), CompareTimes);
      fprintf(stderr,
              "%s on %s: %ld runs, median %.3f ms, fastest %.3f ms, 99%% within %.3f ms, peak %lld "
              "bytes\n",
              plan->signature, weft_model_target(model), runs, times[runs / 2] / 1e6,
              times[0] / 1e6, times[(runs * 99 + 99) / 100 - 1] / 1e6,
              static_cast<long long>(weft_model_peak_bytes(model, signature, symbols)));
    }
    free(times);
    return code;
  }

  int Write() {
    bool any = false;
    for (uint32_t i = 0; i < plan->num_outputs; ++i) {
      if (outputs[i].path == nullptr) continue;
      any = true;
      if (const int error = WriteTensor(outputs[i].path, outputs[i].npy)) {
        return Fail(kRunFailed, "cannot write '%s': %s", outputs[i].path, strerror(error));
      }
    }
    for (uint32_t i = 0; !any && i < plan->num_outputs; ++i) {
      PrintTensor(plan->outputs[i].name, outputs[i].npy);
    }
    return fflush(stdout) == 0 ? kOk : Fail(kRunFailed, "cannot write: %s", strerror(errno));
  }

  int Main(int argc, char** argv) {
    Options options;
    if (int code = ReadOptions(argc, argv, &options)) return code;
    if (options.help) {
      PrintHelp();
      return kOk;
    }
    const int index = FindSignature(options.signature);
    if (index < 0) {
      return options.signature == nullptr
                 ? Fail(kUsage,
                        "there are several signatures: choose one with --signature; see "
                        "--help")
                 : Fail(kUsage, "there is no signature '%s'; see --help", options.signature);
    }
    signature = static_cast<uint32_t>(index);
    plan = &PlanOf(index);
    const WeftModelSignature& info = weft_model_tables.targets[0].signatures[index];
    inputs = static_cast<Tensor*>(calloc(plan->num_inputs + 1, sizeof(Tensor)));
    outputs = static_cast<Tensor*>(calloc(plan->num_outputs + 1, sizeof(Tensor)));
    symbols = static_cast<int64_t*>(calloc(info.num_symbols + 1, sizeof(int64_t)));
    if (inputs == nullptr || outputs == nullptr || symbols == nullptr) {
      return Fail(kRunFailed, "no memory");
    }
    if (int code = ReadTensorOptions(argc, argv, options, *plan, inputs, outputs)) return code;
    if (int code = ReadInputs(*plan, inputs)) return code;
    if (int code = Open(options)) return code;
    if (int code = Prepare()) return code;
    if (int code = options.bench > 0 ? Bench(options.bench) : Run()) return code;
    // Variables last: where outputs cannot be written, the step can be done again.
    if (int code = Write()) return code;
    return options.save_variables != nullptr &&
                   weft_model_save_variables(model, options.save_variables)
               ? Failed(kRunFailed)
               : kOk;
  }
};

}  // namespace

extern "C" int weft_main(int argc, char** argv) {
  Program program;
  const int code = program.Main(argc, argv);
  // What is left belongs to the process, which ends here; threads must not outlive what they use.
  weft_model_destroy(program.model);
  return code;
}
