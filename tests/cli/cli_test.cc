// The command line as people meet it: each command run as a process, its exit code, what it prints
// and what it leaves behind.
#include "tests/cli/cli.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "proto/npy.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kCars[] = "tools/examples/data/auto_mpg.csv";

class Cli : public CliTest {
 protected:
  // A model of the standard kind, trained a little: what most tests begin with.
  void TrainCars() {
    Ok(std::string("train mlp --data ") + kCars +
       " --target mpg --task regression --hidden 8 --epochs 2 --threads 2 --checkpoint " +
       Path("run") + " --save-validation " + Path("rows"));
  }
};

TEST_F(Cli, HelpOfEachCommandHasAnExample) {
  EXPECT_THAT(Ok("--help"), HasSubstr("Exit codes"));
  for (const char* command : {"train", "run", "compile", "inspect", "grad", "verify", "bench"}) {
    EXPECT_THAT(Ok(std::string(command) + " --help"),
                AllOf(HasSubstr("Usage: weft " + std::string(command) + " MODEL"),
                      ContainsRegex("Examples?: weft " + std::string(command))))
        << command;
    EXPECT_EQ(Ok("help " + std::string(command)), Ok(std::string(command) + " --help"));
  }
  // Lines fit a terminal.
  std::istringstream lines(Ok("train --help"));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_THAT(Ok("--version"), StartsWith("weft "));
}

TEST_F(Cli, WrongUsage) {
  EXPECT_THAT(Fails(2, "trian"), HasSubstr("no command 'trian'; did you mean 'train'?"));
  EXPECT_THAT(Fails(2, "run model.weft --chekpoint c"),
              HasSubstr("no option '--chekpoint'; did you mean '--checkpoint'?"));
  EXPECT_THAT(Fails(2, "compile"), HasSubstr("weft compile --help"));
  EXPECT_THAT(Fails(2, std::string("train mpl --data ") + kCars), HasSubstr("did you mean 'mlp'?"));
  EXPECT_THAT(Fails(2, std::string("train mlp --task regresion --data ") + kCars),
              HasSubstr("did you mean 'regression'?"));
  EXPECT_THAT(Fails(2, std::string("train mlp --epochs ten --data ") + kCars),
              HasSubstr("--epochs: expected a whole number from 1 to 1000000000, got 'ten'"));
  EXPECT_THAT(Fails(2, std::string("train mlp --target mgp --data ") + kCars),
              HasSubstr("no column 'mgp'; did you mean 'mpg'?"));
  EXPECT_THAT(Fails(2, std::string("train mlp --data ") + kCars + " " + kCars),
              HasSubstr("--data takes one value each time"));
  EXPECT_THAT(Fails(2, "--frobnicate"), HasSubstr("expected a command"));
  EXPECT_THAT(Fails(2, "--vresion"), HasSubstr("did you mean '--version'?"));
  EXPECT_THAT(Fails(2, std::string("train mlp --data ") + kCars + " --epochs"),
              HasSubstr("--epochs is given without a value"));
  EXPECT_THAT(Fails(2, "train mlp --data"), HasSubstr("--data is given without a value"));
  EXPECT_THAT(Fails(2, std::string("train mlp --epochs 1 --epochs 2 --data ") + kCars),
              HasSubstr("--epochs is given more than once"));
  EXPECT_THAT(Fails(2, std::string("train mlp --checkpoint-every 5 --data ") + kCars),
              HasSubstr("--checkpoint-every wants --checkpoint FOLDER"));
  EXPECT_EQ(Run("tools/weft").code, 2);
}

TEST_F(Cli, BadInputFiles) {
  EXPECT_THAT(Fails(3, "inspect " + Path("nothing.weft")), HasSubstr("nothing.weft"));
  WriteFile(Path("noise.weft"), "not a graph at all");
  WriteFile(Path("magic.weft"), "WEFTFILE\x01");
  WriteFile(Path("empty.weft"), "");
  for (const char* name : {"noise.weft", "magic.weft", "empty.weft"}) {
    for (const char* command : {"inspect", "run", "bench", "verify"}) {
      EXPECT_THAT(Fails(3, std::string(command) + " " + Path(name)), HasSubstr(name));
    }
    EXPECT_THAT(Fails(3, "compile " + Path(name) + " -o " + Path("out.weftpkg")), HasSubstr(name));
    EXPECT_FALSE(fs::exists(Path("out.weftpkg")));
  }
  WriteFile(Path("ragged.csv"), "a,b\n1,2\n3\n");
  EXPECT_THAT(Fails(3, "train mlp --data " + Path("ragged.csv")),
              AllOf(HasSubstr("ragged.csv"), HasSubstr("line 3")));
}

