#include "tools/data/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/data/csv_rows.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::vector<std::string>> Rows(std::string_view text) {
  std::vector<std::vector<std::string>> rows;
  absl::Status status = CsvRows(text).ForEach([&](int64_t, const CsvRows::Fields& fields) {
    rows.emplace_back(fields.begin(), fields.end());
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return rows;
}

std::string Error(std::string_view text, const CsvOptions& options = {}) {
  absl::StatusOr<CsvData> data = ParseCsv(text, options);
  EXPECT_FALSE(data.ok());
  return std::string(data.status().message());
}

TEST(CsvRows, QuotesSpacesAndLineEnds) {
  EXPECT_THAT(Rows("\xef\xbb\xbf"
                   "a, b ,\"c,\"\"d\"\"\ne\"\r\n\r\n 1 ,, \n"),
              ElementsAre(ElementsAre("a", "b", "c,\"d\"\ne"), ElementsAre("1", "", "")));
  EXPECT_THAT(Rows("1,2"), ElementsAre(ElementsAre("1", "2")));
  EXPECT_THAT(Rows(""), ElementsAre());
}

TEST(CsvRows, FindsTheDelimiter) {
  EXPECT_EQ(CsvRows("a;b;c,d\n").delimiter(), ';');
  EXPECT_EQ(CsvRows("a\tb\n1,2,3\n").delimiter(), '\t');
  EXPECT_EQ(CsvRows("\"a;b;c\",d\n").delimiter(), ',');
  EXPECT_EQ(CsvRows("").delimiter(), ',');
}

TEST(CsvRows, ErrorsNameTheLine) {
  const auto status = CsvRows("a\n\"b\nc").ForEach([](auto, auto&) { return absl::OkStatus(); });
  EXPECT_EQ(status.message(), "line 2: a quoted field is not closed");
  const auto after = CsvRows("\"a\nb\"c\n").ForEach([](auto, auto&) { return absl::OkStatus(); });
  EXPECT_THAT(after.message(), HasSubstr("line 2: expected a delimiter"));
}

TEST(Csv, RegressionWithCategories) {
  const auto data = ParseCsv("weight,origin,mpg\n3504,USA,18\n2372,Japan,24.5\n1000,USA,30\n");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_FALSE(data->classification());
  EXPECT_EQ(data->target, "mpg");
  EXPECT_THAT(data->FeatureNames(), ElementsAre("weight", "origin=Japan", "origin=USA"));
  EXPECT_EQ(data->x.TypeString(), "f32[3, 3]");
  EXPECT_THAT(data->x.values<float>(), ElementsAre(3504, 0, 1, 2372, 1, 0, 1000, 0, 1));
  EXPECT_EQ(data->y.TypeString(), "f32[3, 1]");
  EXPECT_THAT(data->y.values<float>(), ElementsAre(18, 24.5, 30));
}

TEST(Csv, ChoosesTargetAndClasses) {
  CsvOptions options;
  options.target = "kind";
  const auto data = ParseCsv("kind,a\nten,1\ntwo,2\nten,3\n", options);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->classes, ElementsAre("ten", "two"));
  EXPECT_THAT(data->y.values<int32_t>(), ElementsAre(0, 1, 0));
  EXPECT_THAT(data->x.values<float>(), ElementsAre(1, 2, 3));
}

TEST(Csv, FewWholeNumbersAreClassesUnlessTold) {
  std::string text = "a,digit\n";
  for (int i = 0; i < 30; ++i) text += std::to_string(i) + "," + std::to_string(10 - i % 3) + "\n";
  const auto data = ParseCsv(text);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->classes, ElementsAre("8", "9", "10"));  // as numbers, not as text
  CsvOptions options;
  options.task = Task::kRegression;
  EXPECT_FALSE(ParseCsv(text, options)->classification());
}

TEST(Csv, DetectsAHeader) {
  // Numbers in the first row like below: no header.
  EXPECT_THAT(ParseCsv("1,2.5\n3,4.5\n")->FeatureNames(), ElementsAre("column1"));
  EXPECT_EQ(ParseCsv("1,2.5\n3,4.5\n")->x.shape()[0], 2);
  // All text: a header only where its words do not come again.
  CsvOptions text;
  text.target = "animal";
  EXPECT_THAT(ParseCsv("animal,sound\ncat,meow\ndog,woof\n", text)->classes,
              ElementsAre("cat", "dog"));
  EXPECT_THAT(ParseCsv("cat,meow\ndog,woof\ncat,meow\n")->classes, ElementsAre("meow", "woof"));
  CsvOptions told;
  told.header = Header::kPresent;
  EXPECT_EQ(ParseCsv("1,2.5\n3,4.5\n", told)->x.shape()[0], 1);
}

