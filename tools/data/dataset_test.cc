#include "tools/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>

#include "proto/npy.h"
#include "tools/data/batches.h"
#include "tools/data/data_file.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr char kExamples[] = "tools/examples/data/";

std::string Write(const std::string& name, const std::string& bytes) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

TEST(DataSet, Digits) {
  const auto data = LoadDataSet({std::string(kExamples) + "digits-images-idx3-ubyte.gz",
                                 std::string(kExamples) + "digits-labels-idx1-ubyte.gz"});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->Describe(), "x u8[1797, 8, 8], y u8[1797]");
  const auto pixels = data->arrays.at("x").values<uint8_t>();
  EXPECT_EQ(*std::max_element(pixels.begin(), pixels.end()), 16);
  // The published count of each digit.
  std::vector<int> counts(10);
  for (const uint8_t label : data->arrays.at("y").values<uint8_t>()) ++counts.at(label);
  EXPECT_THAT(counts, ElementsAre(178, 182, 177, 183, 181, 182, 181, 179, 174, 180));
}

// Files as large as MNIST's: 60,000 images of 28x28 between empty margins, and their labels.
TEST(DataSet, ImagesAsManyAsThoseOfMnist) {
  constexpr size_t kImages = 60'000, kSide = 28, kMargin = 4, kRow = kSide - 2 * kMargin;
  const std::string image_header("\0\0\x08\x03\0\0\xea\x60\0\0\0\x1c\0\0\0\x1c", 16);
  const std::string label_header("\0\0\x08\x01\0\0\xea\x60", 8);
  std::mt19937 random(7);
  std::string strokes(100'000, '\0'), images(kImages * kSide * kSide, '\0'), labels;
  for (char& pixel : strokes) pixel = static_cast<char>(random());
  for (size_t i = 0; i < kImages; ++i) {
    labels += static_cast<char>(random() % 10);
    for (size_t row = kMargin; row < kSide - kMargin; ++row) {
      strokes.copy(&images[(i * kSide + row) * kSide + kMargin], kRow,
                   random() % (strokes.size() - kRow));
    }
  }
  const auto pack = [](const std::string& name, const std::string& header,
                       const std::string& bytes) {
    const std::string path = ::testing::TempDir() + "/" + name;
    const gzFile file = gzopen(path.c_str(), "wb1");
    EXPECT_EQ(gzwrite(file, header.data(), static_cast<unsigned>(header.size())), header.size());
    EXPECT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())), bytes.size());
    EXPECT_EQ(gzclose(file), Z_OK);
    return path;
  };
  const std::string x = pack("train-images-idx3-ubyte.gz", image_header, images),
                    y = pack("train-labels-idx1-ubyte.gz", label_header, labels);
  const auto data = LoadDataSet({x, y});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->Describe(), "x u8[60000, 28, 28], y u8[60000]");
  EXPECT_EQ(data->num_rows, 60'000);
  const auto holds = [&](const char* name, const std::string& bytes) {
    const HostTensor& array = data->arrays.at(name);
    return std::string_view(static_cast<const char*>(array.data()), array.size_bytes()) == bytes;
  };
  EXPECT_TRUE(holds("x", images));
  EXPECT_TRUE(holds("y", labels));
  std::filesystem::remove(x);
  std::filesystem::remove(y);
}

TEST(DataSet, AutoMpg) {
  LoadOptions options;
  options.csv.target = "mpg";
  const auto data = LoadDataSet({std::string(kExamples) + "auto_mpg.csv"}, options);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->Describe(), "x f32[392, 9], y f32[392, 1]");
  ASSERT_TRUE(data->table.has_value());
  EXPECT_EQ(data->table->FeatureNames().back(), "origin=USA");
}

