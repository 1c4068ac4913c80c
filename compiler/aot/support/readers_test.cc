// The readers of files in artifacts take what proto/ writes, and nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "compiler/aot/support/file.h"
#include "compiler/aot/support/npy.h"
#include "compiler/aot/support/safetensors.h"
#include "proto/npy.h"
#include "proto/safetensors.h"

namespace weft::aot {
namespace {

std::string NpyFile(std::string header, const std::string& data) {
  header.resize(0x75, ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" + data;
}

// What is wrong, or "".
std::string Problem(const std::string& file, Npy* npy) {
  // A copy of exactly this size, so that a sanitizer sees a read past the end.
  const std::vector<char> bytes(file.begin(), file.end());
  const char* problem = ReadNpy(bytes.data(), bytes.size(), npy);
  return problem == nullptr ? "" : problem;
}

TEST(Npy, TakesWhatIsWritten) {
  for (int dtype = 1; dtype < kNumDataTypes; ++dtype) {
    for (const std::vector<int64_t>& shape :
         std::vector<std::vector<int64_t>>{{}, {3}, {2, 5}, {2, 0, 3}}) {
      const HostTensor tensor = *HostTensor::Create(static_cast<DataType>(dtype), shape);
      Npy npy;
      EXPECT_EQ(Problem(weft::WriteNpy(tensor), &npy), "");
      EXPECT_EQ(npy.dtype, dtype);
      EXPECT_EQ(std::vector<int64_t>(npy.shape, npy.shape + npy.rank), shape);
      EXPECT_EQ(npy.bytes, static_cast<int64_t>(tensor.size_bytes()));
    }
  }
}

TEST(Npy, RefusesTheRest) {
  const std::string data(12, '\0');
  Npy npy;
  const std::string good =
      NpyFile("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", data);
  ASSERT_EQ(Problem(good, &npy), "");
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(Problem(good.substr(0, size), &npy), "") << size;
  }
  for (const char* header : {
           "",
           "{}",
           "{'descr': '', 'fortran_order': False, 'shape': (3,), }",
           "{'descr': '?f4', 'fortran_order': False, 'shape': (3,), }",
           "{'descr': '<f44444444444444444', 'fortran_order': False, 'shape': (3,), }",
           "{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }",
           "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'shape': (3,), }",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (3, }",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296,4294967296), }",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
       }) {
    EXPECT_NE(Problem(NpyFile(header, data), &npy), "") << header;
  }
  // Without elements the other dimensions may be anything.
  EXPECT_EQ(Problem(NpyFile("{'descr': '<f4', 'fortran_order': False, 'shape': "
                            "(4294967296,4294967296,0), }",
                            ""),
                    &npy),
            "");
}

// The two readers take the same files, and read the same from them.
TEST(Npy, AgreesWithTheReaderOfProto) {
  struct Shape {
    const char* text;
    int64_t elements;
  };
  std::mt19937 random(3);
  for (const char* type :
       {"<f4", ">f4", "=f4", "|f4", "?f4", "f4",  "<f8", ">f8", "<f2", ">f2", "<V2", ">V2", "|V2",
        "|b1", ">b1", "<i1", "|u1", "<i4", ">i4", "<i8", ">i8", "<u4", "<c8", "|S4", "<U4", ""}) {
    const int64_t size = type[0] == '\0' ? 1 : std::max(1, std::atoi(type + strlen(type) - 1));
    for (const char* order : {"False", "True", "true"}) {
      for (const Shape& shape : {Shape{"()", 1}, Shape{"(3,)", 3}, Shape{"(3)", 3},
                                 Shape{"(2, 3)", 6}, Shape{"(2L, 3L)", 6}, Shape{"(2, 0, 3)", 0},
                                 Shape{"(2, 3, 4)", 24}, Shape{"(2 3)", 6}}) {
        const std::string header = std::string("{'descr': '") + type +
                                   "', 'fortran_order': " + order + ", 'shape': " + shape.text +
                                   ", }";
        SCOPED_TRACE(header);
        std::string data;
        for (int64_t i = 0; i < shape.elements * size; ++i) {
          data.push_back(static_cast<char>(size == 1 ? random() % 2 : random() % 256));
        }
        const std::string file = NpyFile(header, data);
        const absl::StatusOr<HostTensor> expected = weft::ReadNpy(file, nullptr);
        Npy npy;
        const std::string problem = Problem(file, &npy);
        ASSERT_EQ(problem.empty(), expected.ok()) << problem << expected.status();
        if (!expected.ok()) continue;
        EXPECT_EQ(npy.dtype, static_cast<int>(expected->dtype()));
        ASSERT_EQ(npy.bytes, static_cast<int64_t>(expected->size_bytes()));
        ASSERT_EQ(ReadNpy(file.data(), file.size(), &npy), nullptr);
        std::string elements(data.size(), '\0');
        CopyElements(npy, elements.data());
        EXPECT_EQ(elements, std::string(static_cast<const char*>(expected->data()), data.size()));
      }
    }
  }
}

const char* Remember(void* context, const SafetensorsEntry& entry) {
  auto* seen = static_cast<std::map<std::string, std::string>*>(context);
  (*seen)[entry.name] = std::string(entry.data, static_cast<size_t>(entry.bytes));
  return nullptr;
}

TEST(Safetensors, EveryChangeIsNoticed) {
  const HostTensor w = HostTensor::Of<float>({2, 2}, {1, 2, 3, 4});
  const std::string good = WriteSafetensors({{"w", w}, {"step", HostTensor::Scalar<int64_t>(7)}},
                                            {{"note", "a\nb\u00e9"}});
  std::map<std::string, std::string> seen;
  ASSERT_EQ(WalkSafetensors(good.data(), good.size(), &Remember, &seen), nullptr);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen["w"], std::string(static_cast<const char*>(w.data()), w.size_bytes()));
  for (size_t size = 0; size < good.size(); ++size) {
    const std::vector<char> cut(good.begin(), good.begin() + static_cast<int64_t>(size));
    EXPECT_NE(WalkSafetensors(cut.data(), cut.size(), &Remember, &seen), nullptr) << size;
  }
  // A flip in the checksum's key makes it another key: then there is no checksum to compare.
  const size_t key = good.find("weft.crc32"), key_end = key + strlen("weft.crc32");
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    if (bit / 8 >= key && bit / 8 < key_end) continue;
    std::vector<char> bad(good.begin(), good.end());
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(WalkSafetensors(bad.data(), bad.size(), &Remember, &seen), nullptr) << bit;
  }
}