TEST_F(Cli, TrainedModelRunsTheSameFromFilePackageAndExecutable) {
  TrainCars();
  const std::string model = Path("run/model.weft"), values = Path("run/last.safetensors");
  const std::string x = Path("rows/x.npy");
  Ok("run " + model + " --checkpoint " + values + " --feed x=" + x + " --out " + Path("graph.npy"));
  for (const char* kind : {"package", "executable", "shared", "object"}) {
    Ok("compile " + model + " --checkpoint " + values + " --freeze --signature predict --emit " +
       kind + " -o " + Path(kind));
    EXPECT_TRUE(fs::exists(Path(kind))) << kind;
  }
  const Ended package =
      Run("tools/weft-run " + Path("package") + " --feed x=" + x + " --out " + Path("package.npy"));
  EXPECT_EQ(package.code, 0) << package.err;
  const Ended executable =
      Run(Path("executable") + " --x=" + x + " --out-y=" + Path("executable.npy"));
  EXPECT_EQ(executable.code, 0) << executable.err;
  EXPECT_FALSE(ReadFile(Path("graph.npy")).empty());
  EXPECT_EQ(ReadFile(Path("graph.npy")), ReadFile(Path("package.npy")));
  EXPECT_EQ(ReadFile(Path("graph.npy")), ReadFile(Path("executable.npy")));
  EXPECT_THAT(Ok("verify " + Path("package") + " --inputs x=" + x +
                 " --expected y=" + Path("graph.npy") + " --rtol 0 --atol 0"),
              HasSubstr("agrees"));
  // One element changed is found.
  auto changed = LoadNpy(Path("graph.npy"));
  ASSERT_TRUE(changed.ok()) << changed.status();
  HostTensor other = changed->Clone();
  other.mutable_values<float>()[5] += 1;
  ASSERT_TRUE(SaveNpy(Path("other.npy"), other).ok());
  EXPECT_THAT(Fails(1, "verify " + Path("package") + " --inputs x=" + x +
                           " --expected y=" + Path("other.npy")),
              HasSubstr("y differs"));
}

TEST_F(Cli, WrongFeeds) {
  TrainCars();
  const std::string run = "run " + Path("run/model.weft") + " --checkpoint " +
                          Path("run/last.safetensors") + " --signature predict";
  EXPECT_THAT(Fails(2, run), HasSubstr("input 'x' (f32[batch, 9]) is not given; x=FILE.npy"));
  EXPECT_THAT(Fails(2, run + " --feed xx=" + Path("rows/x.npy")),
              HasSubstr("no input 'xx'; did you mean 'x'?"));
  ASSERT_TRUE(SaveNpy(Path("narrow.npy"), HostTensor::Of<float>({1, 2}, {1, 2})).ok());
  EXPECT_THAT(Fails(3, run + " --feed x=" + Path("narrow.npy")),
              HasSubstr("narrow.npy: input 'x': expected f32[batch, 9], got f32[1, 2]"));
  ASSERT_TRUE(SaveNpy(Path("int.npy"), HostTensor::Of<int32_t>({1}, {1})).ok());
  EXPECT_THAT(Fails(3, run + " --feed x=" + Path("int.npy")), HasSubstr("i32"));
  ASSERT_TRUE(
      SaveNpy(Path("double.npy"), HostTensor::Of<double>({1, 9}, std::vector<double>(9))).ok());
  EXPECT_THAT(Fails(3, run + " --feed x=" + Path("double.npy")), HasSubstr("float32"));
  EXPECT_THAT(Fails(2, run + " --feed x=3"), HasSubstr("expected x=FILE.npy"));
  EXPECT_THAT(Fails(2, run + " --feed " + Path("rows/x.npy")), HasSubstr("there is x"));
  EXPECT_THAT(Fails(2, run + " --disable-pass fuze --feed x=" + Path("rows/x.npy")),
              HasSubstr("'fuse'"));
  EXPECT_THAT(Fails(2, run + " --feed x=" + Path("rows/x.npy") + " --out " + Path("rows/x.npy")),
              HasSubstr("overwrite"));
  // By another path, too.
  const std::string before = ReadFile(Path("rows/x.npy"));
  EXPECT_THAT(
      Fails(2, run + " --feed x=" + Path("rows/x.npy") + " --out " + Path("rows/../rows/x.npy")),
      HasSubstr("overwrite"));
  EXPECT_EQ(ReadFile(Path("rows/x.npy")), before);
  EXPECT_THAT(Fails(2, run + " --feed x=" + Path("rows/x.npy") + " --fetch z"),
              HasSubstr("no output 'z'"));
  EXPECT_THAT(Fails(2, "run " + Path("run/model.weft") + " --signature predcit"),
              HasSubstr("did you mean 'predict'?"));
  EXPECT_THAT(Fails(1, run + " --feed x=" + Path("rows/x.npy") + " --out /nowhere/y.npy"),
              HasSubstr("/nowhere/y.npy"));
}