TEST(Csv, MissingValues) {
  const std::string text = "a,b,y\n1,x,1.5\n?,x,2.5\n5,x,NA\n3,,4.5\n";
  EXPECT_THAT(Error(text), HasSubstr("line 3: column 'a' has no value; --missing drop"));
  CsvOptions drop;
  drop.missing = Missing::kDropRow;
  const auto dropped = ParseCsv(text, drop);
  ASSERT_TRUE(dropped.ok()) << dropped.status();
  EXPECT_EQ(dropped->dropped_rows, 3);
  EXPECT_THAT(dropped->y.values<float>(), ElementsAre(1.5));
  CsvOptions mean;
  mean.missing = Missing::kMean;
  const auto filled = ParseCsv("a,y\n1,1.5\n,2.5\n5,3.5\n", mean);
  ASSERT_TRUE(filled.ok()) << filled.status();
  EXPECT_THAT(filled->x.values<float>(), ElementsAre(1, 3, 5));
  EXPECT_THAT(Error(text, mean), HasSubstr("column 'y' has no value"));
  // A test set is filled in with what the training set says.
  mean.like = &*filled;
  const auto later = ParseCsv("a,y\n100,1.5\n,2.5\n", mean);
  ASSERT_TRUE(later.ok()) << later.status();
  EXPECT_THAT(later->x.values<float>(), ElementsAre(100, 3));
}

TEST(Csv, NumbersThatAreNone) {
  // What "not a number" is called here and there is a missing value, and sorts nowhere.
  std::string text = "a,digit\n";
  for (int i = 0; i < 60; ++i) {
    text += std::to_string(i) + "," + (i % 4 == 3 ? "-nan" : std::to_string(i % 4)) + "\n";
  }
  CsvOptions drop;
  drop.missing = Missing::kDropRow;
  const auto data = ParseCsv(text, drop);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->classes, ElementsAre("0", "1", "2"));
  EXPECT_EQ(data->dropped_rows, 15);
  for (const char* nan : {"nan", "NaN", "+nan", "-NAN", "nan(ind)"}) {
    EXPECT_THAT(Error(std::string("a,y\n1,1.5\n") + nan + ",2.5\n"),
                HasSubstr("line 3: column 'a' has no value"))
        << nan;
  }
  for (const char* infinite : {"inf", "-inf", "Infinity", "1e999", "1e39"}) {
    EXPECT_THAT(
        Error(std::string("a,y\n1,1.5\n") + infinite + ",2.5\n"),
        HasSubstr(std::string("line 3: expected a finite f32 in column 'a', got '") + infinite))
        << infinite;
    EXPECT_THAT(Error(std::string("a,y\n1,1.5\n2,") + infinite + "\n3,0.5\n"),
                HasSubstr("line 3: expected a finite f32 in column 'y'"))
        << infinite;
  }
  EXPECT_THAT(ParseCsv("a,y\n1e-999,1.5\n+2,2.5\n")->x.values<float>(), ElementsAre(0, 2));
}

TEST(Csv, EachColumnHasANameOfItsOwn) {
  EXPECT_THAT(Error("a,b,a,y\n1,2,3,4.5\n"), HasSubstr("columns 1 and 3 are both 'a'"));
  const auto data = ParseCsv(",b,,y\n1,2,3,4.5\n");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->FeatureNames(), ElementsAre("column1", "b", "column3"));
}

// In time in proportion to the file: with each name compared with all before, this would not end.
TEST(Csv, ManyColumns) {
  constexpr int kColumns = 300'000;
  std::string names, values;
  for (int i = 0; i < kColumns; ++i) {
    names += "c" + std::to_string(i) + ",";
    values += "1,";
  }
  const std::string rows = names + "y\n" + values + "2.5\n" + values + "1.5\n";
  const auto data = ParseCsv(rows);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->x.shape()[1], kColumns);
  CsvOptions like;
  like.like = &*data;
  EXPECT_TRUE(ParseCsv(rows, like).ok());
}

