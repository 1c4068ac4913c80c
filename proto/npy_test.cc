#include "proto/npy.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zlib.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "proto/core/crc32.h"
#include "proto/zip.h"

namespace weft {
namespace {

absl::StatusOr<HostTensor> Read(const std::string& bytes) {
  auto owner = Bytes::Of(bytes);
  return ReadNpy(owner->view(), owner);
}
absl::StatusOr<std::map<std::string, HostTensor>> ReadArchive(const std::string& bytes) {
  auto owner = Bytes::Of(bytes);
  return ReadNpz(owner->view(), owner);
}

// A file as NumPy writes it: header padded with spaces to 128 bytes.
std::string NumpyFile(std::string header, const std::string& data) {
  header.resize(0x75, ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" + data;
}

std::string FromHex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

TEST(Npy, WritesWhatNumpyWrites) {
  // numpy.save of numpy.arange(3, dtype='<f4').
  const std::string vector = NumpyFile("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
                                       std::string("\0\0\0\0\0\0\x80?\0\0\0@", 12));
  EXPECT_EQ(WriteNpy(HostTensor::Of<float>({3}, {0, 1, 2})), vector);
  // numpy.save of numpy.float64(2.5).
  const std::string scalar = NumpyFile("{'descr': '<f8', 'fortran_order': False, 'shape': (), }",
                                       std::string("\0\0\0\0\0\0\x04@", 8));
  EXPECT_EQ(WriteNpy(HostTensor::Scalar<double>(2.5)), scalar);
}

TEST(Npy, RoundTripOfEveryType) {
  for (int i = 1; i < kNumDataTypes; ++i) {
    for (const std::vector<int64_t>& shape :
         std::vector<std::vector<int64_t>>{{}, {3}, {2, 5}, {2, 0, 3}, {1, 1, 1, 4}}) {
      auto tensor = HostTensor::Create(static_cast<DataType>(i), shape);
      ASSERT_TRUE(tensor.ok());
      if (tensor->size_bytes() > 0) memset(tensor->mutable_data(), 1, tensor->size_bytes());
      auto read = Read(WriteNpy(*tensor));
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(read->TypeString(), tensor->TypeString());
      if (tensor->size_bytes() > 0) {
        EXPECT_EQ(memcmp(read->data(), tensor->data(), tensor->size_bytes()), 0);
      }
    }
  }
}

TEST(Npy, ReadsFortranOrderAndBigEndian) {
  // numpy.save of numpy.asfortranarray(numpy.arange(6, dtype='>i4').reshape(2, 3)).
  auto read = Read(NumpyFile("{'descr': '>i4', 'fortran_order': True, 'shape': (2, 3), }",
                             std::string("\0\0\0\0\0\0\0\3\0\0\0\1\0\0\0\4\0\0\0\2\0\0\0\5", 24)));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->values<int32_t>(), (absl::Span<const int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(read->shape(), (std::vector<int64_t>{2, 3}));
}

// core/npy_format_test.cc has the ways to be malformed.
TEST(Npy, RefusesMalformedFiles) {
  const std::string good = WriteNpy(HostTensor::Of<float>({3}, {0, 1, 2}));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(Read(good.substr(0, size)).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(Read(good + "x").status().message(),
            "npy: shape (3,) does not fit the 13 bytes of elements");
}

TEST(Npz, RoundTrip) {
  auto archive = WriteNpz({{"x", HostTensor::Of<float>({2, 2}, {1, 2, 3, 4})},
                           {"labels", HostTensor::Of<int64_t>({2}, {5, -6})}});
  ASSERT_TRUE(archive.ok());
  auto read = ReadArchive(*archive);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ(read->at("x").values<float>(), (absl::Span<const float>{1, 2, 3, 4}));
  EXPECT_EQ(read->at("labels").values<int64_t>(), (absl::Span<const int64_t>{5, -6}));
  // Members start at multiples of 64, and so do the elements in them.
  EXPECT_EQ(reinterpret_cast<uintptr_t>(read->at("x").data()) % 64, 0u);
}

// numpy.savez_compressed(file, a=numpy.zeros(20, numpy.int8), b=numpy.array([True, False])).
constexpr std::string_view kCompressed =
    "504b03042d000000080000002100f2f78682ffffffffffffffff05001400612e6e7079010010009400000000000000"
    "48000000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a05e9369a8aea3a09e965f54529498179f5f94"
    "920a12774bcc294e058a17672416a402f91a46063a9a3a0ab50ae4032e062c0000504b03042d000000080000002100"
    "ee19bb5dffffffffffffffff05001400622e6e707901001000820000000000000046000000000000009bec17ea1b10"
    "c9c850c650ad9e925a9c5ca46ea5a05e9364a8aea3a09e965f54529498179f5f94920a12774bcc294e058a17672416"
    "a402f91a463a9a3a0ab50a14002e460600504b01022d032d000000080000002100f2f7868248000000940000000500"
    "00000000000000000000800100000000612e6e7079504b01022d032d000000080000002100ee19bb5d460000008200"
    "000005000000000000000000000080017f000000622e6e7079504b0506000000000200020066000000fc000000000"
    "0";

TEST(Npz, ReadsWhatNumpyCompresses) {
  auto read = ReadArchive(FromHex(kCompressed));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->at("a").TypeString(), "i8[20]");
  for (int8_t value : read->at("a").values<int8_t>()) EXPECT_EQ(value, 0);
  EXPECT_EQ(read->at("b").values<bool>(), (absl::Span<const bool>{true, false}));
}

TEST(Npz, DamageIsNoticed) {
  for (const std::string& good :
       {FromHex(kCompressed), WriteNpz({{"x", HostTensor::Of<float>({2}, {1, 2})}}).value()}) {
    for (size_t size = 0; size < good.size(); ++size) {
      EXPECT_FALSE(ReadArchive(good.substr(0, size)).ok()) << size;
    }
    std::mt19937 random(7);
    for (int round = 0; round < 20000; ++round) {
      std::string bad = good;
      for (int flips = 1 + static_cast<int>(random() % 3); flips > 0; --flips) {
        bad[random() % bad.size()] = static_cast<char>(random());
      }
      auto read = ReadArchive(bad);  // must return; some bytes (times, flags) do not matter
      if (read.ok()) EXPECT_LE(read->size(), 2u);
    }
  }
}

TEST(Npz, OverlappingMembersAreRefused) {
  // Two directory entries for the same bytes: the seed of an archive that expands without end.
  std::string archive =
      WriteZip({{"a", std::string_view("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")}})
          .value();
  ASSERT_TRUE(ReadZip(archive).ok());
  const size_t end = archive.size() - 22;
  uint32_t directory_offset;
  memcpy(&directory_offset, &archive[end + 16], 4);
  const std::string entry = archive.substr(directory_offset, end - directory_offset);
  std::string repeated = archive.substr(0, end);
  for (int i = 1; i < 4; ++i) repeated += entry;
  std::string tail = archive.substr(end);
  const uint16_t count = 4;
  const uint32_t size = static_cast<uint32_t>(4 * entry.size());
  memcpy(&tail[8], &count, 2);
  memcpy(&tail[10], &count, 2);
  memcpy(&tail[12], &size, 4);
  EXPECT_FALSE(ReadZip(repeated + tail).ok());
}

// A sanitizer ends the program where memory is short.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
TEST(Npz, AMemberLargerThanMemoryIsAnError) {
  // Two megabytes that claim to be two gigabytes compressed.
  const std::string stored(2 << 20, 'x');
  std::string archive = WriteZip({{"a", stored}}).value();
  uint32_t directory;
  memcpy(&directory, &archive[archive.size() - 22 + 16], 4);
  const uint16_t deflated = 8;
  const uint32_t size = 1000u * (2 << 20);
  memcpy(&archive[directory + 10], &deflated, 2);
  memcpy(&archive[directory + 24], &size, 4);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_DATA, &before), 0);
  const rlimit small = {size / 2, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_DATA, &small), 0);
  const absl::Status status = ReadArchive(archive).status();
  ASSERT_EQ(setrlimit(RLIMIT_DATA, &before), 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}
#endif

// Together, and told by the directory alone.
TEST(Npz, UnpacksNoMoreThanTheLimit) {
  constexpr uint32_t kBytes = 3'000'000;
  std::string packed(10'000, '\0');
  z_stream stream = {};
  ASSERT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string npy = WriteNpy(HostTensor::Create(DataType::kU8, {kBytes}).value());
  const auto size = static_cast<uint32_t>(npy.size());
  stream.next_in = reinterpret_cast<Bytef*>(npy.data());
  stream.avail_in = size;
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  ASSERT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  // The directory is made to say what the stored bytes are.
  std::string archive = WriteZip({{"a.npy", packed}, {"b.npy", packed}}).value();
  uint32_t at;
  memcpy(&at, &archive[archive.size() - 22 + 16], 4);
  const uint16_t deflated = 8;
  const auto crc = Crc32(npy);
  for (int i = 0; i < 2; ++i) {
    memcpy(&archive[at + 10], &deflated, 2);
    memcpy(&archive[at + 16], &crc, 4);
    memcpy(&archive[at + 24], &size, 4);
    uint16_t name;
    memcpy(&name, &archive[at + 28], 2);
    at += 46 + name;
  }
  const auto whole = ReadNpz(archive, nullptr, 2 * uint64_t{size});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->at("b").num_elements(), kBytes);
  const absl::Status refused = ReadNpz(archive, nullptr, 2 * uint64_t{size} - 1).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("that there is memory for"), std::string::npos) << refused;
}

TEST(NpyFiles, SaveAndLoadNameThePath) {
  const std::string path = testing::TempDir() + "/npy_test.npy";
  ASSERT_TRUE(SaveNpy(path, HostTensor::Scalar<float>(3)).ok());
  EXPECT_EQ(LoadNpy(path)->values<float>()[0], 3.0f);
  auto wrong = LoadNpz(path);
  EXPECT_EQ(std::string(wrong.status().message()).find(path), 0u);
  ASSERT_TRUE(SaveNpz(path, {{"v", HostTensor::Scalar<float>(4)}}).ok());
  EXPECT_EQ(LoadNpz(path)->at("v").values<float>()[0], 4.0f);
}

}  // namespace
}  // namespace weft