TEST_F(Cli, TrainingGoesOn) {
  const std::string train = std::string("train mlp --data ") + kCars +
                            " --target mpg --hidden 8 --batch 64 --seed 3 --json --checkpoint ";
  const auto all = nlohmann::json::parse(Ok(train + Path("a") + " --epochs 4"));
  ASSERT_EQ(all["history"].size(), 4u);
  EXPECT_GT(all["history"][0]["validation"]["loss"], all["history"][3]["validation"]["loss"]);
  EXPECT_TRUE(fs::exists(Path("a/best.safetensors")));
  // Nothing is left to do.
  const auto again = nlohmann::json::parse(Ok(train + Path("a") + " --epochs 4 --resume"));
  EXPECT_EQ(again["steps"], 0);
  const auto more = nlohmann::json::parse(Ok(train + Path("a") + " --epochs 5 --resume"));
  EXPECT_EQ(more["history"].size(), 5u);
  EXPECT_EQ(more["history"][3], all["history"][3]);
  EXPECT_THAT(Fails(3, train + Path("new") + " --resume"), HasSubstr("last.safetensors"));
  EXPECT_THAT(Fails(2, train + Path("a") + " --epochs 9 --resume --hidden 4"),
              AllOf(HasSubstr("--resume goes on with the model in "),
                    HasSubstr("has --hidden 8; leave out --hidden 8,4")));
  const std::string anew = std::string("train mlp --data ") + kCars + " --resume --checkpoint " +
                           Path("a") + " --epochs 9 ";
  EXPECT_THAT(Fails(2, anew), HasSubstr("expected --seed 3, got 0"));
  EXPECT_THAT(Fails(3, anew + "--target year --seed 3"), HasSubstr("expected features ["));
  EXPECT_THAT(Fails(2, "train cnn --resume --data " + std::string(kCars) + " --checkpoint " +
                           Path("a") + " --seed 3"),
              HasSubstr("expected mlp, got cnn"));
  // What is not given stays as it was.
  Ok(anew + "--target mpg --seed 3 --batch 64");
  // A graph file that was changed since.
  fs::copy_file(Path("a/model.weft"), Path("own.weft"));
  const std::string own = "train " + Path("own.weft") + " --data " + kCars +
                          " --target mpg --checkpoint " + Path("b") + " --seed 3 --epochs ";
  Ok(own + "1");
  Ok(own + "2 --resume");
  Ok("train mlp --hidden 8 --learning-rate 0.1 --data " + std::string(kCars) +
     " --target mpg --epochs 1 --seed 3 -o " + Path("own.weft"));
  EXPECT_THAT(Fails(3, own + "3 --resume"),
              HasSubstr("the model is not the one that " + Path("b/last.safetensors")));
}

