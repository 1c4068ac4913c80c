// `weft inspect` of packages, as text and as JSON: the file as it is, and a manifest in a file that
// is otherwise whole. Plans are laid out; nothing of the package's code is run.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

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
    if (!text.ok()) continue;
    if (text->size() > kMaxText) abort();
    // A terminal obeys what it is sent; JSON has rules of its own.
    for (const char c : *text) {
      if (!json && ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f)) abort();
    }
  }
}

}  // namespace

const std::string_view weft::fuzz::kMessageSection = "manifest";

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Show(weft::fuzz::AsPackage({reinterpret_cast<const char*>(data), size}));
  return 0;
}
