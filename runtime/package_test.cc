#include "runtime/package.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <climits>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <utility>

#include "proto/file.h"
#include "proto/plan.pb.h"
#include "runtime/core/cpu.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/cpu_features.h"
#include "runtime/testing/plan_builder.h"

namespace weft {
namespace {

using plan_testing::MakeTestPackage;
using plan_testing::TestPackage;
using ::testing::HasSubstr;

absl::StatusOr<std::shared_ptr<const Package>> Open(std::shared_ptr<const Bytes> bytes) {
  static auto& device = *new std::shared_ptr<Device>(MakeCpuDevice(1).value());
  return Package::Open(std::move(bytes), std::make_shared<SessionDevices>(device));
}
absl::StatusOr<std::shared_ptr<const Package>> Open(const TestPackage& package) {
  return Open(Bytes::Of(package.Bytes(), "test.weftpkg"));
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// The protection of the mapping at `address`: "r-xp".
std::string Protection(const void* address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    char protection[5] = {};
    if (sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, protection) != 3) continue;
    const auto at = reinterpret_cast<uintptr_t>(address);
    if (at >= begin && at < end) return protection;
  }
  return "none";
}

TEST(Package, OpensFromMemoryAndFile) {
  const std::string path = testing::TempDir() + "/package_test.weftpkg";
  ASSERT_TRUE(WriteFileAtomically(path, MakeTestPackage().Bytes()).ok());
  for (const bool mapped : {false, true}) {
    auto bytes = mapped ? *Bytes::Map(path) : Bytes::Of(MakeTestPackage().Bytes());
    auto package = Open(bytes);
    ASSERT_TRUE(package.ok()) << package.status();
    EXPECT_EQ((*package)->plans().size(), 6u);
    EXPECT_EQ((*package)->target(), "cpu:x86-64-v3");
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*package)->constants(0)) % 64, 0u);
    // Code is never writable while it can be executed.
    const auto code =
        reinterpret_cast<const void*>((*package)->plans()[0].tables->plan().kernels[0]);
    EXPECT_EQ(Protection(code), "r-xp");
  }
}

TEST(Package, PicksTheTargetThatUsesMost) {
  TestPackage package = MakeTestPackage();
  TargetPlans* v3 = package.manifest.mutable_targets(0);
  TargetPlans* more = package.manifest.add_targets();
  *more = *v3;
  more->set_target("cpu:x86-64-v3+avx512f");
  more->set_code_section("code.more");
  package.code.emplace_back("code.more", plan_testing::TestCode());
  TargetPlans* impossible = package.manifest.add_targets();
  *impossible = *v3;
  impossible->set_target("cpu:impossible");
  impossible->add_features("avx2");
  impossible->add_features("fma4");
  impossible->add_features("amx-fp16");
  auto opened = Open(package);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->target(), *CpuHas("avx512f") ? "cpu:x86-64-v3+avx512f" : "cpu:x86-64-v3");
}

TEST(Package, SaysWhatTheProcessorLacks) {
  TestPackage package = MakeTestPackage();
  TargetPlans* target = package.manifest.mutable_targets(0);
  target->set_target("cpu:native");
  target->add_features("fma4");         // AMD had it until 2017,
  target->add_features("amx-fp16");     // Intel has it since 2024
  target->add_features("fast-gather");  // only tunes
  auto opened = Open(package);
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(opened.status()), HasSubstr("needs "));
  EXPECT_THAT(Message(opened.status()), testing::Not(HasSubstr("fast-gather")));
  target->clear_features();
  EXPECT_THAT(Message(Open(package).status()), HasSubstr("does not say what it needs"));
}

TEST(Package, RefusesBadManifests) {
  const auto error = [](auto damage) {
    TestPackage package = MakeTestPackage();
    damage(package);
    auto opened = Open(package);
    EXPECT_FALSE(opened.ok());
    EXPECT_THAT(Message(opened.status()), HasSubstr("test.weftpkg"));
    return Message(opened.status());
  };
  EXPECT_THAT(error([](TestPackage& p) { p.manifest.set_min_consumer(kPackageVersion + 1); }),
              HasSubstr("version"));
  EXPECT_THAT(error([](TestPackage& p) { p.manifest.set_version(0); }), HasSubstr("version"));
  EXPECT_THAT(error([](TestPackage& p) { p.manifest.mutable_signatures(1)->set_name("predict"); }),
              HasSubstr("twice"));
  EXPECT_THAT(error([](TestPackage& p) {
                p.manifest.mutable_signatures(0)->mutable_inputs(0)->set_dtype(50);
              }),
              HasSubstr("valid type"));
  EXPECT_THAT(error([](TestPackage& p) { p.manifest.mutable_variables(0)->set_has_value(true); }),
              HasSubstr("no value"));
  EXPECT_THAT(error([](TestPackage& p) { p.manifest.mutable_variables(0)->set_shape(0, -4); }),
              HasSubstr("valid type"));
  EXPECT_THAT(
      error([](TestPackage& p) { p.manifest.mutable_variables(0)->set_shape(0, INT64_MAX); }),
      HasSubstr("valid type"));
  EXPECT_THAT(error([](TestPackage& p) { p.code.clear(); }), HasSubstr("no section"));
  EXPECT_THAT(error([](TestPackage& p) { p.code[0].second.clear(); }), HasSubstr("outside"));
  EXPECT_THAT(error([](TestPackage& p) { p.constants.clear(); }), HasSubstr("outside"));
}

