// A program that is called as CUDA's assembler is, "fake_ptxas -arch=sm_80 -o OUT IN", and makes an
// image that the fake driver takes. It knows sm_80 and sm_90a, and refuses PTX in which somebody
// wrote "refuse this".
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "runtime/cuda/testing/fake_cubin.h"

int main(int argc, char** argv) {
  if (argc != 5 || std::string(argv[2]) != "-o") {
    std::fprintf(stderr, "fake_ptxas: expected -arch=TARGET -o OUT IN\n");
    return 1;
  }
  const std::string target = std::string(argv[1]).substr(std::string("-arch=").size());
  if (target != "sm_80" && target != "sm_90a") {
    std::fprintf(stderr, "ptxas fatal   : Value '%s' is not defined for option 'gpu-name'\n",
                 target.c_str());
    return 255;
  }
  std::ifstream from(argv[4], std::ios::binary);
  const std::string ptx{std::istreambuf_iterator<char>(from), {}};
  if (ptx.find(".target " + target) == ptx.npos || ptx.find("refuse this") != ptx.npos) {
    std::fprintf(stderr, "ptxas %s, line 4; fatal   : Parsing error near 'refuse'\nptxas fatal\n",
                 argv[4]);
    return 255;
  }
  std::ofstream(argv[3], std::ios::binary) << weft::cuda::MakeFakeCubin(ptx);
  return 0;
}
