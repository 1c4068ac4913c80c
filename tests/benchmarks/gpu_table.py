"""Runs Weft and the peers on a GPU in turn, several rounds, prints the table of medians, and keeps the figures. Called by tools/gpu_check.sh.

  gpu_table.py --device cuda:0 --python INTERPRETER_WITH_PEERS --folder GRAPH_FILES --results FILE.json [--rounds N] [--seconds S] [--weft COMMAND] [--target T]

Without that interpreter, the peers' columns stay empty. Without a target, code is what Weft takes for the device by itself.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--device", required=True)
parser.add_argument("--python", required=True)
parser.add_argument("--folder", required=True)
parser.add_argument("--results", required=True)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--seconds", type=float, default=1, help="for each row and engine in a round")
parser.add_argument("--weft", default="bazel-bin/tools/weft")
parser.add_argument("--target", help="to compile for, such as cuda:sm_90a, which only GPUs of just that generation run")
args = parser.parse_args()

# Row: words, what is counted ("TFLOP/s" or "GB/s") and how much of it a run is (in 1e12 or 1e9), what is held against it, and the share of that which is asked
# for. Bytes are what must be read and written at least.
MEGA = 1 << 20
# Of the forward pass; that of gradients is twice as much, where nothing is computed again.
ATTENTION = 4 * 128 * 1024 * 1024 * 64 / 1e12
CONVOLUTION = 2 * 64 * 56 * 56 * 3 * 3 * 128 * 128 / 1e12


def matmul(dtype, n):
    return (f"matmul {dtype} {n}", "TFLOP/s", 2 * n**3 / 1e12, "torch", 0.8)


ROWS = {
    **{f"matmul_{dtype}_{n}": matmul(dtype, n) for dtype in ("bf16", "tf32") for n in (1024, 2048, 4096, 8192)},
    "matmul_f32_4096": matmul("f32", 4096),
    "eltwise_64m": ("tanh(sigmoid(x*x+x))*x, 64 M", "GB/s", 2 * 4 * 64 * MEGA / 1e9, "copy", 0.95),
    "softmax_16384x4096": ("softmax, rows of 16384x4096", "GB/s", 2 * 4 * 64 * MEGA / 1e9, "copy", 0.95),
    "layer_norm_16384x4096": ("layer norm, rows of 16384x4096", "GB/s", 2 * 4 * 64 * MEGA / 1e9, "copy", 0.95),
    "attention_bf16": ("attention bf16, 8x16 heads, 1024 x 64", "TFLOP/s", ATTENTION, "torch", 0.8),
    "attention_bf16_gradients": ("that attention, forward and backward", "TFLOP/s", 3 * ATTENTION, "torch", 0.8),
    "conv_bf16": ("convolution bf16 3x3, 64x56x56x128", "TFLOP/s", CONVOLUTION, "torch", 0.8),
    "conv_bf16_gradients": ("that convolution, forward and backward", "TFLOP/s", 3 * CONVOLUTION, "torch", 0.8),
    "train_mlp": ("training step f32, MLP 784-4096-4096-10", None, None, "jax", 1),
    "train_mlp_bf16": ("training step bf16, that MLP", None, None, "jax", 1),
    "train_transformer": ("training step f32, transformer", None, None, "jax", 1),
    "train_transformer_bf16": ("training step bf16, transformer", None, None, "jax", 1),
}


def run_weft(row, command):
    done = subprocess.run([args.weft, *command], capture_output=True, text=True)
    if done.returncode:
        print(f"weft {row}: {done.stderr.strip()}", file=sys.stderr)
    return None if done.returncode else done.stdout


packages = set()  # rows that are compiled


def weft(row):
    model = f"{args.folder}/{row}.weft"
    options = ["--matmul-precision", "tf32"] if "tf32" in row else []
    if args.target:
        package = f"{args.folder}/{row}.weftpkg"
        if row not in packages:
            if run_weft(row, ["compile", model, "--target", args.target, "--out", package, *options]) is None:
                return None
            packages.add(row)
        model, options = package, []
    measured = run_weft(row, ["bench", model, "--signature", "run", "--device", args.device, "--seconds", str(args.seconds), "--json", *options])
    return measured and json.loads(measured)


def peer(engine):
    command = [args.python, "tests/benchmarks/gpu_peers.py", engine, "--ordinal", args.device.partition(":")[2] or "0", "--seconds", str(args.seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"{engine}: failed; its columns stay empty", file=sys.stderr)
        return {}
    return {row: measured["ms"] for row, measured in json.loads(done.stdout).items()}


def median(values):
    return statistics.median(values) if values else None


def show(value, digits=3):
    return "-" if value is None else f"{value:.{digits}g}" if value < 100 else f"{value:.0f}"


engines = ("weft", "torch", "jax")
times = {engine: {row: [] for row in ROWS} for engine in engines}
copies = []
for round_number in range(args.rounds):
    print(f"round {round_number + 1} of {args.rounds}", file=sys.stderr)
    for row in ROWS:
        measured = weft(row)
        if measured is None:
            continue
        times["weft"][row].append(measured["median_ms"])
        if measured["peak_gbs"] is not None:
            copies.append(measured["peak_gbs"])
    for engine in engines[1:]:
        for row, ms in (peer(engine) if os.path.exists(args.python) else {}).items():
            times[engine][row].append(ms)

copy = median(copies)
figures = {"copy_gbs": copy, "rows": {}}
print(f"copy within the device's memory: {show(copy, 4)} GB/s, read and written together")
print(f"milliseconds, medians of {args.rounds} rounds\n")
print(f"{'':40}{'Weft':>9}{'PyTorch':>9}{'JAX':>9}   {'rate':>14}   {'speed of':>12}  asked")
verdicts = []
for row, (words, unit, amount, against, share) in ROWS.items():
    ms = {engine: median(times[engine][row]) for engine in engines}
    rate = 1e3 * amount / ms["weft"] if unit and ms["weft"] else None
    if against == "copy":
        ratio = rate / copy if rate and copy else None
    else:
        ratio = ms[against] / ms["weft"] if ms["weft"] and ms[against] else None
    verdict = ""
    if ratio is not None:
        verdicts.append(ratio >= share)
        verdict = "met" if ratio >= share else "NOT MET"
    ratio_text = "-" if ratio is None else f"{ratio:.2f} x {against}"
    rate_text = "" if rate is None else f"{show(rate, 4)} {unit}"
    print(f"{words:40}{show(ms['weft']):>9}{show(ms['torch']):>9}{show(ms['jax']):>9}   {rate_text:>14}   {ratio_text:>12}  {share} {verdict}")
    figures["rows"][row] = {"ms": ms, "rate": rate, "unit": unit, "against": against, "ratio": ratio, "asked": share}
print(f"{sum(verdicts)} of {len(verdicts)} rows met")
with open(args.results, "w") as file:
    json.dump(figures, file, indent=1)
    file.write("\n")
sys.exit(0 if all(times["weft"].values()) else 1)
