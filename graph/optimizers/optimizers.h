// Optimizers: from gradients to the assignments that make a training step.
#ifndef WEFT_GRAPH_OPTIMIZERS_OPTIMIZERS_H_
#define WEFT_GRAPH_OPTIMIZERS_OPTIMIZERS_H_

#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "graph/optimizers/schedules.h"

namespace weft {

// How gradients are made smaller before they are used; 0 leaves them. The norm is taken first.
struct Clipping {
  // Largest Euclidean norm of all gradients together.
  double norm = 0;
  // Largest absolute value of an element.
  double value = 0;
};

// The gradients times min(1, limit / n), where n is the Euclidean norm of all of them together
// (Pascanu, Mikolov, Bengio, 2013); gradients of norm 0 stay. limit > 0. An infinite or NaN element
// makes gradients NaN or 0: CheckNumerics names it.
std::vector<Tensor> ClipByGlobalNorm(const std::vector<Tensor>& gradients, double limit);
// Each element within [-limit, limit], limit > 0.
std::vector<Tensor> ClipByValue(const std::vector<Tensor>& gradients, double limit);
// The Euclidean norm of all tensors together; bf16 and f16 are summed in f32, and the result is f64
// only where all are.
Tensor GlobalNorm(const std::vector<Tensor>& tensors);

// Makes the assignments of one training step, to be named as targets of a signature:
//
//   Adam adam(graph, {.learning_rate = WarmUp(100, CosineDecay(1e-3, 5000))});
//   graph.AddSignature("train_step", {{"loss", loss}}, adam.Minimize(loss));
//
// State lives in variables of the graph that are not trainable, in the scope "<optimizer>": "step"
// (i64, counts the steps made), and per variable what the optimizer keeps, such as
// "adam/m/dense/kernel", which begins with zeros. That of a bf16 or f16 variable is f32, and its
// step is computed in f32 and rounded once: in 16 bits a moving average with 0.999 would not move.
// On several devices (Graph::WithDevice), state and update of a variable are where the variable is,
// what is the same for all of them where Minimize or Apply is called, and gradients are clipped
// where they are computed.
// One optimizer makes one step per signature. The graph must outlive it; not thread-safe. Errors go
// to Graph::status().
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Assignments that move the variables (all trainable ones where the list is empty) against the
  // gradient of `loss`, a float scalar; of a tensor, the sum of its elements is made small.
  std::vector<Tensor> Minimize(Tensor loss, std::vector<Variable> variables = {},
                               SourceLocation location = SourceLocation::current());
  // The same for gradients that are there already, one per variable, of its shape and dtype.
  std::vector<Tensor> Apply(const std::vector<Variable>& variables, std::vector<Tensor> gradients,
                            SourceLocation location = SourceLocation::current());
  // The rate of the present run, a float scalar; valid after Minimize or Apply.
  Tensor learning_rate() const { return rate_; }

 protected:
  Optimizer(Graph& graph, std::string_view name, Schedule schedule, Clipping clipping)
      : graph_(graph), name_(name), schedule_(std::move(schedule)), clipping_(clipping) {}

  // What is the same for all variables of a step, as float scalars (f64 where all variables are,
  // else f32).
  struct Step {
    Tensor rate;
    // The number of this step: 1, 2, ...
    Tensor number;
  };
  // Called once before the updates of a step.
  virtual void Prepare(const Step& step) {}
  // The new value of the variable `name`, which has the value and gradient given, both of the dtype
  // of its state; appends assignments of what is kept for it.
  virtual Tensor Update(const std::string& name, Tensor value, Tensor gradient, const Step& step,
                        std::vector<Tensor>& assignments) = 0;

  // A variable that keeps something for the variable `owner`, of the dtype and shape of `like`.
  Variable Slot(std::string_view slot, const std::string& owner, Tensor like);

 private:
  Graph& graph_;
  std::string name_;
  Schedule schedule_;
  Clipping clipping_;
  Tensor rate_;
};

struct SgdOptions {
  Schedule learning_rate = 1e-2;
  // v' = momentum * v + g, w' = w - rate * v'; with nesterov, w' = w - rate * (g + momentum * v')
  // (Sutskever, Martens, Dahl, Hinton, 2013). Without momentum, w' = w - rate * g.
  double momentum = 0;
  bool nesterov = false;
  // Adds weight_decay * w to the gradient.
  double weight_decay = 0;
  Clipping clipping = {};
};

class Sgd : public Optimizer {
 public:
  explicit Sgd(Graph& graph, const SgdOptions& options = {});

 protected:
  Tensor Update(const std::string& name, Tensor value, Tensor gradient, const Step& step,
                std::vector<Tensor>& assignments) override;

 private:
  SgdOptions options_;
};

struct AdamOptions {
  Schedule learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  Clipping clipping = {};
};

// Kingma and Ba, 2014, algorithm 1: at step t
//   m' = beta1 m + (1 - beta1) g,  v' = beta2 v + (1 - beta2) g^2,
//   w' = w - rate * (m' / (1 - beta1^t)) / (sqrt(v' / (1 - beta2^t)) + epsilon).
class Adam : public Optimizer {
 public:
  explicit Adam(Graph& graph, const AdamOptions& options = {});

 protected:
  Adam(Graph& graph, std::string_view name, const AdamOptions& options, double weight_decay);
  void Prepare(const Step& step) override;
  Tensor Update(const std::string& name, Tensor value, Tensor gradient, const Step& step,
                std::vector<Tensor>& assignments) override;

 private:
  AdamOptions options_;
  double weight_decay_;
  // 1 / (1 - beta1^t) times the rate, and 1 / (1 - beta2^t).
  Tensor corrected_rate_, second_correction_;
};

struct AdamWOptions {
  AdamOptions adam = {};
  double weight_decay = 1e-2;
};

// Adam with decoupled weight decay (Loshchilov and Hutter, 2017): also subtracts rate *
// weight_decay * w.
class AdamW : public Adam {
 public:
  explicit AdamW(Graph& graph, const AdamWOptions& options = {});
};

}  // namespace weft

#endif  // WEFT_GRAPH_OPTIMIZERS_OPTIMIZERS_H_
