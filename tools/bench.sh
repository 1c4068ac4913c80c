#!/usr/bin/env bash
# Weft's figures beside those of ONNX Runtime, JAX and PyTorch: same machine, same run, engines in turn, medians.
#
#   tools/bench.sh [ROUNDS]        3 rounds if not given; about two and a half minutes each
#
# The peers (tests/benchmarks/requirements.txt) come from PyPI into a virtual environment under ~/.cache; where they cannot be had, Weft
# alone is measured. Run it on a machine that does nothing else.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
rounds=${1:-3}
out=bench-results
mkdir -p "$out"

# Python is for the peers and for the table; Weft itself needs none.
tools/setup.sh python3-venv
bazel build //tools:weft //tools:weft-run //tools/examples:digits //tests/benchmarks:workloads //tests/benchmarks:allocations

requirements=tests/benchmarks/requirements.txt
venv=~/.cache/weft-bench
if ! cmp -s "$requirements" "$venv/installed.txt"; then
  echo "bench: installing the peers into $venv"
  if python3 -m venv "$venv" && "$venv/bin/pip" install -q -r "$requirements"; then
    cp "$requirements" "$venv/installed.txt"
  else
    echo "bench: some peer could not be installed; their columns stay empty" >&2
  fi
fi

bazel-bin/tests/benchmarks/workloads "$out"
bazel-bin/tools/examples/digits "$out/digits.weft"
exec python3 tests/benchmarks/table.py --rounds "$rounds" --python "$venv/bin/python" --folder "$out"