TEST(DataSet, NumPyFiles) {
  const HostTensor x = HostTensor::Of<float>({2, 1}, {1, 2});
  const HostTensor y = HostTensor::Of<int64_t>({2}, {0, 1});
  const std::string npz = ::testing::TempDir() + "/data.npz";
  ASSERT_TRUE(SaveNpz(npz, {{"images", x}, {"labels", y}}).ok());
  EXPECT_EQ(LoadDataSet({npz})->Describe(), "images f32[2, 1], labels i64[2]");
  const std::string npy = Write("data.npy", WriteNpy(y));
  EXPECT_EQ(LoadDataSet({npy})->Describe(), "x i64[2]");
  EXPECT_EQ(LoadDataSet({"t=" + npy, npz})->Describe(),
            "images f32[2, 1], labels i64[2], t i64[2]");
}

// Names of arrays come from files, and a terminal obeys what it is sent.
TEST(DataSet, NamesAreShownEscaped) {
  const std::string npz = ::testing::TempDir() + "/wild.npz";
  const std::string wild = "t\x1b[2J", shown = "t\\x1b[2J";
  const HostTensor y = HostTensor::Of<int64_t>({2}, {0, 1});
  ASSERT_TRUE(SaveNpz(npz, {{wild, y}}).ok());
  EXPECT_EQ(LoadDataSet({npz})->Describe(), shown + " i64[2]");
  EXPECT_THAT(LoadDataSet({npz, npz}).status().message(), HasSubstr("'" + shown + "'"));
  ASSERT_TRUE(SaveNpz(npz, {{wild, HostTensor::Scalar<float>(1)}}).ok());
  EXPECT_THAT(LoadDataSet({npz}).status().message(), HasSubstr("'" + shown + "'"));
  ASSERT_TRUE(SaveNpz(npz, {{wild, HostTensor::Of<float>({1, 0}, {})}}).ok());
  EXPECT_THAT(LoadDataSet({npz}).status().message(), HasSubstr("'" + shown + "'"));
}

TEST(DataSet, Errors) {
  const std::string three = Write("three.npy", WriteNpy(HostTensor::Of<float>({3}, {1, 2, 3})));
  const std::string two = Write("two.npy", WriteNpy(HostTensor::Of<float>({2}, {1, 2})));
  const std::string scalar = Write("scalar.npy", WriteNpy(HostTensor::Scalar<float>(1)));
  const std::string noise = Write("noise.bin", std::string("\x01\x02\x03\x04\x05\x06\x07\x08", 8));
  const std::string cut = Write("cut.gz", std::string("\x1f\x8b\x08\x00\x00", 5));
  auto error = [](const std::vector<std::string>& files) {
    return std::string(LoadDataSet(files).status().message());
  };
  EXPECT_THAT(error({three, "y=" + two}),
              AllOf(HasSubstr("as many rows in each array, got 3 in 'x' ("),
                    HasSubstr("three.npy) and 2 in 'y' ("), HasSubstr("two.npy)")));
  EXPECT_THAT(error({three, three}), HasSubstr("NAME=PATH"));
  const std::string table = Write("table.csv", "a,y\n1,2.5\n");
  EXPECT_THAT(error({table, table}), HasSubstr("table.csv is one already; put all rows into one"));
  EXPECT_THAT(error({Write("empty.csv", "")}), HasSubstr("empty.csv: expected data, got an empty"));
  const std::string wide(
      "\xff\xfe"
      "a\0,\0y\0",
      8);
  EXPECT_THAT(error({Write("wide.csv", wide)}), HasSubstr("in UTF-8, got UTF-16"));
  EXPECT_THAT(error({scalar}), HasSubstr("scalar.npy: expected one row per example"));
  EXPECT_THAT(error({noise}), HasSubstr("noise.bin: expected data as npz, npy, idx or CSV"));
  EXPECT_THAT(error({cut}), HasSubstr("cut.gz: the gzip data ends too early"));
  EXPECT_THAT(error({"/nowhere/x.npz"}), HasSubstr("/nowhere/x.npz"));
  EXPECT_FALSE(LoadDataSet({}).ok());
  // Headers that promise more rows than there is memory, of nothing.
  std::string absurd = WriteNpy(HostTensor::Of<float>({1, 0}, {}));
  absurd.replace(absurd.find("(1, 0), }                  "), 27, "(4611686018427387904, 0), }");
  const std::string none = Write("none.npy", absurd);
  EXPECT_THAT(
      error({none}),
      HasSubstr("none.npy: expected rows with elements in array 'x', got f32[46116860184273"));
  const std::string idx =
      Write("none.idx", std::string("\0\0\x08\x02\xff\xff\xff\xff\0\0\0\0", 12));
  EXPECT_THAT(error({idx}), HasSubstr("none.idx: expected rows with elements in array 'x'"));
}