TEST_F(Cli, TestRowsChooseNothing) {
  const std::string train =
      std::string("train mlp --data ") + kCars + " --target mpg --hidden 8 --epochs 30 --seed 3 ";
  const Ended plain = Weft(train);
  EXPECT_THAT(plain.out, AllOf(HasSubstr("training  "), HasSubstr("validation  ")));
  EXPECT_THAT(plain.err, HasSubstr("these rows flatter it; --test 0.1"));
  const auto json = nlohmann::json::parse(Ok(train + "--test 0.2 --json --checkpoint " +
                                             Path("run") + " --save-test " + Path("test") +
                                             " --report " + Path("run/report.html")));
  EXPECT_EQ(json["rows"]["training"], 236);
  EXPECT_EQ(json["rows"]["validation"], 78);
  EXPECT_EQ(json["rows"]["test"], 78);
  EXPECT_GT(json["test"]["last"]["mae"], 0);
  EXPECT_THAT(ReadFile(Path("run/report.html")), HasSubstr("78 test rows"));
  // What is printed is what the checkpoint says of the rows that were saved.
  const int best = json["best_epoch"];
  const char* which = best < 30 ? "best" : "last";
  const auto eval = nlohmann::json::parse(
      Ok("run " + Path("run/model.weft") + " --signature eval_step --json --checkpoint " +
         Path("run/") + which + ".safetensors --feed x=" + Path("test/x.npy") +
         " --feed y=" + Path("test/y.npy")));
  EXPECT_NEAR(eval["outputs"]["mae"]["values"].get<double>(),
              json["test"][which]["mae"].get<double>(), 1e-5);
  EXPECT_THAT(Fails(2, train + "--test 0.9 --validation 0.2"),
              HasSubstr("leave no rows to train on"));
  EXPECT_THAT(Fails(2, train + "--validation 0 --patience 3"), HasSubstr("--validation"));
}

TEST_F(Cli, DataThatDoesNotFitTheModel) {
  TrainCars();
  const std::string digits =
      "--data tools/examples/data/digits-images-idx3-ubyte.gz "
      "--data tools/examples/data/digits-labels-idx1-ubyte.gz ";
  EXPECT_THAT(
      Fails(3, "train " + Path("run/model.weft") + " " + digits + "--checkpoint " + Path("other")),
      HasSubstr("run/model.weft: input 'x' wants rows of [9]"));
  // Wrong data makes no folder, and leaves the one of an earlier run as it was.
  EXPECT_THAT(Fails(3, "train mlp --data nowhere.csv --checkpoint " + Path("new")),
              HasSubstr("nowhere.csv"));
  EXPECT_FALSE(fs::exists(Path("new")));
  // Outputs in the folder that training makes, and none over the model that is there.
  Ok(std::string("train mlp --data ") + kCars + " --epochs 1 --checkpoint " + Path("new") + " -o " +
     Path("new/m.weft") + " --report " + Path("new/r.html"));
  EXPECT_TRUE(fs::exists(Path("new/m.weft")) && fs::exists(Path("new/r.html")));
  EXPECT_THAT(Fails(2, "train " + Path("new/m.weft") + " --data " + kCars + " --checkpoint " +
                           Path("new") + " --report " + Path("new/m.weft")),
              HasSubstr("overwrite"));
}

TEST_F(Cli, TrainingOutlivesWhoReadsItsLog) {
  const Ended result = Run(std::string("{ tools/weft train mlp --data ") + kCars +
                           " --target mpg --hidden 8 --epochs 400 --json --checkpoint " +
                           Path("run") + " --save-test " + Path("rows") +
                           " --test 0.1 2>&1; echo $? > " + Path("code") + "; } | true");
  EXPECT_EQ(result.code, 0);
  // What it had to say at the end went nowhere.
  EXPECT_EQ(ReadFile(Path("code")), "1\n");
  EXPECT_EQ(nlohmann::json::parse(ReadFile(Path("run/history.json"))).size(), 400u);
  EXPECT_TRUE(fs::exists(Path("rows/x.npy")));
  // Rows that are read are not written over.
  EXPECT_THAT(Fails(2, "train mlp --data " + Path("rows/x.npy") + " --data " + Path("rows/y.npy") +
                           " --test 0.1 --save-test " + Path("rows")),
              HasSubstr("could be overwritten"));
}

TEST_F(Cli, ResumedWithOtherRowsIsSaid) {
  const std::string train = std::string("train mlp --data ") + kCars +
                            " --target mpg --hidden 8 --checkpoint " + Path("run") + " --epochs ";
  Ok(train + "1 --test 0.1");
  EXPECT_THAT(Weft(train + "2 --resume --test 0.1").err, Not(HasSubstr("other rows")));
  EXPECT_THAT(Weft(train + "3 --resume").err, HasSubstr("other rows"));
}

TEST_F(Cli, GradientsOfWhat) {
  TrainCars();
  const std::string grad =
      "grad " + Path("run/model.weft") + " --wrt dense1/kernel -o " + Path("g.weft") + " --of ";
  EXPECT_THAT(Fails(2, grad + "loss"), HasSubstr("choose one: train_step.loss, eval_step.loss"));
  EXPECT_THAT(Fails(2, grad + "eval_step.lss"), HasSubstr("did you mean 'eval_step.loss'?"));
  EXPECT_FALSE(fs::exists(Path("g.weft")));
  Ok(grad + "eval_step.loss");
  EXPECT_TRUE(fs::exists(Path("g.weft")));
}

