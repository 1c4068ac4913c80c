// Runs a fuzz target without libFuzzer: on each seed, on prefixes of it, and on random changes of
// it, by the target's own mutator where it has one. The same inputs each time. Usage: TEST
// SEEDS.tar MUTATIONS_PER_SEED
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                                                size_t max_size, unsigned seed);

namespace {

constexpr size_t kMaxGrowth = 4096;
constexpr size_t kMaxPrefixes = 200;

std::mt19937 random_bits(1);

// The contents of the regular files of a tar archive.
std::vector<std::string> ReadTar(const char* path) {
  constexpr size_t kBlock = 512, kSizeField = 124, kTypeField = 156;
  std::ifstream file(path, std::ios::binary);
  const std::string tar((std::istreambuf_iterator<char>(file)), {});
  std::vector<std::string> files;
  for (size_t at = 0; at + kBlock <= tar.size() && tar[at] != 0;) {
    const size_t size = strtoull(tar.substr(at + kSizeField, 11).c_str(), nullptr, 8);
    if (tar[at + kTypeField] == '0') files.push_back(tar.substr(at + kBlock, size));
    at += kBlock + (size + kBlock - 1) / kBlock * kBlock;
  }
  return files;
}

void Run(const std::string& input) {
  // A copy of exactly this size, so that a sanitizer sees a read past the end.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

std::string MutateBytes(std::string input) {
  std::mt19937& random = random_bits;
  for (int changes = 1 + static_cast<int>(random() % 4); changes > 0; --changes) {
    if (input.empty()) input = "x";
    const size_t at = random() % input.size();
    switch (random() % 5) {
      case 0:
        input[at] = static_cast<char>(random());
        break;
      case 1:
        input[at] = static_cast<char>(input[at] ^ (1 << (random() % 8)));
        break;
      case 2:
        input.erase(at, 1 + random() % 8);
        break;
      case 3:
        input.insert(at, input.substr(random() % input.size(), random() % 16));
        break;
      default: {
        const uint64_t number = ~uint64_t{0} >> (random() % 64);
        memcpy(&input[at], &number, std::min<size_t>(1 + random() % 8, input.size() - at));
      }
    }
  }
  return input;
}

std::string Mutate(const std::string& seed) {
  if (LLVMFuzzerCustomMutator == nullptr || random_bits() % 4 == 0) return MutateBytes(seed);
  std::string input = seed;
  input.resize(seed.size() + kMaxGrowth);
  input.resize(LLVMFuzzerCustomMutator(reinterpret_cast<uint8_t*>(input.data()), seed.size(),
                                       input.size(), static_cast<unsigned>(random_bits())));
  return input;
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size) {
  const std::string changed = MutateBytes(std::string(reinterpret_cast<char*>(data), size));
  const size_t kept = std::min(changed.size(), max_size);
  memcpy(data, changed.data(), kept);
  return kept;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int mutations = atoi(argv[2]);
  const std::vector<std::string> seeds = ReadTar(argv[1]);
  if (seeds.empty() || mutations <= 0) {
    fprintf(stderr, "no seeds in %s, or no mutations\n", argv[1]);
    return 1;
  }
  Run("");
  int inputs = 1;
  for (const std::string& seed : seeds) {
    Run(seed);
    const size_t prefixes = std::min(kMaxPrefixes, static_cast<size_t>(mutations));
    const size_t step = seed.size() / prefixes + 1;
    for (size_t size = 0; size < seed.size(); size += step, ++inputs) Run(seed.substr(0, size));
    for (int i = 0; i < mutations; ++i, ++inputs) Run(Mutate(seed));
  }
  printf("%zu seeds, %d inputs\n", seeds.size(), inputs);
  return 0;
}