// Opening takes time in proportion to the file.
TEST(Package, LimitsTargetsAndPlans) {
  TestPackage targets = MakeTestPackage();
  targets.manifest.mutable_targets(0)->clear_plans();
  const TargetPlans target = targets.manifest.targets(0);
  while (targets.manifest.targets_size() < 256) *targets.manifest.add_targets() = target;
  EXPECT_TRUE(Open(targets).ok()) << Open(targets).status();
  *targets.manifest.add_targets() = target;
  EXPECT_THAT(Message(Open(targets).status()), HasSubstr("at most 256 targets, got 257"));

  TestPackage plans = MakeTestPackage();
  TargetPlans* many = plans.manifest.mutable_targets(0);
  many->clear_plans();
  while (many->plans_size() < 1 << 16) many->add_plans()->add_blocks();
  auto opened = Open(plans);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->plans().size(), size_t{1} << 16);
  many->add_plans()->add_blocks();
  EXPECT_THAT(Message(Open(plans).status()), HasSubstr("at most 65536 plans, got 65537"));
}

TEST(Package, OrdersPlansBySpecialization) {
  TestPackage package = MakeTestPackage();
  TargetPlans* target = package.manifest.mutable_targets(0);
  const auto add = [&](int64_t mark, int symbols) {
    Plan* plan = target->add_plans();
    plan->set_signature(std::to_string(mark));
    plan->add_blocks();
    for (int i = 0; i < symbols; ++i)
      (*plan->mutable_specialization())[std::string(1, static_cast<char>('a' + i))] = 1;
  };
  target->clear_plans();
  for (int64_t i = 0; i < 60; ++i) add(i, static_cast<int>(i % 3));
  auto opened = Open(package);
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::string order, expected;
  for (const LoadedPlan& plan : (*opened)->plans()) order += plan.signature + " ";
  for (const int64_t symbols : {2, 1, 0}) {
    for (int64_t i = symbols; i < 60; i += 3) expected += std::to_string(i) + " ";
  }
  EXPECT_EQ(order, expected);
}

TEST(Package, RefusesOtherFiles) {
  EXPECT_FALSE(Open(Bytes::Of("")).ok());
  EXPECT_THAT(Message(Open(Bytes::Of(WriteContainer({{"graph", "", 6}}))).status()),
              HasSubstr("compile it first"));
  EXPECT_THAT(Message(Open(Bytes::Of(WriteContainer({{"manifest", "\xff", 6}}))).status()),
              HasSubstr("damaged"));
}

TEST(Package, EveryFlippedByteIsNoticed) {
  const std::string good = MakeTestPackage().Bytes();
  for (size_t i = 0; i < good.size(); i += 3) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    EXPECT_FALSE(Open(Bytes::Of(bad)).ok()) << i;
  }
  for (size_t size = 0; size < good.size(); size += 7) {
    EXPECT_FALSE(Open(Bytes::Of(good.substr(0, size))).ok()) << size;
  }
}

TEST(CpuFeatures, LevelsContainEachOther) {
  EXPECT_TRUE(FeaturesOfTarget("cpu:x86-64-v9").empty());
  size_t size = 0;
  for (const char* target : {"cpu:x86-64", "cpu:x86-64-v2", "cpu:x86-64-v3", "cpu:x86-64-v4",
                             "cpu:x86-64-v4+amx-int8"}) {
    const std::vector<std::string> features = FeaturesOfTarget(target);
    EXPECT_GT(features.size(), size);
    size = features.size();
    for (const std::string& feature : features) {
      EXPECT_TRUE(CpuHas(feature).has_value()) << feature;
    }
  }
  EXPECT_TRUE(*CpuHas("sse2"));
  EXPECT_FALSE(CpuHas("slow-3ops-lea").has_value());
}