TEST_F(Cli, ATerminalThatGoesAwayLosesNothing) {
  const std::string log = Path("log");
  const Ended result =
      Run("{ tools/weft train mlp --data " + std::string(kCars) +
          " --target mpg --hidden 8 --batch 8 --epochs 1000000 --checkpoint " + Path("run") +
          " 2> " + log + " & until grep -q 'epoch 1/' " + log +
          "; do kill -0 $! || break; sleep 0.05; done; kill -INT $!; sleep 0.2; kill -HUP $!; "
          "wait $!; }");
  // In the background a shell has Ctrl-C ignored, and that stays so.
  EXPECT_EQ(result.code, 129) << result.err;
  EXPECT_THAT(ReadFile(log), HasSubstr("--resume goes on"));
  EXPECT_TRUE(fs::exists(Path("run/last.safetensors")));
}

TEST_F(Cli, WhatCannotBeWrittenIsFoundBeforeTraining) {
  const std::string train = std::string("train mlp --data ") + kCars + " --epochs 2 ";
  for (const char* option : {"--report /nowhere/r.html", "-o /nowhere/m.weft"}) {
    const Ended result = Weft(train + option);
    EXPECT_EQ(result.code, 1) << result.err;
    EXPECT_THAT(result.err, AllOf(HasSubstr("no folder /nowhere"), Not(HasSubstr("epoch"))));
  }
  WriteFile(Path("d.csv"), ReadFile(kCars));
  EXPECT_THAT(Fails(2, "train mlp --data " + Path("d.csv") + " -o " + Path("./d.csv")),
              HasSubstr("overwrite"));
  EXPECT_EQ(ReadFile(Path("d.csv")), ReadFile(kCars));
}

TEST_F(Cli, TrainingSignaturesOfAPackage) {
  TrainCars();
  const std::string package = Path("train.weftpkg"), values = Path("w.safetensors");
  const Ended compiled = Weft("compile " + Path("run/model.weft") + " -o " + package);
  EXPECT_THAT(compiled.err, HasSubstr("holds no values of variables"));
  const auto run = [&](const std::string& arguments) {
    const Ended result = Run("tools/weft-run " + package + " " + arguments);
    EXPECT_EQ(result.code, 0) << arguments << result.err;
    return result.out;
  };
  const std::string feeds =
      " --feed x=" + Path("rows/x.npy") + " --feed y=" + Path("rows/y.npy") + " --json";
  run("--signature init --save-checkpoint " + values);
  const std::string checkpoint = " --checkpoint " + values;
  const auto loss = [&] {
    return nlohmann::json::parse(
               run("--signature eval_step" + checkpoint + feeds))["outputs"]["loss"]["values"]
        .get<double>();
  };
  const double before = loss();
  for (int i = 0; i < 5; ++i) {
    run("--signature train_step" + checkpoint + feeds + " --save-checkpoint " + values);
  }
  EXPECT_LT(loss(), before);
}

// Names that are not UTF-8, as many tables have them.
TEST_F(Cli, TablesInAnyEncoding) {
  WriteFile(Path("latin1.csv"),
            "a,gro\xdf\n1,caf\xe9\n2,th\xe9\n3,caf\xe9\n4,th\xe9\n5,caf\xe9\n6,th\xe9\n");
  const std::string out =
      Ok("train mlp --data " + Path("latin1.csv") + " --epochs 2 --hidden 4 --json --checkpoint " +
         Path("run") + " --report " + Path("report.html"));
  EXPECT_TRUE(nlohmann::json::accept(out)) << out;
  EXPECT_TRUE(fs::exists(Path("run/last.safetensors")));
  EXPECT_THAT(ReadFile(Path("report.html")), HasSubstr("caf\xef\xbf\xbd"));
}

TEST_F(Cli, Report) {
  Ok(std::string("train mlp --data ") + kCars + " --target origin --epochs 2 --hidden 8 --report " +
     Path("report.html"));
  EXPECT_THAT(ReadFile(Path("report.html")),
              AllOf(HasSubstr("<!doctype html>"), HasSubstr("Japan"), HasSubstr("\"confusion\"")));
}

