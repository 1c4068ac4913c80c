// Self-contained HTML pages: style, script and data in one file, nothing fetched.
#ifndef WEFT_TOOLS_REPORT_PAGE_H_
#define WEFT_TOOLS_REPORT_PAGE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weft {

// One epoch of training: metrics by name ("loss", "accuracy").
struct EpochMetrics {
  int64_t epoch = 0;  // from 1
  std::map<std::string, double> training, validation;
};

// What a page about a training run shows; empty parts are left out.
struct TrainingReport {
  std::string title, subtitle;
  struct Tile {
    std::string label, value;
  };
  std::vector<Tile> tiles;  // the figures at the top
  std::vector<EpochMetrics> history;
  int64_t best_epoch = 0;  // 0: none was chosen
  std::string judged;      // what matrix, scatter and samples are of: "359 test rows, epoch 21"
  // Classification: counts[truth][predicted].
  std::vector<std::string> classes;
  std::vector<std::vector<int64_t>> confusion;
  // Regression: (true, predicted).
  std::vector<std::pair<double, double>> scatter;
  std::string target;  // what a regression predicts
  struct Sample {
    int64_t width = 0, height = 0;
    std::vector<uint8_t> pixels;  // row by row; 0 is drawn white, 255 black
    std::string truth, predicted;
    std::optional<double> probability;
  };
  std::vector<Sample> samples;
  struct Facts {
    std::string title;
    std::vector<std::pair<std::string, std::string>> rows;
  };
  std::vector<Facts> facts;
};
std::string TrainingPage(const TrainingReport& report);

// A graph to look at.
struct GraphView {
  std::string name;
  std::string sizes;  // what open dimensions stand for in the costs: "batch=1"
  struct Node {
    std::string name, op, family;
    std::vector<std::string> inputs;   // references: "node", "node:1"
    std::vector<std::string> results;  // types: "f32[batch, 10]"
    std::vector<std::pair<std::string, std::string>> attributes;
    std::string source, forward;  // "file.cc:12"; of a gradient node, also that of the forward node
    double flops = 0, bytes = 0;
    std::string flops_text;  // the formula: "1280*batch"
  };
  std::vector<Node> nodes;
  struct Value {
    std::string name, type;
  };
  struct Signature {
    std::string name;
    std::vector<Value> inputs, outputs;
    std::vector<size_t> nodes;  // those that it runs: indices of GraphView::nodes, ascending
    // Of the variables that it reads or assigns, and of the constants that it reads. Activations
    // are an estimate of what else a run needs: the results of nodes, each until its last use.
    double variable_bytes = 0, constant_bytes = 0, activation_bytes = 0;
  };
  std::vector<Signature> signatures;
  struct Variable {
    std::string name, type;
    bool trainable = true;
    double bytes = 0;
    std::string device;  // empty: that of the session
  };
  std::vector<Variable> variables;
};
std::string GraphPage(const GraphView& view);
// The same as JSON for machines.
std::string GraphJson(const GraphView& view);

}  // namespace weft

#endif  // WEFT_TOOLS_REPORT_PAGE_H_
