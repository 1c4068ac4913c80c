// `weft inspect` of packages, as text and as JSON: the file as it is, and a manifest in a file that
// is otherwise whole. Plans are laid out; nothing of the package's code is run.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proto/container.h"
#include "tests/fuzz/mutate.h"
#include "tools/weft/package_view.h"

namespace {

// Names and formulas are in the text once for each place in the file that asks for them.
constexpr size_t kMaxText = size_t{64} << 20;

void Show(std::string_view bytes) {
  static const int file = memfd_create("package", 0);
  static const auto& path = *new std::string("/proc/self/fd/" + std::to_string(file));
  if (ftruncate(file, 0) != 0 ||
      pwrite(file, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    abort();
  }
  for (const bool json : {false, true}) {
    weft::cli::PackageViewOptions options;
    options.json = json;
    options.steps = true;
    const auto text = weft::cli::PackageText(path, options);
    if (text.ok() && text->size() > kMaxText) abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.starts_with("WEFTFILE")) {
    Show(input);
    return 0;
  }
  const std::string code(0xe00, '\xc3'), constants(80, '\0');
  Show(weft::WriteContainer(
      {{"manifest", input, 6}, {"constants", constants, 6}, {"code.x86-64-v3", code, 12}}));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return weft::fuzz::MutateInput(data, size, max_size, "manifest", seed);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t max_out, unsigned seed) {
  return weft::fuzz::CrossInputs(data1, size1, data2, size2, out, max_out, seed);
}
