#include "tools/report/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace weft {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The data that the page carries, as its script would read it.
nlohmann::json DataOf(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t from = page.find(open) + open.size();
  return nlohmann::json::parse(page.substr(from, page.find("</script>", from) - from));
}

TEST(GraphPage, CarriesTheGraphAndNothingFromOutside) {
  GraphView view;
  view.name = "model";
  view.nodes.push_back({"dense/matmul",
                        "matmul",
                        "linear_algebra",
                        {"x", "dense/w"},
                        {"f32[batch, 10]"},
                        {{"transpose_a", "false"}},
                        "model.cc:12",
                        "",
                        1280,
                        100,
                        "1280*batch"});
  view.signatures.push_back({"predict", {{"x", "f32[batch, 64]"}}, {}, {0}});
  const std::string page = GraphPage(view);
  EXPECT_THAT(page, Not(HasSubstr("{{")));
  for (const char* outside : {"src=\"", "href=\"", "@import", "fetch("}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  const nlohmann::json data = DataOf(page);
  EXPECT_EQ(data["nodes"][0]["source"], "model.cc:12");
  EXPECT_EQ(data["nodes"][0]["attributes"][0][1], "false");
  EXPECT_EQ(data["signatures"][0]["nodes"], nlohmann::json({"dense/matmul"}));
  EXPECT_EQ(data, nlohmann::json::parse(GraphJson(view)));
}

TEST(GraphPage, NamesCannotBreakOutOfTheirScript) {
  GraphView view;
  view.name = "</script><script>alert(1)</script>\xff";
  const std::string page = GraphPage(view);
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(DataOf(page)["name"].get<std::string>(), HasSubstr("</script>"));
}

// Terminals obey these, and the JSON goes to one.
TEST(GraphPage, JsonHoldsNoControlCharacters) {
  GraphView view;
  view.name = "a\x1b[2J\x7f\xc2\x9b\xc3\xa9";
  const std::string json = GraphJson(view);
  EXPECT_THAT(json, HasSubstr("a\\u001b[2J\\u007f\\u009b\xc3\xa9"));
  EXPECT_EQ(nlohmann::json::parse(json)["name"], view.name);
  EXPECT_EQ(DataOf(GraphPage(view)), nlohmann::json::parse(json));
}

TEST(TrainingPage, CarriesTheRun) {
  TrainingReport report;
  report.title = "digits";
  report.history = {{1, {{"loss", 2.0}}, {{"loss", 1.5}, {"accuracy", 0.5}}}};
  report.best_epoch = 1;
  report.judged = "8 test rows, epoch 1";
  report.classes = {"0", "1"};
  report.confusion = {{3, 1}, {0, 4}};
  report.samples = {{1, 1, {255}, "0", "1", 0.7}};
  const std::string page = TrainingPage(report);
  EXPECT_THAT(page, Not(HasSubstr("{{")));
  const nlohmann::json data = DataOf(page);
  EXPECT_EQ(data["history"][0]["validation"]["accuracy"], 0.5);
  EXPECT_EQ(data["confusion"]["counts"][0][1], 1);
  EXPECT_EQ(data["samples"][0]["pixels"][0], 255);
  EXPECT_EQ(data["best_epoch"], 1);
  EXPECT_EQ(data["judged"], "8 test rows, epoch 1");
  EXPECT_FALSE(data.contains("scatter"));
}

}  // namespace
}  // namespace weft
