#!/usr/bin/env bash
# Proves and measures Weft on a GPU: the suites that other machines run on an emulated one, the same models trained here, there and on the emulator,
# compute-sanitizer where it is installed, and figures beside a measured copy and beside PyTorch and JAX.
#
#   tools/gpu_check.sh [cuda:N] [ROUNDS]        cuda:0 and 3 rounds of measuring if not given; 0 rounds measure nothing
#
# Ends with 1 where there is no GPU of sm_80 or newer that can be used, or where anything failed. What was found is kept under tests/benchmarks/results, by
# date and GPU. The peers (tests/benchmarks/gpu_requirements.txt) come from PyPI into a virtual environment under ~/.cache; where they cannot be had, their
# columns stay empty. Run it on a machine whose GPU does nothing else.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
device=${1:-cuda:0}
rounds=${2:-3}
[[ $device =~ ^cuda(:[0-9]+)?$ && $rounds =~ ^[0-9]+$ ]] || { echo "usage: tools/gpu_check.sh [cuda:N] [ROUNDS]" >&2; exit 2; }
ordinal=${device#cuda}
ordinal=${ordinal#:}
ordinal=${ordinal:-0}

say() { printf '\n== %s\n' "$*"; }
failures=()
# What a step finds wrong does not keep the next ones from being done.
step() { "${@:2}" || failures+=("$1"); }

command -v python3 > /dev/null || { echo "gpu_check: no python3, which asks the driver for its GPUs; install it" >&2; exit 1; }
info=$(python3 tests/benchmarks/gpu_info.py "$ordinal") || { echo "gpu_check: nothing was checked: there is no GPU to check on" >&2; exit 1; }
fact() { python3 -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$info" "$1"; }
name=$(fact name)
capability=$(fact capability)
[ "$capability" -ge 80 ] || { echo "gpu_check: nothing was checked: expected a GPU of sm_80 or newer, as the suites are for, got $name, sm_$capability" >&2; exit 1; }

results=tests/benchmarks/results
stem=$results/$(date +%Y-%m-%d)-$(tr -cs 'A-Za-z0-9\n' '-' <<< "$name" | tr 'A-Z' 'a-z')
out=bench-results/gpu
mkdir -p "$results" "$out"
exec > >(tee "$stem.txt") 2>&1
echo "$device: $name, sm_$capability, driver for CUDA $(fact cuda), $(($(fact memory) >> 20)) MiB; $(date -u +%FT%TZ), $(git describe --always --dirty 2> /dev/null || echo 'no git')"

say "set-up and build"
tools/setup.sh python3-venv > /dev/null
# All tests that the emulator runs elsewhere, but for those of a driver made for tests.
for_gpus() { echo "attr('env', '$1', tests(//compiler/... + //tests/...)) except attr('env', 'WEFT_TEST_DEVICE', //...)"; }
all=$(bazel query --noshow_progress "$(for_gpus cuda:sm)")
target=()
of_sm_90a=$(bazel query --noshow_progress "$(for_gpus sm_90a)")
mapfile -t suites < <(grep -vxFf <(echo "$of_sm_90a") <<< "$all")
suites+=(//tests/contracts:{device,indices,libraries}_test)
# Code for sm_90a runs on that generation alone.
[ "$capability" -ne 90 ] || { mapfile -t -O "${#suites[@]}" suites <<< "$of_sm_90a"; suites+=(//compiler/codegen:tensor_core_test); target=(--target cuda:sm_90a); }
bazel build --noshow_progress //tools:weft //tools/examples:digits //tests/benchmarks:gpu_workloads "${suites[@]}"
bazel-bin/tools/examples/digits "$out/digits.weft"

say "the suites on $device"
# Outside of Bazel's sandbox, which may hide the GPU; each test anew, and one after the other, for they share it.
step suites bazel test --noshow_progress --keep_going --cache_test_results=no --local_test_jobs=1 --strategy=TestRunner=local --test_output=errors \
  --test_env=WEFT_TEST_DEVICE="$device" "${suites[@]}"

say "the same training on cpu, emulator and $device"
step comparison python3 tests/benchmarks/gpu_compare.py "$device" "$out"

say "compute-sanitizer"
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2> /dev/null | tail -1) || true
if [ -n "$sanitizer" ]; then
  for tool in memcheck racecheck initcheck synccheck; do
    step "compute-sanitizer $tool" "$sanitizer" --tool $tool --error-exitcode 1 bazel-bin/tools/weft train mlp --data tools/examples/data/auto_mpg.csv \
      --target mpg --hidden 16 --batch 64 --epochs 1 --device "$device"
    step "compute-sanitizer $tool" env WEFT_TEST_DEVICE="$device" WEFT_TEST_TARGETS=cuda:sm_80 "$sanitizer" --tool $tool --error-exitcode 1 \
      bazel-bin/tests/conformance/random_graph_test_cuda --gtest_filter='*CompiledAgree*'
    [ "$capability" -ne 90 ] || step "compute-sanitizer $tool" env WEFT_TEST_DEVICE="$device" "$sanitizer" --tool $tool --error-exitcode 1 \
      bazel-bin/compiler/codegen/tensor_core_test --gtest_filter='*OneAfterTheOther'
  done
else
  echo "not installed; it is part of the CUDA toolkit. Nothing was looked for"
fi

if [ "$rounds" -gt 0 ]; then
  say "figures"
  requirements=tests/benchmarks/gpu_requirements.txt
  venv=~/.cache/weft-gpu-bench
  if ! cmp -s "$requirements" "$venv/installed.txt"; then
    if python3 -m venv "$venv" && "$venv/bin/pip" install -q -r "$requirements"; then
      cp "$requirements" "$venv/installed.txt"
    else
      echo "some peer could not be installed; their columns stay empty"
    fi
  fi
  bazel-bin/tests/benchmarks/gpu_workloads "$out"
  step figures python3 tests/benchmarks/gpu_table.py --device "$device" --rounds "$rounds" --python "$venv/bin/python" --folder "$out" --results "$stem.json" "${target[@]}"
fi

say "done"
echo "kept in $stem.txt"
if [ ${#failures[@]} -gt 0 ]; then
  printf 'gpu_check: failed: %s\n' "${failures[@]}"
  exit 1
fi
echo "gpu_check: all well on $name"
