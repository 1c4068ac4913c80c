"""Runs Weft and the peers in turn, several rounds, and prints the table of medians. Called by tools/bench.sh."""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--python", required=True, help="interpreter that has the peers")
parser.add_argument("--folder", required=True, help="where the graph files lie")
args = parser.parse_args()
WEFT, WEFT_RUN, ALLOCATIONS = "bazel-bin/tools/weft", "bazel-bin/tools/weft-run", "bazel-bin/tests/benchmarks/allocations"
SECONDS = 2

# Row: what is asked for (words), graph file, batch, the engine to reach, and the share of its speed.
ROWS = {
    "matmul_1024": ("matmul f32 1024x1024x1024", "matmul_1024", None, "ort", 0.85),
    "conv3_64_56": ("convolution 3x3, 64 to 64, 56x56", "conv3_64_56", None, "ort", 0.7),
    "eltwise_16m": ("tanh(sigmoid(x*x+x))*x, 16 M", "eltwise_16m", None, "ort", 4),
    "softmax_4096": ("softmax, rows of 4096x4096", "softmax_4096", None, "ort", 1.2),
    "mlp_1": ("MLP 784-512-512-10, batch 1", "mlp", 1, "ort", 0.8),
    "mlp_128": ("MLP 784-512-512-10, batch 128", "mlp", 128, "ort", 0.8),
    "train_mlp": ("training step, that MLP, batch 128", "train_mlp", 128, "jax", 0.8),
    "train_cnn": ("training step, CNN 28x28, batch 128", "train_cnn", 128, "torch", 0.8),
}


def weft(row):
    _, model, batch, _, _ = ROWS[row]
    command = [WEFT, "bench", f"{args.folder}/{model}.weft", "--threads", "1", "--seconds", str(SECONDS), "--json"]
    if row.startswith("train"):
        command += ["--signature", "train_step"]
    if batch:
        command += ["--size", f"batch={batch}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"weft {row}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def peer(engine, threads=1, *options):
    done = subprocess.run([args.python, "tests/benchmarks/peers.py", engine, "--threads", str(threads), *options], capture_output=True, text=True)
    if done.returncode:
        print(f"{engine}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}", file=sys.stderr)
        return {}
    return json.loads(done.stdout)


def wall_ms(command):
    """From the start of a process to its end."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return 1e3 * (time.perf_counter() - begin)


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def show(value, digits=3):
    return "-" if value is None else f"{value:.{digits}g}" if value < 100 else f"{value:.0f}"


results = {engine: {} for engine in ("weft", "ort", "jax", "torch")}
peaks = []
digits_compile, jax_compile = [], []
for round_number in range(args.rounds):
    print(f"round {round_number + 1} of {args.rounds}", file=sys.stderr)
    # Row by row, the engines one right after the other: a machine whose speed drifts is as fast for one as for another.
    for row in ROWS:
        measured = weft(row)
        if measured:
            peaks.append((measured["peak_gflops"], measured["peak_gbs"]))
        results["weft"].setdefault(row, []).append(measured and measured["median_ms"])
        for engine in ("ort", "jax", "torch"):
            measured = peer(engine, 1, "--seconds", str(SECONDS), "--only", row).get(row) if os.path.exists(args.python) else None
            results[engine].setdefault(row, []).append(measured and measured["ms"])
    # Both from cold, with all cores. Weft's is a whole process, which reads the graph file and writes a package; of JAX, which is imported and has
    # its arrays already, it is the first call.
    digits_compile.append(wall_ms([WEFT, "compile", f"{args.folder}/digits.weft", "--signature", "train_step", "--target", "cpu:native",
                                   "-o", f"{args.folder}/train_step.weftpkg"]))
    if os.path.exists(args.python):
        jax_compile += [measured["first_ms"] for measured in peer("jax", os.cpu_count(), "--seconds", "0", "--only", "train_digits").values()]

print()
if peaks:
    print(f"machine, one thread: {median(p[0] for p in peaks):.0f} GFLOP/s f32 multiply-add, {median(p[1] for p in peaks):.1f} GB/s copy")
print(f"milliseconds, one thread, medians of {args.rounds} rounds; speeds: medians of each round's ratio\n")
print(f"{'':38}{'Weft':>9}{'ORT':>9}{'JAX':>9}{'PyTorch':>9}   {'speed of':>12}  asked")
verdicts = []


def judge(holds):
    verdicts.append(holds)
    return "met" if holds else "NOT MET"


for row, (words, _, _, against, share) in ROWS.items():
    times = {engine: median(results[engine][row]) for engine in results}
    ratio = median(peer_ms / weft_ms for weft_ms, peer_ms in zip(results["weft"][row], results[against][row]) if weft_ms and peer_ms)
    verdict = "" if ratio is None else judge(ratio >= share)
    text = "-" if ratio is None else f"{ratio:.2f} x {against}"
    print(f"{words:38}{show(times['weft']):>9}{show(times['ort']):>9}{show(times['jax']):>9}{show(times['torch']):>9}   {text:>12}  {share} {verdict}")

print()
weft_ms, jax_ms = median(digits_compile), median(jax_compile)
print(f"digits training step, process that compiles it, cold, start to end: {weft_ms:.0f} ms (asked: 2000, and no more than JAX's first call, {show(jax_ms)} ms) "
      + judge(weft_ms <= 2000 and (jax_ms is None or weft_ms <= jax_ms)))

# The packaged digits model, with the first values of its variables: what counts is the time.
package, checkpoint = f"{args.folder}/digits.weftpkg", f"{args.folder}/digits.safetensors"
with open(f"{args.folder}/x.npy", "wb") as f:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 8, 8, 1), }"
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    f.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
subprocess.run([WEFT, "run", f"{args.folder}/digits.weft", "--signature", "init", "--save-checkpoint", checkpoint], check=True, stdout=subprocess.DEVNULL)
subprocess.run([WEFT, "compile", f"{args.folder}/digits.weft", "--checkpoint", checkpoint, "--freeze", "--signature", "predict", "-o", package], check=True,
               stderr=subprocess.DEVNULL)
start = statistics.median(wall_ms([WEFT_RUN, package, "--feed", f"x={args.folder}/x.npy"]) for _ in range(40))
print(f"packaged digits model, process start to its end with a first result: {start:.1f} ms (asked: 15) {judge(start <= 15)}")

training = f"{args.folder}/training.weftpkg"
subprocess.run([WEFT, "compile", f"{args.folder}/digits.weft", "-o", training], check=True, stderr=subprocess.DEVNULL)
counted = subprocess.run([ALLOCATIONS, training, "batch=32"], check=True, capture_output=True, text=True).stdout.split()
allocations = sum(int(count) for count in counted[1::2])
print(f"allocations in the second and later RunInto of a session ({', '.join(counted[::2])}; 100 runs each): {allocations} (asked: 0) {judge(allocations == 0)}")

stripped = f"{args.folder}/weft-run"
shutil.copyfile(WEFT_RUN, stripped)
subprocess.run(["strip", stripped], check=True)
size = os.path.getsize(stripped) / 1e6
print(f"weft-run, stripped: {size:.2f} MB (asked: 2) {judge(size <= 2)}")
print(f"{sum(verdicts)} of {len(verdicts)} rows met")
