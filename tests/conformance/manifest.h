// What a package says of itself.
#ifndef WEFT_TESTS_CONFORMANCE_MANIFEST_H_
#define WEFT_TESTS_CONFORMANCE_MANIFEST_H_

#include <string>

#include "gtest/gtest.h"
#include "proto/container.h"
#include "proto/plan.pb.h"

namespace weft {

inline PackageManifest ManifestOf(const Container& package) {
  PackageManifest manifest;
  const auto section = package.Section("manifest");
  EXPECT_TRUE(section.ok()) << section.status();
  EXPECT_TRUE(section.ok() && manifest.ParseFromString(std::string(*section)));
  return manifest;
}

// The same of a package's bytes.
inline PackageManifest ManifestOf(const std::string& bytes) {
  const auto package = Container::Open(Bytes::Of(bytes));
  EXPECT_TRUE(package.ok()) << package.status();
  return package.ok() ? ManifestOf(*package) : PackageManifest();
}

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_MANIFEST_H_
