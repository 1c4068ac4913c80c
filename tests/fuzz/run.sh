#!/usr/bin/env bash
# tests/fuzz/run.sh [SECONDS [TARGET...]]: builds the fuzz targets with libFuzzer and the sanitizers of addresses and undefined behaviour and runs each for so long (default
# 60), from its seeds and from what earlier runs found (kept in $FUZZ_CORPUS, default a temporary folder). Fails on the first finding, which it names.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(package inspect tensors data checkpoint graph_file graph_text compile ptx_text)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
corpus=${FUZZ_CORPUS:-$scratch/corpus}
for target in "${targets[@]}"; do
  echo "== $target: building"
  bazel build --config=fuzz "//tests/fuzz:$target" "//tests/fuzz:${target}_seeds.tar"
  mkdir -p "$corpus/$target" "$scratch/seeds/$target"
  tar -C "$scratch/seeds/$target" -xf "bazel-bin/tests/fuzz/${target}_seeds.tar"
  echo "== $target: running for $seconds s"
  # Allocations that are refused are no findings; those that succeed beyond the limit are.
  ASAN_OPTIONS=allocator_may_return_null=1:detect_container_overflow=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "bazel-bin/tests/fuzz/$target" \
    -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$PWD/fuzz-finding-$target-" "$corpus/$target" "$scratch/seeds/$target" || {
    echo "fuzz target $target failed; the input is in fuzz-finding-$target-*"
    exit 1
  }
done
echo "no findings in ${#targets[@]} targets, $seconds s each"
