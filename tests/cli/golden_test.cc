// Packages that carry golden values: weft compile --golden, weft verify, weft-run --verify.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "proto/container.h"
#include "proto/npy.h"
#include "proto/safetensors.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kCars[] = "tools/examples/data/auto_mpg.csv";

class Golden : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    Ok(std::string("train mlp --target mpg --hidden 8 --epochs 2 --data ") + kCars +
       " --checkpoint " + Path("run") + " --save-validation " + Path("rows"));
    compile_ = "compile " + Path("run/model.weft") + " --signature predict ";
    values_ = "--checkpoint " + Path("run/last.safetensors") + " ";
    golden_ = "--golden x=" + Path("rows/x.npy") + " ";
    package_ = Path("cars.weftpkg");
  }

  std::string RunFails(int code, const std::string& package) {
    return FailsBy("tools/weft-run", "weft-run: ", code, package + " --verify");
  }

  // The package with another golden section; where that is empty, without one.
  std::string With(const std::string& section) {
    const auto container = Container::Open(Bytes::Of(ReadFile(package_)));
    EXPECT_TRUE(container.ok()) << container.status();
    std::vector<SectionToWrite> sections = container->Sections();
    std::erase_if(sections, [](const SectionToWrite& each) { return each.name == "golden"; });
    if (!section.empty()) sections.push_back({"golden", section});
    const std::string path = Path("other.weftpkg");
    WriteFile(path, WriteContainer(sections));
    return path;
  }

  std::string compile_, values_, golden_, package_;
};

TEST_F(Golden, PackagesCheckThemselves) {
  for (const std::string& frozen : {"", "--freeze "}) {
    Ok(compile_ + values_ + frozen + golden_ + "-o " + package_);
    EXPECT_THAT(Ok("verify " + package_), HasSubstr("y: agrees: largest difference"));
    const auto json = nlohmann::json::parse(Ok("verify --json " + package_));
    EXPECT_EQ(json["agrees"], true);
    EXPECT_EQ(json["outputs"]["y"]["differing"], 0);
    const Ended ended = Run("tools/weft-run " + package_ + " --verify");
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_THAT(ended.out, HasSubstr("y: agrees"));
  }
  // The same package runs as ever, and the same command makes the same bytes.
  Ok("run " + package_ + " --feed x=" + Path("rows/x.npy"));
  Ok(compile_ + values_ + "--freeze " + golden_ + "-o " + Path("again.weftpkg"));
  EXPECT_EQ(ReadFile(Path("again.weftpkg")), ReadFile(package_));
}

TEST_F(Golden, ChangedValuesAreFound) {
  Ok(compile_ + values_ + golden_ + "-o " + package_);
  const auto container = Container::Open(Bytes::Of(ReadFile(package_)));
  ASSERT_TRUE(container.ok()) << container.status();
  const auto section = container->Section("golden");
  ASSERT_TRUE(section.ok()) << section.status();
  const auto file = ReadSafetensors(*section, container->bytes());
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->tensors.size(), 2u);
  const auto changed = [&](const char* name, int64_t index, float by) {
    auto tensors = file->tensors;
    tensors[name] = tensors.at(name).Clone();
    tensors[name].mutable_values<float>()[index] += by;
    return With(WriteSafetensors(tensors, file->metadata));
  };
  EXPECT_THAT(Ok("verify " + changed("out/y", 3, 1e-5f)), HasSubstr("agrees"));
  for (const auto& [name, by] : {std::pair("out/y", 0.1f), std::pair("in/x", 3.0f)}) {
    const std::string path = changed(name, 3, by);
    EXPECT_THAT(Fails(1, "verify " + path), HasSubstr("y differs from the reference"));
    EXPECT_THAT(RunFails(1, path), HasSubstr("y differs from the reference"));
  }
  EXPECT_EQ(nlohmann::json::parse(Weft("verify --json " + changed("out/y", 3, 0.1f)).out)["agrees"],
            false);
  // A tolerance on the command line counts.
  Ok("verify --atol 1 " + changed("out/y", 3, 0.1f));
  Fails(1, "verify --rtol 0 --atol 1e-12 " + changed("out/y", 3, 1e-5f));
  // Values of another model.
  auto renamed = file->tensors;
  renamed["in/z"] = renamed.at("in/x");
  renamed.erase("in/x");
  EXPECT_THAT(Fails(3, "verify " + With(WriteSafetensors(renamed, file->metadata))),
              HasSubstr("the golden values do not fit"));
}

