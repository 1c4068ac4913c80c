#!/usr/bin/env python3
"""Writes values of layers, losses and optimizers: python3 make_composites.py > composites.json

Computed with NumPy (2.x) in float64, from the formulas in the headers of graph/layers, graph/losses and graph/optimizers
(and the papers they name), and nothing of this project. The file is one object: name -> tensor.
"""
import json
import math
import sys

import numpy as np

rng = np.random.default_rng(7)
values = {}


def put(name, x):
    x = np.asarray(x)
    dtype = {"float64": "f64", "int32": "i32", "int64": "i64"}[x.dtype.name]
    values[name] = {"dtype": dtype, "shape": list(x.shape), "values": x.reshape(-1).tolist()}
    return x


def draw(*shape):
    return rng.normal(size=shape)


erf = np.vectorize(math.erf)

# ---- functions
x = put("functions/x", np.concatenate([draw(3, 5) * 3, [[0.0, -800.0, 800.0, 1e-9, -1e-9]]]))
put("functions/relu", np.maximum(x, 0))
put("functions/leaky_relu", np.where(x > 0, x, 0.01 * x))
put("functions/elu", np.where(x > 0, x, np.expm1(np.minimum(x, 0))))
put("functions/gelu", 0.5 * x * (1 + erf(x / math.sqrt(2))))
put("functions/gelu_tanh", 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
with np.errstate(over="ignore"):
    put("functions/silu", x / (1 + np.exp(-x)))
put("functions/softplus", np.logaddexp(0, x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


put("functions/softmax", softmax(x))
lse = np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1)) + x.max(-1)
put("functions/log_sum_exp", lse)
put("functions/log_softmax", x - lse[:, None])
put("functions/mean0", x.mean(axis=0))
put("functions/variance1", x.var(axis=1, keepdims=True))

# ---- losses
logits = put("losses/logits", np.concatenate([draw(4, 6) * 2, [[1000.0, 0, -1000, 0, 0, 999]]]))
labels = put("losses/labels", np.array([0, 5, 2, 3, 5], np.int32))
log_probabilities = logits - logits.max(-1, keepdims=True)
log_probabilities -= np.log(np.exp(log_probabilities).sum(-1, keepdims=True))
put("losses/softmax_cross_entropy", -log_probabilities[np.arange(5), labels])
onehot = np.eye(6)[labels]
put("losses/softmax_cross_entropy_gradient", (softmax(logits) - onehot) / 5)
put("losses/accuracy", np.array((logits.argmax(-1) == labels).mean()))
targets = put("losses/targets", rng.uniform(size=(5, 6)))
put("losses/sigmoid_cross_entropy", targets * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits))
p, t = put("losses/prediction", draw(4, 3) * 2), put("losses/target", draw(4, 3))
put("losses/mse", np.array(((p - t) ** 2).mean()))
put("losses/mae", np.array(np.abs(p - t).mean()))
e = np.abs(p - t)
put("losses/huber", np.array(np.where(e <= 0.7, e * e / 2, 0.7 * (e - 0.35)).mean()))

# ---- layers
x = put("dense/x", draw(2, 3, 4))
w, b = put("dense/fc/kernel", draw(4, 5)), put("dense/fc/bias", draw(5))
put("dense/y", x @ w + b)

x = put("conv/x", draw(1, 5, 6, 2))
w, b = put("conv/c/kernel", draw(3, 3, 2, 3)), put("conv/c/bias", draw(3))


def conv(x, w, pads, stride):
    x = np.pad(x, ((0, 0), pads[0], pads[1], (0, 0)))
    kh, kw = w.shape[:2]
    oh, ow = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    y = np.zeros((x.shape[0], oh, ow, w.shape[3]))
    for i in range(oh):
        for j in range(ow):
            patch = x[:, i * stride:i * stride + kh, j * stride:j * stride + kw, :]
            y[:, i, j, :] = np.tensordot(patch, w, axes=3)
    return y


put("conv/same", conv(x, w, ((1, 1), (1, 1)), 1) + b)
# ceil(5/2) = 3 and ceil(6/2) = 3 outputs: 2 and 1 pixels of padding, the larger half at the end.
put("conv/same_stride2", conv(x, w, ((1, 1), (0, 1)), 2) + b)
put("conv/valid", conv(x, w, ((0, 0), (0, 0)), 1) + b)
put("pool/max", x[:, :4].reshape(1, 2, 2, 3, 2, 2).max(axis=(2, 4)))
put("pool/avg", x[:, :4].reshape(1, 2, 2, 3, 2, 2).mean(axis=(2, 4)))
put("pool/global", x.mean(axis=(1, 2)))