TEST_F(Cli, Inspect) {
  TrainCars();
  const std::string model = Path("run/model.weft");
  EXPECT_THAT(Ok("inspect " + model),
              AllOf(HasSubstr("signature train_step"), HasSubstr("in   x f32[batch, 9]"),
                    HasSubstr("dense1/kernel f32[9, 8]"), HasSubstr("matmul"),
                    ContainsRegex("  memory 356 B of variables, [0-9]+ B of constants, about "
                                  "[0-9]+ B of activations before fusion\n")));
  const auto json = nlohmann::json::parse(Ok("inspect " + model + " --json --size batch=10"));
  EXPECT_EQ(json["sizes"], "batch=10");
  for (const auto& signature : json["signatures"]) {
    if (signature["name"] != "predict") continue;
    EXPECT_EQ(signature["variable_bytes"], 4 * (9 * 8 + 8 + 8 + 1));
    EXPECT_GE(signature["activation_bytes_estimate"], 4 * 10 * (9 + 8));
  }
  bool found = false;
  for (const auto& node : json["nodes"]) {
    if (node["op"] != "matmul" || node["results"][0] != "f32[batch, 8]") continue;
    // The layer itself, not the gradient of the next one.
    if (node["flops"] != 2 * 10 * 9 * 8) continue;
    found = true;
    EXPECT_THAT(node["source"].get<std::string>(), HasSubstr("models.cc:"));
  }
  EXPECT_TRUE(found);
  EXPECT_THAT(Ok("inspect " + model + " --format dot --signature predict"),
              AllOf(StartsWith("digraph"), HasSubstr("->"), Not(HasSubstr("adamw"))));
  Ok("inspect " + model + " --format html -o " + Path("graph.html"));
  EXPECT_THAT(ReadFile(Path("graph.html")),
              AllOf(HasSubstr("dense1"), HasSubstr("\"activation_bytes_estimate\":")));
  EXPECT_THAT(Fails(2, "inspect " + model + " --format htlm"), HasSubstr("did you mean 'html'?"));
  EXPECT_THAT(Fails(2, "inspect " + model + " --size btach=3"), HasSubstr("did you mean 'batch'?"));
  EXPECT_THAT(Fails(2, "inspect " + model + " --size batch=3,4"), HasSubstr("one size"));
  EXPECT_THAT(Fails(2, "inspect " + model + " -o " + Path("run/./model.weft")),
              HasSubstr("overwrite"));
  // The text form is the same graph.
  Ok("inspect " + model + " --format textproto -o " + Path("model.textproto"));
  EXPECT_EQ(Ok("inspect " + Path("model.textproto") + " --json"),
            Ok("inspect " + model + " --json"));
}

TEST_F(Cli, Grad) {
  TrainCars();
  const std::string model = Path("run/model.weft");
  Ok("grad " + model + " --of predict.y --wrt x -o " + Path("grad.weft"));
  const std::string out = Ok("run " + Path("grad.weft") + " --signature gradient --checkpoint " +
                             Path("run/last.safetensors") + " --feed x=" + Path("rows/x.npy"));
  EXPECT_THAT(out, HasSubstr("d_x f32[78, 9]"));
  EXPECT_THAT(Fails(2, "grad " + model + " --of los --wrt x -o " + Path("g.weft")),
              HasSubstr("did you mean 'loss'?"));
  EXPECT_FALSE(fs::exists(Path("g.weft")));
  EXPECT_THAT(Fails(2, "grad " + model + " --of loss --wrt x -o " + model), HasSubstr("overwrite"));
  for (const char* twice : {"x,x", "x --wrt x"}) {
    EXPECT_THAT(
        Fails(2, "grad " + model + " --of predict.y -o " + Path("g.weft") + " --wrt " + twice),
        HasSubstr("--wrt names 'x' twice"));
  }
}

