#!/usr/bin/env bash
# From nothing to a model in production: sets up, builds, trains a network on handwritten digits, compiles it ahead of time, and runs it
# four ways. Takes a while the first time (set-up and build), a minute later on. Results go to quickstart in this
# checkout, or to the folder named.
set -euo pipefail
export LC_ALL=C
out=$(realpath -m "${1:-$(dirname "$0")/../quickstart}")
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'quickstart: %s\n' "$*" >&2
  exit 1
}
# Bytes of an amount as programs print it: "1.5 MiB".
bytes() {
  awk -v text="$1" 'BEGIN {
    split(text, part, " "); split("B KiB MiB GiB TiB", units, " ")
    for (i = 1; i in units; ++i) if (units[i] == part[2]) printf "%.0f", part[1] * 1024 ^ (i - 1)
  }'
}
# The amount behind some words of the line of --memory.
memory() { bytes "$(sed -n "s/^memory: .*$1 \([0-9.]* [KMGT]*i*B\).*/\1/p" "$out/memory.txt")"; }
# The number behind a key, from one line of JSON.
number() { sed -n "s/.*\"$1\":\([0-9.eE+-]*\).*/\1/p" "$2"; }

say "set-up"
tools/setup.sh

say "build"
bazel build //tools:weft //tools:weft-run //tools/examples:digits //tools/examples:digits_show ||
  fail "the build failed; its output is above"
bin=bazel-bin/tools
weft=$bin/weft
data=tools/examples/data
mkdir -p "$out"

say "a model, declared in C++ (tools/examples/digits.cc), as a graph file"
$bin/examples/digits "$out/digits.weft"
$weft inspect "$out/digits.weft" | sed -n '1,/^variables/p' | sed '$d'
$weft inspect "$out/digits.weft" --format html -o "$out/graph.html"

say "training on 1,348 handwritten digits; 90 choose the best epoch, 359 others test"
$weft train "$out/digits.weft" --data $data/digits-images-idx3-ubyte.gz --data $data/digits-labels-idx1-ubyte.gz \
  --epochs 40 --batch 32 --validation 0.05 --test 0.2 --seed 1 --threads 2 --checkpoint "$out" --report "$out/report.html" \
  --save-test "$out/test" --json > "$out/train.json"
seconds=$(number seconds "$out/train.json")
compile_seconds=$(number compile_seconds "$out/train.json")
printf 'trained in %.1f s, compiled in %.2f s before; best epoch %s\n' "$seconds" "$compile_seconds" "$(number best_epoch "$out/train.json")"

say "compiling predict ahead of time"
for kind in package:digits.weftpkg shared:libdigits.so executable:digits; do
  $weft compile "$out/digits.weft" --checkpoint "$out/best.safetensors" --freeze --signature predict \
    --emit "${kind%%:*}" -o "$out/${kind##*:}"
done

say "the test images through graph file, package (no compiler in weft-run) and executable"
$weft run "$out/digits.weft" --checkpoint "$out/best.safetensors" --feed x="$out/test/x.npy" --out "$out/from_graph.npz"
$bin/weft-run "$out/digits.weftpkg" --feed x="$out/test/x.npy" --out "$out/from_package.npz" --memory 2> "$out/memory.txt"
"$out/digits" --x="$out/test/x.npy" --out-class="$out/from_executable_class.npy" \
  --out-probabilities="$out/from_executable_probabilities.npy"
$bin/examples/digits_show "$out/test/x.npy" "$out/test/y.npy" "$out/from_graph.npz" "$out/from_package.npz" \
  "$out/from_executable_class.npy" "$out/from_executable_probabilities.npy" | tee "$out/digits.txt"

say "the shared library, from C (tools/examples/digits_from_c.c)"
clang-22 -O2 -I "$out" tools/examples/digits_from_c.c "$out/libdigits.so" -Wl,-rpath,"$out" -o "$out/digits_from_c"
"$out/digits_from_c" "$out/test/x.npy" "$out/from_executable_class.npy" "$out/from_executable_probabilities.npy"

say "peak memory against the certificate: weft-run on the 359 test images"
cat "$out/memory.txt"
certificate=$(memory certificate) taken=$(memory measured) outputs=$(memory outputs)
# Beside arena, scratch and outputs a run takes what it keeps account in; amounts are rounded.
awk -v c="$certificate" -v t="$taken" -v o="$outputs" 'BEGIN { exit !(c > 0 && t > 0 && t - o <= c * 1.01 + 65536) }' ||
  fail "expected a run to take the $certificate bytes of its certificate at most, and outputs of $outputs bytes; it took $taken bytes"

say "latency of a single prediction"
$weft bench "$out/digits.weftpkg" --size batch=1 --threads 1 --seconds 1

say "sizes"
for file in digits.weft best.safetensors digits.weftpkg libdigits.so digits; do
  printf '%10d bytes  %s\n' "$(stat -c %s "$out/$file")" "$out/$file"
done
strip -o "$out/weft-run" $bin/weft-run
printf '%10d bytes  %s, stripped\n' "$(stat -c %s "$out/weft-run")" $bin/weft-run
rm "$out/weft-run"

say "done"
accuracy=$(sed -n 's/^test accuracy \([0-9.]*\) %$/\1/p' "$out/digits.txt")
awk -v a="$accuracy" 'BEGIN { exit !(a >= 98) }' || fail "expected a test accuracy of 98 % or more, got $accuracy %"
awk -v s="$seconds" 'BEGIN { exit !(s < 20) }' || fail "expected training in less than 20 s, took $seconds s"
echo "report: $out/report.html   graph view: $out/graph.html"