TEST(CpuFeatures, WhatCodeMayNeedIsKnown) {
  // Of processors to come as well: an unknown name counts as one that only tunes.
  for (const char* feature : {"egpr", "ndd", "ccmp", "avx10.1", "avx10.2", "movrs"}) {
    EXPECT_TRUE(CpuHas(feature).has_value()) << feature;
  }
}

TEST(CpuFeatures, CoresAreThoseOfTheControlGroups) {
  const std::string machine = testing::TempDir() + "/machine", root = machine + "/sys/fs/cgroup";
  std::filesystem::remove_all(machine);
  std::filesystem::create_directories(machine + "/proc/self");
  const auto cores = [&](const std::string& lines) {
    std::ofstream(machine + "/proc/self/cgroup") << lines;
    return weft_cgroup_cores(machine.c_str());
  };
  const auto write = [&](const std::string& name, const char* text) {
    std::filesystem::create_directories(std::filesystem::path(root + name).parent_path());
    std::ofstream(root + name) << text;
  };
  EXPECT_EQ(weft_cgroup_cores(machine.c_str()), 0);
  // Version 1, where the group is on the same machine and where it has the host's name.
  write("/cpu/cpu.cfs_quota_us", "-1\n");
  write("/cpu/cpu.cfs_period_us", "100000\n");
  constexpr char kVersion1[] = "5:memory:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a/b\n";
  EXPECT_EQ(cores(kVersion1), 0);
  write("/cpu/cpu.cfs_quota_us", "450000\n");
  EXPECT_EQ(cores(kVersion1), 5);
  write("/cpu/a/b/cpu.cfs_quota_us", "250000\n");
  write("/cpu/a/b/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores(kVersion1), 3);
  EXPECT_EQ(cores("4:cpuset,cpuacct:/a/b\n"), 0);
  EXPECT_EQ(cores("4:cpuacct,cpu:/a/c"), 5);
  // Where no link has the controller's name.
  write("/cpu,cpuacct/a/d/cpu.cfs_quota_us", "150000\n");
  write("/cpu,cpuacct/a/d/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores("4:cpu,cpuacct:/a/d"), 2);
  // Version 2: any group on the way up may be the smallest.
  const auto version2 = [&](const char* text) {
    write("/a/cpu.max", text);
    return cores("0::/a/b/c\n");
  };
  EXPECT_EQ(version2("max 100000\n"), 0);
  EXPECT_EQ(version2("50000 100000\n"), 1);
  EXPECT_EQ(version2("800000 100000\n"), 8);
  write("/a/b/c/cpu.max", "300000 100000\n");
  EXPECT_EQ(cores("0::/a/b/c\n"), 3);
  EXPECT_EQ(cores("0::/a/b\n"), 8);
  EXPECT_EQ(cores("0::/\n"), 0);
  write("/cpu.max", "200000 100000\n");
  EXPECT_EQ(cores("0::/a/b/c\n"), 2);
  EXPECT_EQ(cores("0::/\n"), 2);
  EXPECT_EQ(cores("0::/../host\n"), 2);
  // Both at once.
  EXPECT_EQ(cores(std::string(kVersion1) + "0::/a/b\n"), 2);
  std::filesystem::remove(root + "/cpu.max");
  EXPECT_EQ(cores(std::string(kVersion1) + "0::/a/b\n"), 3);
  write("/unified/a/b/cpu.max", "100000 100000\n");
  EXPECT_EQ(cores(std::string(kVersion1) + "0::/a/b\n"), 1);
  std::filesystem::remove_all(root + "/unified");
  // Whatever is there.
  std::filesystem::remove(root + "/a/b/c/cpu.max");
  EXPECT_EQ(version2("9223372036854775807 1\n"), INT_MAX);
  EXPECT_EQ(version2("99999999999999999999 1\n"), 0);
  EXPECT_EQ(version2("5 0\n"), 0);
  for (const char* lines : {"", "\n\n", ":", "::", "0:", "0:cpu", "0::", "x\n:::\n"}) {
    EXPECT_EQ(cores(lines), 0) << lines;
  }
  EXPECT_EQ(cores("0::/" + std::string(5000, 'a') + "\n"), 0);
  EXPECT_GE(NumCores(), 1);
}

// The kernel's own list, where names agree.
TEST(CpuFeatures, AgreeWithTheKernel) {
  std::ifstream info("/proc/cpuinfo");
  std::string flags;
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("flags")) flags = line + " ";
  }
  ASSERT_FALSE(flags.empty());
  for (const char* feature : {"avx", "avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "gfni",
                              "vaes", "rdpid", "movbe", "popcnt", "aes", "adx"}) {
    EXPECT_EQ(*CpuHas(feature), flags.find(std::string(" ") + feature + " ") != std::string::npos)
        << feature;
  }
}

}  // namespace
}  // namespace weft