TEST_F(Cli, GradOfWhatHasNoneIsWrongUsage) {
  WriteFile(Path("g.textproto"), R"(
      versions { producer: 1 min_consumer: 1 } name: "g"
      nodes { name: "x" op: "input" op_version: 1
              attrs { name: "dtype" value { dtype: F32 } } attrs { name: "name" value { s: "x" } }
              attrs { name: "shape" value { shape { dims { size: 4 } } } } }
      nodes { name: "n" op: "input" op_version: 1
              attrs { name: "dtype" value { dtype: I32 } } attrs { name: "name" value { s: "n" } }
              attrs { name: "shape" value { shape { dims { size: 4 } } } } }
      nodes { name: "y" op: "exp" op_version: 1 inputs: "x" }
      nodes { name: "m" op: "neg" op_version: 1 inputs: "n" }
      signatures { name: "f" inputs: "x" inputs: "n"
                   outputs { name: "y" value: "y" } outputs { name: "m" value: "m" } })");
  const std::string grad = "grad " + Path("g.textproto") + " -o " + Path("out.weft");
  Ok(grad + " --of y --wrt x");
  Ok(grad + " --of y:0 --wrt x");
  for (const char* value : {"y:9", "y:1", "y:one", "y:99999999999999999999"}) {
    EXPECT_THAT(Fails(2, grad + " --wrt x --of " + value), HasSubstr("'y' has no such result"));
    EXPECT_THAT(Fails(2, grad + " --of y --wrt " + value), HasSubstr("'y' has no such result"));
  }
  for (const char* value : {"m", "f.m", "n"}) {
    EXPECT_THAT(Fails(2, grad + " --wrt x --of " + value), HasSubstr("' is i32[4]: expected"));
  }
  EXPECT_THAT(Fails(2, grad + " --of y --wrt n"), HasSubstr("--wrt 'n' is i32[4]: expected"));
}

