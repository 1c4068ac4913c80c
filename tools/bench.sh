#!/usr/bin/env bash
# Weft's figures beside those of ONNX Runtime, JAX and PyTorch: same machine, same run, engines in turn, medians.
#
#   tools/bench.sh [ROUNDS]        3 rounds if not given; about four minutes each
#
# The peers come from PyPI into a virtual environment under ~/.cache; without a network only Weft is measured. Python is needed for the
# peers and for the table alone. Run it on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
out=bench-results
mkdir -p "$out"

tools/setup.sh
bazel build //tools:weft //tools:weft-run //tools/examples:digits //tests/benchmarks:workloads
command -v python3 > /dev/null || { echo "bench: python3 is needed for peers and table" >&2; exit 1; }

venv=~/.cache/weft-bench
if [ ! -e "$venv/ready" ]; then
  echo "bench: installing the peers into $venv"
  python3 -m venv "$venv" && "$venv/bin/pip" install -q numpy onnx onnxruntime jax jaxlib torch==2.13.0 && touch "$venv/ready" ||
    echo "bench: some peer could not be installed; their columns stay empty" >&2
fi

bazel-bin/tests/benchmarks/workloads "$out"
bazel-bin/tools/examples/digits "$out/digits.weft"
exec python3 tests/benchmarks/table.py --rounds "$rounds" --python "$venv/bin/python" --folder "$out"
