#include "proto/core/safetensors_format.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "proto/core/crc32.h"

namespace weft {
namespace {

// A file in memory of exactly its size, and what was read from it, so that a sanitizer sees more.
struct Read {
  explicit Read(const std::string& text) : bytes(text.begin(), text.end()) {
    FormatError result = OpenSafetensors({bytes.data(), bytes.size()}, &file);
    memory.reset(new char[file.memory_bytes]);
    if (!result) result = ParseSafetensors(memory.get(), &file);
    damaged = result.damaged;
    if (!result) return;
    error.resize(Describe(result, nullptr, 0) + 1);
    Describe(result, error.data(), error.size());
    error.pop_back();
  }

  std::vector<char> bytes;
  std::unique_ptr<char[]> memory;
  SafetensorsFile file;
  std::string error;
  bool damaged;
};

std::string File(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + header + data;
}

TEST(SafetensorsFormat, ViewsOfWhatIsThere) {
  const Read read(
      File(R"({"__metadata__":{"k":"v"},"\u0062\"":{"dtype":"I8","shape":[2 , 1],"x":[{}],)"
           R"("data_offsets":[0,2]},"a":{"dtype":"U8","shape":[],"data_offsets":[2,3]}} )",
           "xyz"));
  ASSERT_EQ(read.error, "");
  EXPECT_EQ(read.file.metadata, R"({"k":"v"})");
  ASSERT_EQ(read.file.num_tensors, 2u);
  EXPECT_EQ(read.file.tensors[0].name, "a");
  const SafetensorsTensor* tensor = read.file.Find("b\"");
  ASSERT_EQ(tensor, &read.file.tensors[1]);
  EXPECT_EQ(tensor->dtype, DataType::kI8);
  EXPECT_EQ(tensor->shape, "[2 , 1]");
  int64_t shape[kMaxFileRank];
  ASSERT_EQ(ShapeOf(*tensor, shape), 2u);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[1], 1);
  EXPECT_EQ(read.file.BytesOf(*tensor), "xy");
  EXPECT_EQ(read.file.BytesOf(*read.file.Find("a")), "z");
  for (const char* name : {"", "b", "c"}) EXPECT_EQ(read.file.Find(name), nullptr);
}

// As short as tensors can be described: the memory holds them.
TEST(SafetensorsFormat, ManySmallTensors) {
  std::string header = "{", data;
  const std::string digits = "0123456789";
  for (size_t i = 0; i < digits.size(); ++i) {
    const std::string begin(1, digits[i]), end = std::to_string(i + 1);
    header += i == 0 ? "" : ",";
    header += i == 0 ? R"("":)" : "\"" + begin + "\":";
    header += R"({"dtype":"I8","shape":[],"data_offsets":[)" + begin + "," + end + "]}";
    data += "x";
  }
  const Read read(File(header + "}", data));
  EXPECT_EQ(read.error, "");
  EXPECT_EQ(read.file.num_tensors, digits.size());
}

TEST(SafetensorsFormat, SaysWhatIsWrong) {
  // As the entries "a" and "b" are, of two bytes each.
  const auto entry = [](const char* name, const char* offsets) {
    return std::string("\"") + name + R"(":{"dtype":"I8","shape":[2],"data_offsets":[)" + offsets +
           "]}";
  };
  const std::string a = entry("a", "0,2");
  struct Case {
    std::string header;
    size_t data;
    const char* error;
  };
  for (const Case& c : std::vector<Case>{
           {"{}", 0, ""},
           {"{" + a + "}", 2, ""},
           {"{" + entry("b", "2,4") + "," + a + "}", 4, ""},
           {R"({"a":{"dtype":"F32","shape":[0,99],"data_offsets":[0,0]}})", 0, ""},
           {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}})", 0,
            ""},
           {"", 0, "malformed JSON: expected '{' at byte 8"},
           {"{" + a + "} x", 2, "malformed JSON: expected the end at byte 62"},
           {"{\"\xff\":1}", 0, "the header is not UTF-8"},
           {"{}", 1, "expected the end after the last tensor, got 1 bytes more"},
           {"{" + a + "}", 6, "expected the end after the last tensor, got 4 bytes more"},
           {"{" + a + "}", 1, "tensor 'a' overlaps another, leaves a gap, or lies past the end"},
           {"{" + entry("a", "1,3") + "}", 3,
            "tensor 'a' overlaps another, leaves a gap, or lies past the end"},
           {"{" + entry("b", "1,3") + "," + a + "}", 3,
            "tensor 'b' overlaps another, leaves a gap, or lies past the end"},
           {"{" + entry("b", "0,2") + "," + a + "}", 2, "overlaps"},
           {"{" + entry("b", "3,5") + "," + a + "}", 5,
            "tensor 'b' overlaps another, leaves a gap, or lies past the end"},
           {"{" + a + "," + entry("\\u0061", "2,4") + "}", 4, "tensor 'a' is there twice"},
           {"{" + entry("a", "2,0") + "}", 2,
            "tensor 'a' of shape [2] does not have the size of its data_offsets"},
           {"{" + entry("a", "2") + "}", 2, "tensor 'a' needs two data_offsets"},
           {"{" + entry("a", "0,1,2") + "}", 2,
            "malformed JSON: expected no more numbers at byte "},
           {R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2,
            "tensor 'a' has dtype 'F8_E4M3', which Weft does not have"},
           {R"({"a":{"dtype":"I8","shape":[2]}})", 2,
            "tensor 'a' lacks dtype, shape or data_offsets"},
           {R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", 2,
            "tensor 'a' holds a bool that is neither 0 nor 1"},
           {R"({"__metadata__":{},"__metadata__":{}})", 0, "tensor '__metadata__' is there twice"},
           {R"({"__metadata__":{"k":1}})", 0, "malformed JSON: expected a string at byte 29"},
           {R"({"__metadata__":{"weft.crc32":"00000000","weft.crc32":"00000000"}})", 0,
            "the checksum is there twice"},
           {R"({"__metadata__":{"weft.crc32":"0000000"}})", 0, "damaged (the checksum differs)"},
       }) {
    SCOPED_TRACE(c.header);
    const Read read(File(c.header, std::string(c.data, '\2')));
    if (c.error[0] == '\0') {
      EXPECT_EQ(read.error, "");
    } else {
      EXPECT_NE(read.error.find(c.error), std::string::npos) << read.error;
    }
  }
  EXPECT_EQ(Read("1234567").error, "too short to hold a header");
  EXPECT_EQ(Read(std::string(8, '\xff')).error,
            "not a safetensors file, or one that is cut short: the header's length, "
            "18446744073709551615, is out of range");
}

