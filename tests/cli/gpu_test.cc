// --device cuda:N as people type it: without a driver, and with one made for tests.
#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "compiler/api.h"
#include "graph/graph.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kDriver[] = "LD_LIBRARY_PATH=runtime/cuda/testing/driver ";
constexpr char kRun[] = "tests/cli/weft-run-on-fake-driver";
constexpr char kWeft[] = "tests/cli/weft-on-fake-driver ";

class CliGpu : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    Graph graph("gpu");
    Tensor x = graph.Input("x", DataType::kF32, {});
    Variable sum = graph.AddVariable("sum", HostTensor::Scalar<float>(1));
    Tensor more = sum.Read() + Exp(x);
    graph.AddSignature("run", {{"y", more}}, {sum.Assign(more)});
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    ASSERT_TRUE(graph.Save(Path("gpu.weft")).ok());
    Ok("compile " + Path("gpu.weft") + " --target cuda:sm_80 --ptxas none -o " +
       Path("gpu.weftpkg"));
    arguments_ = " " + Path("gpu.weftpkg") + " --signature run --init --feed x=0.5";
  }

  std::string arguments_;
};

TEST_F(CliGpu, RunsAPackageAsTheEmulatorDoes) {
  const Ended run = Run(kDriver + (kRun + arguments_) +
                        " --device cuda:0 --profile --save-checkpoint " + Path("gpu.safetensors"));
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, Ok("run" + arguments_ + " --device emulator:sm_80 --save-checkpoint " +
                        Path("emulator.safetensors")));
  EXPECT_THAT(run.out, HasSubstr("y f32[] 2.648"));
  EXPECT_THAT(run.err, HasSubstr("exp"));
  EXPECT_EQ(ReadFile(Path("gpu.safetensors")), ReadFile(Path("emulator.safetensors")));
}

// A graph is compiled for the device. Rates are held against copies within it, if there is room.
TEST_F(CliGpu, CompilesForItAndMeasures) {
  const std::string model = " " + Path("gpu.weft"), on_gpu = " --device cuda:0 --signature run";
  const auto bench = [&](const std::string& memory) {
    const Ended run =
        Run(memory + kDriver + kWeft + "bench" + model + on_gpu + " --seconds 0.01 --json");
    EXPECT_EQ(run.code, 0) << run.err;
    return run.code == 0 ? nlohmann::json::parse(run.out) : nlohmann::json();
  };
  const nlohmann::json json = bench("");
  EXPECT_EQ(json["device"], "cuda:0");
  EXPECT_GT(json["peak_gbs"], 0);
  EXPECT_TRUE(json["peak_gflops"].is_null()) << json;
  EXPECT_TRUE(bench("FAKE_GPU_BYTES=100000000 ")["peak_gbs"].is_null());

  // Its first run, as the package's on the emulator.
  const std::string emulated =
      Ok("run" + arguments_ + " --device emulator:sm_80 --save-checkpoint " + Path("there"));
  const Ended here = Run(kDriver + std::string(kWeft) + "run" + model + on_gpu +
                         " --init --feed x=0.5 --save-checkpoint " + Path("here"));
  EXPECT_EQ(here.code, 0) << here.err;
  EXPECT_EQ(here.out, emulated);
  EXPECT_EQ(ReadFile(Path("here")), ReadFile(Path("there")));
}

