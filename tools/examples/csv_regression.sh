#!/usr/bin/env bash
# Learns the fuel economy of cars from a table, without a line of C++, then compiles the model and asks it about a car.
set -euo pipefail
export LC_ALL=C
out=$(realpath -m "${1:-$(dirname "$0")/../../quickstart/cars}")
cd "$(dirname "$0")/../.."
bazel build //tools:weft //tools:weft-run
weft=bazel-bin/tools/weft
mkdir -p "$out"

$weft train mlp --data tools/examples/data/auto_mpg.csv --target mpg --task regression --hidden 64,64 --epochs 200 --batch 32 \
  --learning-rate 0.003 --seed 1 --validation 0.1 --test 0.2 --checkpoint "$out" --report "$out/report.html" --save-test "$out/test"

$weft compile "$out/model.weft" --checkpoint "$out/best.safetensors" --freeze --signature predict -o "$out/cars.weftpkg"
bazel-bin/tools/weft-run "$out/cars.weftpkg" --feed x="$out/test/x.npy" --out "$out/predicted.npy"
echo "report: $out/report.html   package: $out/cars.weftpkg   predictions for the test rows: $out/predicted.npy"