x = put("norm/x", draw(4, 3, 5) * 2 + 1)
scale, offset = put("norm/scale", draw(5)), put("norm/offset", draw(5))
put("norm/layer", (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + offset)
mean, variance = x.mean(axis=(0, 1)), x.var(axis=(0, 1))
put("norm/batch", (x - mean) / np.sqrt(variance + 1e-5) * scale + offset)
moving_mean, moving_variance = 0.9 * 0 + 0.1 * mean, 0.9 * 1 + 0.1 * variance
put("norm/moving_mean", moving_mean)
put("norm/moving_variance", moving_variance)
put("norm/inference", (x - moving_mean) / np.sqrt(moving_variance + 1e-5) * scale + offset)

table = put("embedding/words/table", draw(7, 4))
ids = put("embedding/ids", np.array([[0, 6, 3], [2, 2, 7]], np.int32))
put("embedding/y", np.concatenate([table, np.zeros((1, 4))])[ids])

n, t, d, h = 2, 4, 6, 3
q = put("attention/x", draw(n, t, d))
parts = {}
for part in ["query", "key", "value", "output"]:
    parts[part] = (put(f"attention/mha/{part}/kernel", draw(d, d)), put(f"attention/mha/{part}/bias", draw(d)))


def attention(q, causal):
    def split(part):
        w, b = parts[part]
        return (q @ w + b).reshape(n, t, h, d // h).transpose(0, 2, 1, 3)
    scores = split("query") @ split("key").transpose(0, 1, 3, 2) / math.sqrt(d // h)
    if causal:
        scores = np.where(np.tril(np.ones((t, t), bool)), scores, -np.inf)
    mixed = (softmax(scores) @ split("value")).transpose(0, 2, 1, 3).reshape(n, t, d)
    return mixed @ parts["output"][0] + parts["output"][1]


put("attention/full", attention(q, False))
put("attention/causal", attention(q, True))

# ---- optimizers: four steps on F(w) = sum a (w - b)^2 / 2, whose gradient is a (w - b)
a, b, start = put("optimizers/a", rng.uniform(0.5, 2, 5)), put("optimizers/b", draw(5)), put("optimizers/w", draw(5))
gradient = lambda w: a * (w - b)


def trajectory(name, update):
    w, state, rows = start.copy(), {}, []
    for step in range(4):
        w = update(w, gradient(w), state, step)
        rows.append(w)
    put(f"optimizers/{name}", np.stack(rows))


def sgd(momentum, nesterov, decay):
    def update(w, g, s, step):
        g = g + decay * w
        if momentum == 0:
            return w - 0.1 * g
        s["v"] = momentum * s.get("v", 0) + g
        return w - 0.1 * (g + momentum * s["v"] if nesterov else s["v"])
    return update


trajectory("sgd", sgd(0, False, 0))
trajectory("momentum", sgd(0.9, False, 0.01))
trajectory("nesterov", sgd(0.9, True, 0))


def adam(decay, rate, clip=lambda g: g):
    def update(w, g, s, step):
        g, k = clip(g), step + 1
        s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
        s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
        m, v = s["m"] / (1 - 0.9**k), s["v"] / (1 - 0.999**k)
        r = rate(step)
        return w - r * m / (np.sqrt(v) + 1e-8) - r * decay * w
    return update


trajectory("adam", adam(0, lambda step: 0.1))
trajectory("adamw", adam(0.05, lambda step: 0.1))


def warm_cosine(step):
    rising = min((step + 1) / 3, 1)
    return rising * (0.02 + (0.1 - 0.02) * (1 + math.cos(math.pi * min(max(step - 3, 0) / 8, 1))) / 2)


trajectory("adam_schedule", adam(0, warm_cosine))
trajectory("adam_clip_norm", adam(0, lambda step: 0.1, lambda g: g * min(1, 0.5 / np.linalg.norm(g))))
trajectory("adam_clip_value", adam(0, lambda step: 0.1, lambda g: np.clip(g, -0.3, 0.3)))
put("schedules/cosine", np.array([0.01 + 0.09 * (1 + math.cos(math.pi * min(s / 10, 1))) / 2 for s in range(13)]))
put("schedules/step", np.array([0.1 * 0.5 ** (s // 4) for s in range(13)]))
put("schedules/step_to_zero", np.array([0.1 if s < 4 else 0.0 for s in range(13)]))
put("schedules/warm_up", np.array([warm_cosine(s) for s in range(13)]))

sys.stdout.write("{\n" + ",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in values.items()) + "\n}\n")