TEST(SafetensorsFormat, RefusesMalformedHeaders) {
  const auto error = [](const std::string& header) {
    return Read(File(header, std::string(4, '\0'))).error;
  };
  EXPECT_EQ(error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})"), "");
  for (const char* rest :
       {R"("shape":[1],"data_offsets":[0,4])", R"("dtype":"F32","data_offsets":[0,4])",
        R"("dtype":"F32","shape":[1])", R"("dtype":"F32","shape":[1],"data_offsets":[0,3])",
        R"("dtype":"F32","shape":[2],"data_offsets":[0,4])",
        R"("dtype":"F32","shape":[1],"data_offsets":[4,8])",
        R"("dtype":"F32","shape":[1],"data_offsets":[4,0])",
        R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])",
        R"("dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4])",
        R"("dtype":"F32","shape":[4294967296,4294967297],"data_offsets":[0,4])"}) {
    EXPECT_NE(error(std::string(R"({"a":{)") + rest + "}}"), "") << rest;
  }
  for (const char* header : {"[]", "{", "{\"a\":", "{\"a\":1}", R"({"__metadata__":1})"}) {
    EXPECT_NE(error(header), "") << header;
  }
  EXPECT_NE(error(std::string(1000000, '[')), "");
}

TEST(SafetensorsFormat, TheChecksumIsThatOfThePlainDigits) {
  std::string file = File(R"({"__metadata__":{"weft.crc32":"00000000"}})", "");
  char digits[9];
  snprintf(digits, sizeof(digits), "%08x", Crc32(file));
  std::string good = file;
  good.replace(file.find("00000000"), 8, digits);
  EXPECT_EQ(Read(good).error, "");
  EXPECT_TRUE(Read(file).damaged);
  // The same digits, the last with an escape.
  char escaped[14];
  snprintf(escaped, sizeof(escaped), "%.7s\\u%04x", digits, static_cast<unsigned>(digits[7]));
  EXPECT_TRUE(
      Read(File(R"({"__metadata__":{"weft.crc32":")" + std::string(escaped) + "\"}}", "")).damaged);
}

TEST(SafetensorsFormat, WhatIsWrittenIsRead) {
  const int64_t shape[] = {2, 3}, length = 64;
  const std::string small(6, 'a'), halves(12, 'b'), large(64, 'c');
  std::vector<SafetensorsItem> items = {
      {"small", DataType::kI8, shape, 2, small},
      {"halves", DataType::kBF16, shape, 2, halves},
      {"n\"\n", DataType::kI8, &length, 1, large},
  };
  SortSafetensors(items.data(), items.size());
  EXPECT_EQ(items[0].name, "n\"\n");  // a multiple of 64 bytes
  EXPECT_EQ(items[1].name, "halves");
  const SafetensorsNote note = {"key", "val\\ue"};
  const auto write = [&](char* header) {
    return WriteSafetensorsHeader(items.data(), items.size(), &note, 1, header);
  };
  std::vector<char> header(write(nullptr));
  EXPECT_EQ(header.size() % 64, 0u);
  EXPECT_EQ(write(header.data()), header.size());
  std::string file(header.begin(), header.end());
  for (const SafetensorsItem& item : items) file += item.bytes;
  PutSafetensorsCrc(Crc32(file), file.data());
  const Read read(file);
  ASSERT_EQ(read.error, "");
  for (const SafetensorsItem& item : items) {
    const SafetensorsTensor* tensor = read.file.Find(item.name);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->dtype, item.dtype);
    EXPECT_EQ(read.file.BytesOf(*tensor), item.bytes);
  }
  EXPECT_NE(read.file.metadata.find(R"("key":"val\\ue")"), std::string_view::npos);
}

}  // namespace
}  // namespace weft
