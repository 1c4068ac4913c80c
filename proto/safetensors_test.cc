#include "proto/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "proto/file.h"

namespace weft {
namespace {

std::string File(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

absl::StatusOr<Safetensors> Read(const std::string& bytes) {
  auto owner = Bytes::Of(bytes);
  return ReadSafetensors(owner->view(), owner);
}

std::map<std::string, HostTensor> Sample() {
  return {
      {"w", HostTensor::Of<float>({4, 8}, std::vector<float>(32, 1.5f))},
      {"a", HostTensor::Of<float>({3}, {1, 2, 3})},
      {"flag", HostTensor::Of<bool>({2}, {true, false})},
      {"step", HostTensor::Scalar<int64_t>(-7)},
      {"half/é\"", HostTensor::Of<BF16>({2}, {BF16(0.5f), BF16(-2)})},
      {"empty", HostTensor::Of<int32_t>({0, 5}, {})},
  };
}

TEST(Safetensors, RoundTrip) {
  const auto tensors = Sample();
  auto read = Read(WriteSafetensors(tensors, {{"epoch", "3"}, {"note", "a\nb"}}));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->metadata, (std::map<std::string, std::string>{{"epoch", "3"}, {"note", "a\nb"}}));
  ASSERT_EQ(read->tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const HostTensor& other = read->tensors.at(name);
    EXPECT_EQ(other.dtype(), tensor.dtype());
    EXPECT_EQ(other.shape(), tensor.shape());
    ASSERT_EQ(other.size_bytes(), tensor.size_bytes());
    if (tensor.size_bytes() > 0) {
      EXPECT_EQ(memcmp(other.data(), tensor.data(), tensor.size_bytes()), 0) << name;
    }
  }
  // What is a multiple of 64 bytes can be used by kernels where it is mapped.
  EXPECT_EQ(reinterpret_cast<uintptr_t>(read->tensors.at("w").data()) % 64, 0u);
}

TEST(Safetensors, ViewsAreKeptByTheirOwner) {
  absl::StatusOr<Safetensors> read = Read(WriteSafetensors(Sample()));
  ASSERT_TRUE(read.ok());
  HostTensor w = read->tensors.at("w");
  *read = Safetensors();
  EXPECT_EQ(w.values<float>()[31], 1.5f);
}

TEST(Safetensors, EqualContentsGiveEqualBytes) {
  EXPECT_EQ(WriteSafetensors(Sample()), WriteSafetensors(Sample()));
}

// As the reference implementation writes them: dtypes first, no checksum, unknown keys.
TEST(Safetensors, ReadsFilesByOthers) {
  auto read = Read(File(
      R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6],"x":[{}]}, "a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}   )",
      std::string("\x01\x02\x00\x00\x80\x3f", 6)));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tensors.at("a").values<int8_t>()[1], 2);
  // Misaligned in the file, so a copy.
  EXPECT_EQ(read->tensors.at("b").values<float>()[0], 1.0f);
}

TEST(Safetensors, EveryFlippedBitIsNoticed) {
  const std::string good = WriteSafetensors(Sample(), {{"epoch", "3"}});
  int data_loss = 0;
  for (size_t i = 0; i < good.size() * 8; ++i) {
    std::string bad = good;
    bad[i / 8] = static_cast<char>(bad[i / 8] ^ (1 << (i % 8)));
    auto read = Read(bad);
    // One flip turns the checksum's key into another one; then the file is as one by others.
    if (read.ok()) {
      EXPECT_EQ(read->metadata.count("epoch"), 1u);
      EXPECT_EQ(read->metadata.size(), 2u) << "bit " << i;
      continue;
    }
    data_loss += read.status().code() == absl::StatusCode::kDataLoss;
  }
  EXPECT_GT(data_loss, 1000);
}

TEST(Safetensors, TruncationsAreNoticed) {
  const std::string good = WriteSafetensors(Sample());
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(Read(good.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(Read(good + "x").ok());
}

// core/safetensors_format_test.cc has the ways to be malformed.
TEST(Safetensors, RefusesMalformedHeaders) {
  const absl::Status status =
      Read(File(R"({"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}})", "12345678")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "safetensors: tensor 'a' has dtype 'C64', which Weft does not have");
}

}  // namespace
}  // namespace weft
