#include "proto/core/npy_format.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft {
namespace {

// As NumPy pads it.
std::string File(std::string header, const std::string& elements) {
  header.resize(0x75, ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" + elements;
}

std::string Dictionary(const std::string& type, const std::string& order,
                       const std::string& shape) {
  return "{'descr': " + type + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

// "" or the error.
std::string ErrorOf(const std::string& file) {
  const std::vector<char> bytes(file.begin(), file.end());  // so that a sanitizer sees more
  NpyTensor npy;
  const FormatError error = ParseNpy({bytes.data(), bytes.size()}, &npy);
  if (!error) return "";
  char text[256];
  Describe(error, text, sizeof(text));
  return text;
}

TEST(NpyFormat, HeadersAreReadBack) {
  for (int dtype = 1; dtype < kNumDataTypes; ++dtype) {
    for (const std::vector<int64_t>& shape : {std::vector<int64_t>{},
                                              {3},
                                              {2, 5},
                                              {2, 0, 3},
                                              std::vector<int64_t>(64, 1),
                                              std::vector<int64_t>(64, INT64_MAX)}) {
      const auto type = static_cast<DataType>(dtype);
      std::vector<char> file(MaxNpyHeaderBytes(shape.size()));
      file.resize(WriteNpyHeader(type, shape.data(), shape.size(), file.data()));
      EXPECT_EQ(file.size() % 64, 0u);
      EXPECT_EQ(file.back(), '\n');
      const int64_t size = BytesOfShape(type, shape.data(), shape.size());
      if (size >= 0) file.resize(file.size() + static_cast<size_t>(size));
      NpyTensor npy;
      const FormatError error = ParseNpy({file.data(), file.size()}, &npy);
      EXPECT_EQ(!error, size >= 0);
      EXPECT_EQ(npy.dtype, type);
      EXPECT_EQ(std::vector<int64_t>(npy.shape, npy.shape + npy.rank), shape);
      EXPECT_TRUE(npy.InOrder());
      if (!error) EXPECT_EQ(npy.elements.size(), static_cast<size_t>(size));
    }
  }
}

TEST(NpyFormat, ElementsOfAnyOrder) {
  // The value at (i, j, k) of shape (2, 3, 4) is 256 i + 16 j + k.
  for (const bool fortran : {false, true}) {
    for (const bool big : {false, true}) {
      std::string file, expected;
      for (int n = 0; n < 24; ++n) {
        const int i = fortran ? n % 2 : n / 12, j = fortran ? n / 2 % 3 : n / 4 % 3,
                  k = fortran ? n / 6 : n % 4;
        const char bytes[] = {static_cast<char>(16 * j + k), static_cast<char>(i)};
        file += bytes[big];
        file += bytes[!big];
        expected += static_cast<char>(16 * (n / 4 % 3) + n % 4);
        expected += static_cast<char>(n / 12);
      }
      file =
          File(Dictionary(big ? "'>f2'" : "'=f2'", fortran ? "True" : "False", "(2L, 3, 4)"), file);
      NpyTensor npy;
      ASSERT_FALSE(ParseNpy(file, &npy));
      EXPECT_EQ(npy.InOrder(), !fortran && !big);
      std::string elements(48, '\0');
      CopyNpyElements(npy, elements.data());
      EXPECT_EQ(elements, expected) << fortran << big;
    }
  }
}

TEST(NpyFormat, TypesByTheirCodes) {
  const auto good = [](const std::string& type, size_t size) {
    return ErrorOf(File(Dictionary("'" + type + "'", "False", "(1,)"), std::string(size, '\0')))
        .empty();
  };
  for (const char* type : {"<f4", ">f4", "=f4", "|f4", "<i4", ">i4"}) EXPECT_TRUE(good(type, 4));
  for (const char* type : {"<f2", ">f2", "<V2", ">V2", "|V2"}) EXPECT_TRUE(good(type, 2)) << type;
  for (const char* type : {"|b1", ">b1", "<i1", "|u1"}) EXPECT_TRUE(good(type, 1)) << type;
  for (const char* type : {"<f8", ">f8", "<i8", ">i8"}) EXPECT_TRUE(good(type, 8)) << type;
  for (const char* type :
       {"?f4", "f4", "<f44", "<f", "<", "", "<u4", "<c8", "|S4", "<U4", "<f44444444444444444"}) {
    for (const size_t size : {0, 1, 4, 8}) EXPECT_FALSE(good(type, size)) << type;
  }
}

TEST(NpyFormat, SaysWhatIsWrong) {
  const std::string data(12, '\0');
  const std::string good = File(Dictionary("'<f4'", "False", "(3,)"), data);
  EXPECT_EQ(ErrorOf(good), "");
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(ErrorOf(good.substr(0, size)), "") << size;
  }
  EXPECT_EQ(ErrorOf("\x93NUMP"), "not a .npy file");
  std::string other = good;
  other[6] = 4;
  EXPECT_EQ(ErrorOf(other), "expected format version 1, 2 or 3, got 4");
  EXPECT_EQ(ErrorOf(good.substr(0, 60)), "the header is cut off");
  EXPECT_EQ(ErrorOf(good + "x"), "shape (3,) does not fit the 13 bytes of elements");
  const auto error = [&](const std::string& header) { return ErrorOf(File(header, data)); };
  EXPECT_EQ(error(Dictionary("'<c8'", "False", "(3,)")),
            "element type '<c8' is none of Weft's; convert it with astype first");
  EXPECT_EQ(error(Dictionary("[('a', '<f4')]", "False", "(3,)")),
            "the element type is a record, which Weft does not have");
  EXPECT_EQ(error(Dictionary("'<f4'", "true", "(3,)")), "the header is malformed at byte 44");
  EXPECT_EQ(error(Dictionary("'|b1'", "False", "(12,)")), "");
  EXPECT_EQ(ErrorOf(File(Dictionary("'|b1'", "False", "(12,)"), std::string(11, '\1') + '\2')),
            "holds a bool that is neither 0 nor 1");
  for (const char* header : {
           "",
           "{",
           "{}",
           "{'descr': '<f4', 'fortran_order': False}",
           "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'shape': (3,), }",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), } }",
       }) {
    EXPECT_NE(error(header), "") << header;
  }
  for (const char* shape : {"(-3,)", "(3", "(2 3)", "(3,,)", "(4294967296,4294967296)",
                            "(4611686018427387907,)", "(99999999999999999999,)"}) {
    EXPECT_NE(error(Dictionary("'<f4'", "False", shape)), "") << shape;
  }
  // Without elements the other dimensions may be anything.
  const std::string huge = "(4294967296,4294967296,0)";
  EXPECT_EQ(ErrorOf(File(Dictionary("'<f4'", "True", huge), "")), "");
}

}  // namespace
}  // namespace weft