std::string SafetensorsFile(const std::string& header, size_t data) {
  const uint64_t size = header.size();
  std::string file(reinterpret_cast<const char*>(&size), sizeof(size));
  return file + header + std::string(data, '\1');
}

TEST(Safetensors, AgreesWithTheReaderOfProto) {
  struct File {
    const char* header;
    size_t data;
    bool good;
  };
  for (const File& file : std::vector<File>{
           {"{}", 0, true},
           {"{}", 1, false},
           {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, true},
           {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 12, false},
           {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12, false},
           {R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2, false},
           {R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", 2, true},
           {R"({"a":{"dtype":"F32","shape":[0,99],"data_offsets":[0,0]}})", 0, true},
           {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}})", 0,
            true},
           {R"({"b":{"dtype":"I8","shape":[2],"data_offsets":[2,4]},)"
            R"("a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})",
            4, true},
           {R"({"b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]},)"
            R"("a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})",
            3, false},
           {R"({"b":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},)"
            R"("a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})",
            2, false},
           {R"({"b":{"dtype":"I8","shape":[2],"data_offsets":[3,5]},)"
            R"("a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})",
            5, false},
           {R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[2,0]}})", 2, false},
       }) {
    SCOPED_TRACE(file.header);
    const std::string bytes = SafetensorsFile(file.header, file.data);
    std::map<std::string, std::string> seen;
    const char* problem = WalkSafetensors(bytes.data(), bytes.size(), &Remember, &seen);
    EXPECT_EQ(problem == nullptr, file.good) << problem;
    EXPECT_EQ(ReadSafetensors(bytes, nullptr).ok(), file.good);
  }
  std::string bad =
      SafetensorsFile(R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", 2);
  bad.back() = '\2';
  std::map<std::string, std::string> seen;
  EXPECT_NE(WalkSafetensors(bad.data(), bad.size(), &Remember, &seen), nullptr);
  EXPECT_FALSE(ReadSafetensors(bad, nullptr).ok());
}

}  // namespace
}  // namespace weft::aot
