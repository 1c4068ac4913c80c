"""Trains the same models on this processor, on the emulated GPU and on a real one, and compares losses. Called by tools/gpu_check.sh.

  gpu_compare.py DEVICE FOLDER     FOLDER holds digits.weft; exits with 1 where they differ

Both models are in f32, and begin with the same numbers: what differs is the rounding of sums. Adam makes of a gradient that is nearly 0 a whole step either
way, so losses part slowly; within so few steps, by less than a hundredth of themselves.
"""
import json
import subprocess
import sys

device, folder = sys.argv[1:]
DATA = "tools/examples/data/"
MODELS = {
    # An emulated GPU is slow: a small network for it.
    "regression": (["mlp", "--data", DATA + "auto_mpg.csv", "--target", "mpg", "--hidden", "16", "--batch", "64", "--epochs", "2"],
                   ["cpu", "emulator:sm_80", device]),
    "digits": ([f"{folder}/digits.weft", "--data", DATA + "digits-images-idx3-ubyte.gz", "--data", DATA + "digits-labels-idx1-ubyte.gz", "--batch", "32",
                "--epochs", "1"], ["cpu", device]),
}
ALLOWED = 1e-2

agree = True
for model, (options, devices) in MODELS.items():
    losses = {}
    for name in devices:
        done = subprocess.run(["bazel-bin/tools/weft", "train", *options, "--seed", "1", "--json", "--device", name], capture_output=True, text=True)
        if done.returncode:
            print(f"{model} on {name}: {done.stderr.strip().splitlines()[-1]}")
            agree = False
            continue
        losses[name] = [epoch[rows]["loss"] for epoch in json.loads(done.stdout)["history"] for rows in ("training", "validation")]
        if None in losses[name]:
            print(f"{model} on {name}: a loss is not a finite number")
            agree = False
        elif None in losses.get("cpu", [None]):
            print(f"{model} on {name}: the cpu has no losses to compare with")
            agree = False
        else:
            apart = max(abs(a - b) / abs(b) for a, b in zip(losses[name], losses["cpu"]))
            print(f"{model:12}{name:16}" + "".join(f"{loss:12.6f}" for loss in losses[name]) + f"   {apart:.1e} from the cpu's")
            agree = agree and apart <= ALLOWED
sys.exit(0 if agree else 1)