TEST(Csv, EncodesLikeAnEarlierFile) {
  CsvOptions options;
  options.target = "y";
  const auto first = ParseCsv("c,y\nred,no\nblue,yes\n", options);
  ASSERT_TRUE(first.ok()) << first.status();
  CsvOptions like;
  like.like = &*first;
  const auto second = ParseCsv("y,c\nyes,red\n", like);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_THAT(second->x.values<float>(), ElementsAre(0, 1));
  EXPECT_THAT(second->y.values<int32_t>(), ElementsAre(1));
  EXPECT_THAT(Error("c,y\ngreen,no\nred,no\n", like),
              HasSubstr("line 2: column 'c' has the value 'green', which the training data"));
}

// One field that was mistyped makes a column of numbers one of text.
TEST(Csv, TellsOfNumbersTakenAsText) {
  const auto notes = [](const std::string& text) {
    const auto data = ParseCsv(text);
    EXPECT_TRUE(data.ok()) << data.status();
    return data.ok() ? data->notes : std::vector<std::string>();
  };
  EXPECT_THAT(notes("a,b,y\n1,2,0.5\n1,0o7,0.5\n1,3,2.5\n"),
              ElementsAre("column 'b' is taken as text, as '0o7' in line 3 is no number"));
  EXPECT_THAT(notes("a;y\n0,5;1.5\n0,7;2.5\n"), ElementsAre(HasSubstr("a decimal point")));
  EXPECT_THAT(notes("a,b,y\n1,cat,0.5\n2,dog,2.5\n3,4,3.5\n"), ElementsAre());
}

TEST(Csv, Errors) {
  EXPECT_THAT(Error("a,b,y\n"), HasSubstr("expected rows below the header (the first row)"));
  EXPECT_EQ(ParseCsv("1,2,3.5\n")->x.shape()[0], 1);
  EXPECT_THAT(Error(""), HasSubstr("empty"));
  EXPECT_THAT(Error("a,b\n1,2\n3\n"),
              HasSubstr("line 3: expected 2 fields as in the first row, got 1"));
  CsvOptions target;
  target.target = "mgp";
  EXPECT_THAT(Error("mpg,b\n1,2\n", target), HasSubstr("no column 'mgp'; did you mean 'mpg'?"));
  CsvOptions regression;
  regression.task = Task::kRegression;
  EXPECT_THAT(Error("a,b\n1,x\n", regression),
              HasSubstr("the target 'b' has text in it: 'x' in line 2 is no number"));
  EXPECT_THAT(Error("a\n1\n2\n"), HasSubstr("a column besides the target"));
  std::string names = "name,y\n";
  for (int i = 0; i < 300; ++i) names += "n" + std::to_string(i) + ",1.5\n";
  EXPECT_THAT(Error(names),
              AllOf(HasSubstr("as 'n0' in line 2 is no number"), HasSubstr("--ignore name")));
}

// A terminal obeys what it is sent: names and values are shown, and nothing else.
TEST(Csv, MessagesEscapeWhatTheFileHolds) {
  const std::string wild = "a\x1b[2J\xc2\x9b";
  const std::string shown = "a\\x1b[2J\\xc2\\x9b";
  CsvOptions regression;
  regression.task = Task::kRegression;
  CsvOptions mistyped;
  mistyped.target = "zzz";
  const std::string header = wild + ",y\n";
  std::string text = header;
  for (int i = 0; i < 300; ++i) text += "n" + std::to_string(i) + ",1.5\n";
  const std::string messages[] = {
      Error(wild + "," + wild + "\n1,2\n"),
      Error(header + "1,2\n", mistyped),
      Error("x," + wild + "\n1,2\n3,a\n", regression),
      Error("x,y\n1,2\n3," + wild + "\n", regression),
      Error(text),
      Error(header + "1,2\n,3\n"),
      Error(header + "1,2\n1e99,3\n"),
  };
  for (const std::string& message : messages) EXPECT_THAT(message, HasSubstr(shown));
  EXPECT_THAT(ParseCsv(wild + ",y\n1,1.5\n2,2.5\n0o7,1.5\n")->notes,
              ElementsAre(HasSubstr("column '" + shown + "' is taken as text")));
}

}  // namespace
}  // namespace weft