TEST_F(CliGpu, MachineCodeOfAnAssembler) {
  const std::string package = Path("gpu.weftpkg"), ptxas = "runtime/cuda/testing/fake_ptxas";
  const std::string plain = ReadFile(package);
  const Ended made = Run("tools/weft compile " + Path("gpu.weft") + " -o " + package +
                         " --target cuda:sm_70,sm_80,cpu:x86-64-v3 --ptxas " + ptxas);
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.err,
              AllOf(HasSubstr("Verified by " + ptxas +
                              ", whose machine code it holds beside PTX: "
                              "cuda:sm_80.\n"),
                    HasSubstr("PTX alone, since " + ptxas + " does not know them: cuda:sm_70.\n")));
  EXPECT_THAT(Ok("inspect " + package),
              AllOf(HasSubstr("target cuda:sm_80, with machine code beside PTX\n"),
                    HasSubstr("target cuda:sm_70\n"), HasSubstr("cubin.sm_80")));
  const Ended run = Run(kDriver + (kRun + arguments_) + " --device cuda:0");
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("y f32[] 2.648"));
  EXPECT_EQ(Ok("run" + arguments_ + " --device emulator:sm_80"), run.out);

  // Without it, the text alone.
  const std::string out = " " + Path("gpu.weft") + " -o " + Path("x.weftpkg");
  Ok("compile" + out + " --target cuda:sm_80 --ptxas none");
  EXPECT_EQ(ReadFile(Path("x.weftpkg")), plain);
  std::filesystem::remove(Path("x.weftpkg"));
  EXPECT_THAT(Fails(1, "compile" + out + " --target cuda:sm_80 --ptxas " + Path("none")),
              HasSubstr("cannot be run"));
  EXPECT_THAT(Fails(2, "compile" + out + " --ptxas " + ptxas),
              HasSubstr("--ptxas is for packages with code for GPUs"));
  EXPECT_FALSE(std::filesystem::exists(Path("x.weftpkg")));
}

// A library that is asked for has to be there, and then computes what is its own.
TEST_F(CliGpu, ProductsAndConvolutionsByLibraries) {
  Graph graph("contractions");
  Tensor x = graph.Input("x", DataType::kF32, {});
  Tensor ones = graph.Constant(HostTensor::Of<float>({2, 2}, {1, 2, 3, 4}));
  Tensor image = Reshape(ones * x, {1, 2, 2, 1}), filter = Reshape(ones + x, {2, 2, 1, 1});
  graph.AddSignature("run", {{"y", MatMul(ones * x, ones + x)},
                             {"z", Conv2D(image, filter, {1, 1}, {0, 0, 0, 0}, {1, 1})}});
  ASSERT_TRUE(graph.Save(Path("model.weft")).ok()) << graph.status();
  const std::string run = std::string("run ") + Path("model.weft") + " --feed x=2 --profile";
  const std::string libraries = std::string(kDriver, sizeof kDriver - 2) +
                                ":runtime/cuda/testing/cublaslt:runtime/cuda/testing/cudnn ";
  const auto weft = [&](const std::string& environment, const std::string& arguments) {
    return Run(environment + libraries + kWeft + run + arguments);
  };
  constexpr char kProduct[] = "by cuBLASLt (algorithm 1): 1.0 us, kernel 10.0 us",
                 kConvolution[] = "by cuDNN (algorithm 1): 1.0 us, kernel 10.0 us";
  const std::string both = "FAKE_CUBLASLT=1 FAKE_CUDNN=1 ",
                    wanted = " --device cuda:0 --gpu-libraries ";
  const Ended by_kernel = weft(both, " --device cuda:0");
  EXPECT_EQ(by_kernel.code, 0) << by_kernel.err;
  EXPECT_THAT(by_kernel.err, AllOf(Not(HasSubstr("cuBLASLt")), Not(HasSubstr("cuDNN"))));
  const auto expect = [&](const std::string& environment, const char* choice, bool products,
                          bool convolutions) {
    SCOPED_TRACE(choice);
    const Ended ended = weft(environment, wanted + choice);
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(ended.out, by_kernel.out);
    EXPECT_EQ(ended.err.find(kProduct) != std::string::npos, products) << ended.err;
    EXPECT_EQ(ended.err.find(kConvolution) != std::string::npos, convolutions) << ended.err;
  };
  expect(both, "cublaslt", true, false);
  expect(both, "cudnn", false, true);
  expect(both, "all", true, true);
  expect(both, "found", true, true);
  expect(both, "off", false, false);
  expect("FAKE_CUDNN=1 ", "found", false, true);
  expect("", "found", false, false);

  // The libraries that are found here do not say a version that we know.
  const Ended refused = weft("", wanted + "cublaslt");
  EXPECT_EQ(refused.code, 1) << refused.out;
  EXPECT_THAT(refused.err, AllOf(HasSubstr("expected cuBLASLt 12 or 13, but libcublasLt.so.12"),
                                 HasSubstr("--gpu-libraries")));
  for (const char* choice : {"cudnn", "all"}) {
    const Ended other = weft("FAKE_CUBLASLT=1 ", wanted + choice);
    EXPECT_EQ(other.code, 1) << other.out;
    EXPECT_THAT(other.err, HasSubstr("expected cuDNN 8 or 9, but libcudnn.so.9"));
  }
  for (const char* choice : {"cublaslt", "cudnn", "all"}) {
    EXPECT_THAT(
        Fails(2, run + " --gpu-libraries " + choice),
        HasSubstr(std::string("--gpu-libraries ") + choice + ": expected a GPU among the devices"));
  }
  // A name is no device.
  EXPECT_THAT(Fails(2, run + " --device cpu,cuda:0=emulator:sm_80 --gpu-libraries cublaslt"),
              HasSubstr("expected a GPU among the devices"));
  EXPECT_THAT(Fails(2, run + " --gpu-libraries cublas"), HasSubstr("cublaslt"));
}