TEST_F(Cli, Compile) {
  TrainCars();
  const std::string model = Path("run/model.weft");
  EXPECT_THAT(Fails(2, "compile " + model + " -o " + Path("x") + " --emit packge"),
              HasSubstr("did you mean 'package'?"));
  EXPECT_THAT(Fails(2, "compile " + model + " -o " + Path("x.weftpkg") + " --signature predit"),
              HasSubstr("did you mean 'predict'?"));
  EXPECT_THAT(Fails(2, "compile " + model + " -o " + Path("x.weftpkg") + " --target cpu:z80"),
              HasSubstr("expected cpu:native"));
  EXPECT_THAT(Fails(2, "compile " + model + " -o " + Path("x.so") + " --target cuda:sm_90"),
              HasSubstr("a package holds code for GPUs"));
  EXPECT_THAT(Fails(2, "compile " + model + " -o " + Path("x.ptx") + " --target cpu:native"),
              HasSubstr("such as --target cuda:sm_80"));
  EXPECT_THAT(Fails(2, "compile " + model + " -o " + Path("x.ptx") + " --target cuda:sm_70,sm_80"),
              HasSubstr("one --target, got 2"));
  EXPECT_THAT(Fails(2, "compile " + model + " -o " + Path("x.weftpkg") + " --target cuda:sm_42"),
              HasSubstr("expected cuda:sm_70"));
  EXPECT_THAT(Fails(2, "compile " + model + " -o " + Path("x.weftpkg") + " --specialize btach=32"),
              HasSubstr("did you mean 'batch'?"));
  EXPECT_THAT(
      Fails(2, "compile " + model + " -o " + Path("run/../run/model.weft") + " --emit package"),
      HasSubstr("overwrite"));
  EXPECT_FALSE(fs::exists(Path("x.weftpkg")));
  EXPECT_THAT(Fails(1, "compile " + model + " -o /nowhere/x.weftpkg"), HasSubstr("/nowhere"));
  EXPECT_THAT(Fails(1, "compile " + model + " -o " + Path("x.weftpkg") + " --memory-budget 1KiB"),
              AllOf(HasSubstr("expected at most 1024 bytes (the memory budget), needs"),
                    HasSubstr("at the peak are held")));
  EXPECT_THAT(Fails(1, "compile " + model + " -o " + Path("x.weftpkg") +
                           " --memory-budget 1KiB --memory-budget-threads 8"),
              HasSubstr("with the scratch of 8 threads"));
  EXPECT_THAT(
      Fails(2, "compile " + model + " -o " + Path("x.weftpkg") + " --memory-budget-threads 8"),
      HasSubstr("--memory-budget"));
  EXPECT_THAT(Fails(2, "compile " + model + " -o " + Path("x.weftpkg") + " --memory-budget much"),
              HasSubstr("--memory-budget"));
  Ok("compile " + model + " -o " + Path("budget.weftpkg") + " --memory-budget 1GiB");
  EXPECT_THAT(Ok("compile " + model + " --signature predict --emit llvm -o -"),
              HasSubstr("define"));
  // The folder is made.
  Ok("compile " + model + " --signature predict -o " + Path("d.weftpkg") +
     " --dump-after-each-pass " + Path("dumps/of/predict"));
  EXPECT_GT(std::distance(fs::directory_iterator(Path("dumps/of/predict")), {}), 5);
  EXPECT_THAT(Fails(1, "compile " + model + " -o " + Path("e.weftpkg") +
                           " --dump-after-each-pass " + model + "/dumps"),
              HasSubstr("cannot make the folder"));
  // The size of a cache, which is no part of the name of the code.
  Ok("compile " + model + " --signature predict -o " + Path("cache.weftpkg") +
     " --target cpu:x86-64-v3+l2=1M,x86-64-v3+l2=2M --freeze --checkpoint " +
     Path("run/last.safetensors"));
  EXPECT_THAT(Ok("run " + Path("cache.weftpkg") + " --feed x=" + Path("rows/x.npy")),
              HasSubstr("y f32[78, 1]"));
  Ok("compile " + model + " --signature predict -o " + Path("cache") +
     " --emit executable --target cpu:x86-64-v3+l2=1M --freeze --checkpoint " +
     Path("run/last.safetensors"));
  const Ended program = Run(Path("cache") + " --x=" + Path("rows/x.npy"));
  EXPECT_EQ(program.code, 0) << program.err;
  EXPECT_THAT(program.out, HasSubstr("y f32[78, 1]"));
  // The same graph and compiler give the same bytes.
  Ok("compile " + model + " -o " + Path("a.weftpkg"));
  Ok("compile " + model + " -o " + Path("b.weftpkg"));
  EXPECT_EQ(ReadFile(Path("a.weftpkg")), ReadFile(Path("b.weftpkg")));
  EXPECT_THAT(Ok("inspect " + Path("a.weftpkg")),
              AllOf(HasSubstr("signature predict"), HasSubstr("x86-64-v4"), HasSubstr("memory ")));
  const auto inspected = nlohmann::json::parse(
      Ok("inspect " + Path("a.weftpkg") + " --json --signature predict --size batch=100"));
  ASSERT_EQ(inspected["signatures"].size(), 1u);
  EXPECT_EQ(inspected["signatures"][0]["memory"]["sizes"], "batch=100");
  EXPECT_GT(inspected["signatures"][0]["memory"]["bytes"], 100 * 8 * 4);
  // What the run has: scratch for each thread.
  std::vector<int64_t> bytes;
  for (const std::string threads : {"1", "3"}) {
    const std::string at =
        Path("a.weftpkg") + " --signature train_step --size batch=100 --threads ";
    const auto memory =
        nlohmann::json::parse(Ok("inspect --json " + at + threads))["signatures"][0]["memory"];
    EXPECT_EQ(memory["threads"], std::stoi(threads));
    bytes.push_back(memory["bytes"]);
    EXPECT_THAT(Ok("inspect " + at + threads),
                HasSubstr(" of arena and scratch with " + threads + " thread" +
                          (threads == "1" ? " at" : "s at") + " batch=100"));
    const auto bench = nlohmann::json::parse(Ok("bench --json --seconds 0.01 --checkpoint " +
                                                Path("run/last.safetensors ") + at + threads));
    EXPECT_EQ(bench["certificate_bytes"], memory["bytes"]);
  }
  EXPECT_GE(bytes[1], bytes[0]);
  EXPECT_THAT(Fails(2, "inspect " + model + " --threads 2"), HasSubstr("of packages"));
  EXPECT_THAT(Fails(2, "inspect " + Path("a.weftpkg") + " --signature predit"),
              HasSubstr("did you mean 'predict'?"));
  // Sizes that no memory is there for.
  EXPECT_THAT(Fails(1, "inspect " + Path("a.weftpkg") + " --size batch=999999999999999"),
              HasSubstr("at batch=999999999999999: "));
  // For a machine with features of two makers, which none has: there is nothing to run here.
  Ok("compile " + model + " --target cpu:x86-64-v4+amx-fp16+sse4a -o " + Path("other.weftpkg"));
  EXPECT_THAT(Ok("inspect " + Path("other.weftpkg") + " --size batch=3"),
              AllOf(HasSubstr("signature predict"), HasSubstr("memory unknown: ")));
  EXPECT_THAT(Fails(2, "inspect " + Path("other.weftpkg") + " --size btach=3"),
              HasSubstr("did you mean 'batch'?"));
  EXPECT_THAT(Fails(3, "compile " + Path("a.weftpkg") + " -o " + Path("c.weftpkg")),
              HasSubstr("is a package"));
}

}  // namespace
}  // namespace weft