TEST(Gunzip, HoldsNoMoreThanTheLimit) {
  // Two members of 3 MB of zeros each, which is more than is unpacked at once.
  constexpr size_t kBytes = 3'000'000;
  std::string zeros(kBytes, '\0'), packed(10'000, '\0');
  z_stream stream = {};
  ASSERT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(zeros.data());
  stream.avail_in = kBytes;
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  ASSERT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  const auto whole = Gunzip(packed + packed, 2 * kBytes);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ((*whole)->view(), zeros + zeros);
  EXPECT_THAT(Gunzip(packed + packed, 2 * kBytes - 1).status().message(),
              HasSubstr("unpacks to more than the 5999999 bytes that there is memory for"));
}

TEST(Shuffled, IsAPermutationThatStaysTheSame) {
  std::vector<int64_t> order = Shuffled(1000, 7);
  EXPECT_EQ(order, Shuffled(1000, 7));
  EXPECT_NE(order, Shuffled(1000, 8));
  // The same on every machine: reports name rows.
  EXPECT_THAT(Shuffled(8, 1), ElementsAre(4, 3, 2, 7, 5, 6, 0, 1));
  std::sort(order.begin(), order.end());
  std::vector<int64_t> all(1000);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(order, all);
}

TEST(SplitRows, KeepsEveryRowOnce) {
  const Split split = SplitRows(1797, 0.1, 0.2, 1);
  EXPECT_EQ(split.training.size(), 1258u);
  EXPECT_EQ(split.validation.size(), 180u);
  EXPECT_EQ(split.test.size(), 359u);
  std::vector<int64_t> all = split.training;
  all.insert(all.end(), split.validation.begin(), split.validation.end());
  all.insert(all.end(), split.test.begin(), split.test.end());
  std::sort(all.begin(), all.end());
  for (int64_t i = 0; i < 1797; ++i) ASSERT_EQ(all[i], i);
  // The test rows do not depend on what else is done.
  EXPECT_EQ(SplitRows(1797, 0.5, 0.2, 1).test, split.test);
  EXPECT_EQ(SplitRows(3, 0.001, 0, 1).validation.size(), 1u);
  EXPECT_EQ(SplitRows(3, 0, 0, 1).training.size(), 3u);
  EXPECT_TRUE(SplitRows(3, 1, 1, 1).training.empty());
}

TEST(Statistics, OverSomeRows) {
  const HostTensor x = HostTensor::Of<float>({3, 2}, {1, 5, 3, 5, 100, 100});
  const Statistics statistics = StatisticsOf(x, {0, 1});
  EXPECT_THAT(statistics.mean.values<float>(), ElementsAre(2, 5));
  EXPECT_THAT(statistics.deviation.values<float>(), ElementsAre(1, 1));
}

DataSet Ten() {
  std::vector<float> x(20);
  std::vector<int64_t> y(10);
  std::iota(x.begin(), x.end(), 0);
  std::iota(y.begin(), y.end(), 0);
  DataSet data;
  data.num_rows = 10;
  data.arrays["x"] = HostTensor::Of<float>({10, 2}, x);
  data.arrays["y"] = HostTensor::Of<int64_t>({10}, y);
  return data;
}

TEST(Batches, GoThroughEveryRowInAnOrderOfTheEpoch) {
  const std::vector<BatchInput> inputs = {{"x", DataType::kF64, {2, 1}}, {"y", DataType::kI32, {}}};
  auto batches = Batches::Create(Ten(), {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, inputs, {.batch_size = 4});
  ASSERT_TRUE(batches.ok()) << batches.status();
  EXPECT_EQ(batches->num_batches(), 3);
  std::vector<std::vector<int32_t>> epochs;
  for (const int64_t epoch : {0, 1, 0}) {
    batches->StartEpoch(epoch);
    std::vector<int32_t> seen;
    std::vector<int64_t> sizes;
    while (batches->Next()) {
      const HostTensor& x = batches->feeds().at("x");
      const HostTensor& y = batches->feeds().at("y");
      EXPECT_THAT(x.shape(), ElementsAre(batches->batch_rows(), 2, 1));
      for (int64_t i = 0; i < batches->batch_rows(); ++i) {
        EXPECT_EQ(x.values<double>()[2 * i], 2.0 * y.values<int32_t>()[i]);
        seen.push_back(y.values<int32_t>()[i]);
      }
      sizes.push_back(batches->batch_rows());
    }
    EXPECT_THAT(sizes, ElementsAre(4, 4, 2));
    EXPECT_THAT(batches->sizes(), ElementsAre(4, 2));
    EXPECT_THAT(seen, UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    epochs.push_back(seen);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_EQ(epochs[0], epochs[2]);
}

TEST(Batches, GoToAnyPlaceOfAnEpoch) {
  const std::vector<BatchInput> inputs = {{"y", DataType::kI64, {}}};
  auto batches = Batches::Create(Ten(), {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, inputs, {.batch_size = 4});
  ASSERT_TRUE(batches.ok()) << batches.status();
  std::vector<std::vector<int64_t>> rows;
  while (batches->Next()) rows.push_back(batches->batch_indices());
  ASSERT_EQ(rows.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    batches->SkipTo(static_cast<int64_t>(i));
    ASSERT_TRUE(batches->Next());
    EXPECT_EQ(batches->batch_indices(), rows[i]);
  }
  for (const int64_t end : {int64_t{3}, std::numeric_limits<int64_t>::max()}) {
    batches->SkipTo(end);
    EXPECT_FALSE(batches->Next());
  }
}

TEST(Batches, DropsTheLastButNeverTheOnly) {
  const std::vector<BatchInput> inputs = {{"y", DataType::kI64, {}}};
  const BatchOptions options = {.batch_size = 4, .shuffle = false, .drop_last = true};
  auto six = Batches::Create(Ten(), {0, 1, 2, 3, 4, 5}, inputs, options);
  EXPECT_EQ(six->num_batches(), 1);
  EXPECT_THAT(six->sizes(), ElementsAre(4));
  auto few = Batches::Create(Ten(), {8, 9}, inputs, options);
  EXPECT_EQ(few->num_batches(), 1);
  EXPECT_THAT(few->sizes(), ElementsAre(2));
  ASSERT_TRUE(few->Next());
  EXPECT_THAT(few->feeds().at("y").values<int64_t>(), ElementsAre(8, 9));
  EXPECT_FALSE(few->Next());
}

TEST(Batches, Errors) {
  auto error = [](const BatchInput& input, int64_t batch_size = 2) {
    auto batches = Batches::Create(Ten(), {0, 1, 2}, {input}, {.batch_size = batch_size});
    return std::string(batches.status().message());
  };
  EXPECT_THAT(error({"images", DataType::kF32, {}}), HasSubstr("there is x, y"));
  EXPECT_THAT(error({"x", DataType::kF32, {3}}),
              HasSubstr("input 'x' wants rows of [3], but a row of the data is [2]"));
  EXPECT_THAT(error({"y", DataType::kBool, {}}), HasSubstr("cannot hold the value 2"));
  EXPECT_THAT(error({"x", DataType::kF32, {2}}, 0), HasSubstr("a batch size of 1 or more"));
  DataSet half = Ten();
  half.arrays["x"].mutable_values<float>()[3] = 0.5f;
  EXPECT_THAT(Batches::Create(half, {0}, {{"x", DataType::kI8, {2}}}, {}).status().message(),
              HasSubstr("input 'x' wants i8, which cannot hold the value 0.5"));
}

}  // namespace
}  // namespace weft