TEST_F(Golden, NothingToCompareIsAnError) {
  Ok(compile_ + values_ + "-o " + package_);
  for (const std::string& path : {package_, With("")}) {
    EXPECT_THAT(Fails(2, "verify " + path),
                AllOf(HasSubstr("carries no golden values; weft compile --golden"),
                      HasSubstr("or give --inputs and --expected")));
    EXPECT_THAT(RunFails(2, path), HasSubstr("weft compile --golden"));
  }
  const std::string only_inputs =
      With(WriteSafetensors({{"in/x", *LoadNpy(Path("rows/x.npy"))}}, {{"signature", "predict"}}));
  EXPECT_THAT(Fails(3, "verify " + only_inputs), HasSubstr("carries no golden values"));
  EXPECT_THAT(RunFails(3, only_inputs), HasSubstr("carries no golden values"));
  EXPECT_THAT(Fails(3, "verify " + With("nonsense")), HasSubstr("other.weftpkg"));
  EXPECT_THAT(Fails(2, "verify " + Path("run/model.weft")), HasSubstr("is a graph"));
  EXPECT_THAT(Fails(2, "verify " + package_ + " --inputs x=" + Path("rows/x.npy")),
              HasSubstr("--expected"));
}

// One whose code is for a GPU alone is shown, and what cannot be told here is said.
TEST_F(Golden, PackagesForGpusAreInspected) {
  Ok(compile_ + values_ + "--target cuda:sm_80 -o " + package_);
  EXPECT_THAT(Ok("inspect " + package_),
              AllOf(HasSubstr("target cuda:sm_80"), HasSubstr("memory unknown: "),
                    HasSubstr("no code for the cpu here")));
  EXPECT_TRUE(nlohmann::json::parse(Ok("inspect --json " + package_))["memory"].contains("error"));
}

TEST_F(Golden, WrongUsage) {
  EXPECT_THAT(Fails(2, compile_ + values_ + golden_ + "-o " + Path("cars.o")),
              HasSubstr("--golden is for packages, not for --emit object"));
  for (const char* targets : {"cuda:sm_80", "cuda:sm_80,sm_90a"}) {
    EXPECT_THAT(
        Fails(2, compile_ + values_ + golden_ + "--target " + targets + " -o " + package_),
        AllOf(HasSubstr("--golden runs the package on this processor: expected a --target such as"),
              HasSubstr("--device that has it run elsewhere, such as emulator:sm_80")));
  }
  EXPECT_THAT(Fails(1, compile_ + golden_ + "-o " + package_),
              AllOf(HasSubstr("has no value"), HasSubstr("--checkpoint FILE")));
  EXPECT_THAT(Fails(2, compile_ + values_ + "--golden z=" + Path("rows/x.npy") + " -o " + package_),
              HasSubstr("'z'"));
  EXPECT_THAT(Fails(3, compile_ + values_ + "--golden x=" + Path("rows/y.npy") + " -o " + package_),
              HasSubstr("y.npy"));
  EXPECT_FALSE(fs::exists(package_));
  WriteFile(Path("none.safetensors"), WriteSafetensors({}));
  // For no machine there is; the values are not at fault.
  EXPECT_THAT(
      Fails(1, compile_ + values_ + "--freeze " + golden_ +
                   "--target cpu:x86-64-v4+amx-fp16+sse4a -o " + package_),
      AllOf(HasSubstr("--golden runs the package here"), Not(HasSubstr("last.safetensors"))));
  EXPECT_THAT(
      Fails(3, "compile " + Path("run/model.weft") + " --signature predict --freeze --checkpoint " +
                   Path("none.safetensors") + " -o " + package_),
      HasSubstr("none.safetensors: variable '"));
  Ok(compile_ + values_ + golden_ + "-o " + package_);
  EXPECT_THAT(
      Fails(2, "run " + package_ + " --feed x=" + Path("rows/x.npy") + " --disable-pass fuse"),
      HasSubstr("expected no --disable-pass with a package"));
  EXPECT_THAT(FailsBy("tools/weft-run", "weft-run: ", 2,
                      package_ + " --verify --feed x=" + Path("rows/x.npy")),
              HasSubstr("--feed excludes --verify"));
  EXPECT_THAT(FailsBy("tools/weft-run", "weft-run: ", 1, package_ + " --verify --timeout 1e-9"),
              HasSubstr("deadline"));
  EXPECT_THAT(Fails(2, "verify --signature init " + package_),
              HasSubstr("are of signature 'predict', not of 'init'"));
}

}  // namespace
}  // namespace weft