// Whatever this machine has, here is a driver that is none.
TEST_F(CliGpu, TheCheckOnAGpuSaysWhereThereIsNone) {
  WriteFile(Path("libcuda.so.1"), "");
  const Ended check = Run("LD_LIBRARY_PATH=" + folder_.string() + " tools/gpu_check.sh");
  EXPECT_EQ(check.code, 1);
  EXPECT_THAT(check.err, HasSubstr("gpu_check: "));
  EXPECT_EQ(Run("tools/gpu_check.sh gpu").code, 2);
}

// A file is not invalid because the GPU cannot take it.
TEST_F(CliGpu, AGpuWithoutMemoryIsNoFaultOfTheFile) {
  EXPECT_THAT(FailsBy("FAKE_GPU_BYTES=2 " + (kDriver + std::string(kRun)), "weft-run: ", 1,
                      arguments_ + " --device cuda:0"),
              HasSubstr("variable 'sum': cuda:0 (Emulated GPU, sm_80): expected 4 bytes"));
  // What it holds is shown all the same. The values are there for who looks into it on a GPU.
  Ok("run " + Path("gpu.weft") + " --signature run --init --feed x=0.5 --save-checkpoint " +
     Path("v.safetensors"));
  Ok("compile " + Path("gpu.weft") + " --target cuda:sm_80 --ptxas none -o " +
     Path("valued.weftpkg") + " --checkpoint " + Path("v.safetensors"));
  const Ended shown = Run("FAKE_GPU_BYTES=2 " + (kDriver + std::string(kWeft)) + "inspect " +
                          Path("valued.weftpkg") + " --device cuda:0");
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, AllOf(HasSubstr("\nmemory unknown: "), HasSubstr("variable 'sum': cuda:0"),
                               HasSubstr("target cuda:sm_80")));
  WriteFile(Path("gpu.weftpkg"), "no package");
  FailsBy(kDriver + std::string(kRun), "weft-run: ", 3, arguments_ + " --device cuda:0");
}

TEST_F(CliGpu, AGpuThatIsNotThere) {
  EXPECT_THAT(
      FailsBy(std::string(kDriver) + kRun, "weft-run: ", 2, arguments_ + " --device cuda:3"),
      HasSubstr("cuda:3: expected cuda:0, the only GPU"));
  // Whatever driver this machine has, here is one that is none.
  WriteFile(Path("libcuda.so.1"), "");
  const std::string none = "LD_LIBRARY_PATH=" + folder_.string() + " ";
  EXPECT_THAT(FailsBy(none + "tools/weft-run", "weft-run: ", 1, arguments_ + " --device cuda:0"),
              HasSubstr("libcuda.so.1 cannot be loaded"));
  EXPECT_THAT(FailsBy(none + "tools/weft run", "weft: ", 1, arguments_ + " --device cuda"),
              HasSubstr("install the driver"));
  EXPECT_THAT(Fails(2, "run" + arguments_ + " --device cuda:first"),
              HasSubstr("device 'cuda:first': expected cpu, or cuda:0"));
}

}  // namespace
}  // namespace weft
