#!/usr/bin/env python3
"""Writes the golden values that guard the reference evaluator: python3 make_golden.py > golden.json

Everything is computed with NumPy (2.x) and Python's math, from the definitions of the ops in graph/ops/*.td and nothing
else of this project. Operands are multiples of 1/16, so that they are exact in f32; results are computed in float64 (or
exactly, for whole numbers) from the operands and rounded once.
"""
import json
import math
import sys

import numpy as np

rng = np.random.default_rng(20240229)
NP = {"f64": np.float64, "f32": np.float32, "f16": np.float16, "i8": np.int8, "u8": np.uint8, "i32": np.int32,
      "i64": np.int64, "bool": np.bool_}
NAME = {np.dtype(v): k for k, v in NP.items()}
cases = []


def encode(x, dtype=None):
    """A tensor as JSON. bf16 has no NumPy type: its values are given as float64 with dtype="bf16"."""
    x = np.asarray(x)
    dtype = dtype or NAME[x.dtype]
    def number(v):
        if isinstance(v, (bool, np.bool_)):
            return int(v)
        if isinstance(v, float):
            return v if math.isfinite(v) else str(v)
        return v
    return {"dtype": dtype, "shape": list(x.shape), "values": [number(v) for v in x.reshape(-1).tolist()]}


def case(op, operands, attributes, results, ulps=0, scale=0):
    """ulps: allowed distance in units in the last place of the larger of |expected| and scale."""
    enc = lambda t: t if isinstance(t, dict) else encode(t)
    cases.append({"op": op, "operands": [enc(t) for t in operands], "attributes": attributes,
                  "results": [enc(t) for t in results], "ulps": ulps, "scale": scale})


def draw(shape, low=-2.0, high=2.0, dtype=np.float64):
    sixteenths = rng.integers(int(low * 16), int(high * 16), size=shape, endpoint=True)
    return (sixteenths / 16.0).astype(dtype)


# ---- element-wise
def bf16(x):
    """Rounds float64 to bf16 by way of f32, to nearest even; gives float64."""
    u = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((u + 0x7FFF + ((u >> 16) & 1)) >> 16) << 16
    return rounded.astype(np.uint32).view(np.float32).astype(np.float64)


unary = {
    "neg": (lambda x: -x, -2, 2), "abs": (np.abs, -2, 2), "sign": (np.sign, -2, 2), "floor": (np.floor, -3, 3),
    "ceil": (np.ceil, -3, 3), "round": (np.rint, -3, 3), "trunc": (np.trunc, -3, 3), "sqrt": (np.sqrt, 0.125, 9),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 0.125, 9), "reciprocal": (lambda x: 1 / x, 0.25, 4), "exp": (np.exp, -8, 8),
    "expm1": (np.expm1, -4, 4), "log": (np.log, 0.0625, 9), "log1p": (np.log1p, -0.5, 4), "sin": (np.sin, -8, 8),
    "cos": (np.cos, -8, 8), "tanh": (np.tanh, -4, 4), "logistic": (lambda x: 1 / (1 + np.exp(-x)), -8, 8),
    "erf": (np.vectorize(math.erf), -3, 3), "stop_gradient": (lambda x: x, -2, 2),
}
for name, (f, low, high) in unary.items():
    x = draw((2, 7), low, high)
    case(name, [x], {}, [f(x)], ulps=4, scale=0.0625)
    case(name, [x.astype(np.float32)], {}, [f(x).astype(np.float32)], ulps=1, scale=0.0625)
    case(name, [x.astype(np.float16)], {}, [f(x).astype(np.float16)], ulps=1, scale=0.0625)
    case(name, [encode(x, "bf16")], {}, [encode(bf16(f(x)), "bf16")], ulps=1, scale=0.0625)
special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, 1.5, 2.5, -0.5, -1.5])
with np.errstate(all="ignore"):
    for name in ["round", "sign", "abs", "sqrt", "log", "exp", "tanh", "logistic", "floor"]:
        case(name, [special], {}, [unary[name][0](special)], ulps=4)
    case("is_finite", [special], {}, [np.isfinite(special)])
    for name, f in {"maximum": np.maximum, "minimum": np.minimum}.items():
        other = np.roll(special, 3)
        case(name, [special, other], {}, [f(special, other)])

binary = {
    "add": (np.add, -2, 2), "sub": (np.subtract, -2, 2), "mul": (np.multiply, -2, 2), "div": (np.divide, 0.5, 3),
    "rem": (np.fmod, 0.5, 8), "pow": (np.power, 0.25, 3), "maximum": (np.maximum, -2, 2),
    "minimum": (np.minimum, -2, 2), "atan2": (np.arctan2, -3, 3),
}
for name, (f, low, high) in binary.items():
    a, b = draw((3, 5), low, high), draw((3, 5), low, high)
    case(name, [a, b], {}, [f(a, b)], ulps=4)
    case(name, [a.astype(np.float32), b.astype(np.float32)], {}, [f(a, b).astype(np.float32)], ulps=1)
    case(name, [encode(a, "bf16"), encode(b, "bf16")], {}, [encode(bf16(f(a, b)), "bf16")], ulps=1)
dividend, divisor = draw((2, 6), -8, 8), draw((2, 6), 0.5, 3)
case("rem", [dividend, divisor], {}, [np.fmod(dividend, divisor)])

for dtype, values in {"i8": [-128, -7, 0, 7, 127, -1], "u8": [0, 3, 7, 200, 255, 9],
                      "i32": [-2**31, -7, 0, 7, 2**31 - 1, -1], "i64": [-2**63, -7, 0, 7, 2**63 - 1, -1]}.items():
    a = np.array(values, NP[dtype])
    b = np.array(values[::-1], NP[dtype])
    b[4] = 2
    bits = {"i8": 8, "u8": 8, "i32": 32, "i64": 64}[dtype]
    def wrap(v):
        v &= (1 << bits) - 1
        return v - (1 << bits) if dtype != "u8" and v >= 1 << (bits - 1) else v
    def exact(f):
        return np.array([wrap(f(int(p), int(q))) for p, q in zip(a, b)], NP[dtype])
    def truncate(p, q):
        return 0 if q == 0 else (abs(p) // abs(q)) * (1 if (p < 0) == (q < 0) else -1)
    case("add", [a, b], {}, [exact(lambda p, q: p + q)])
    case("sub", [a, b], {}, [exact(lambda p, q: p - q)])
    case("mul", [a, b], {}, [exact(lambda p, q: p * q)])
    case("div", [a, b], {}, [exact(truncate)])
    case("rem", [a, b], {}, [exact(lambda p, q: 0 if q == 0 else p - q * truncate(p, q))])
    case("maximum", [a, b], {}, [np.maximum(a, b)])
    case("minimum", [a, b], {}, [np.minimum(a, b)])
    for name, f in {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}.items():
        case(name, [a, b], {}, [f(a, b)])
    case("not", [a], {}, [np.invert(a)])
    if dtype != "u8":
        case("neg", [a], {}, [np.array([wrap(-int(v)) for v in a], NP[dtype])])
        case("abs", [a], {}, [np.array([wrap(abs(int(v))) for v in a], NP[dtype])])
        case("sign", [a], {}, [np.sign(a)])
p, q = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
for name, f in {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}.items():
    case(name, [p, q], {}, [f(p, q)])
case("not", [p], {}, [np.logical_not(p)])

left = np.array([1.0, 2.0, 2.0, np.nan, np.nan, -np.inf, 0.0])
right = np.array([2.0, 1.0, 2.0, 1.0, np.nan, np.inf, -0.0])
compare = {"equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
           "greater": np.greater, "greater_equal": np.greater_equal}
for name, f in compare.items():
    case(name, [left, right], {}, [f(left, right)])
    small = np.array([0, 255, 7], np.uint8), np.array([255, 0, 7], np.uint8)
    case(name, list(small), {}, [f(*small)])
condition = np.array([[True, False, True]])
a, b = draw((1, 3)), draw((1, 3))
case("select", [condition, a, b], {}, [np.where(condition, a, b)])
case("select", [condition, p[None, :3], q[None, :3]], {}, [np.where(condition, p[None, :3], q[None, :3])])
x = draw((3, 4), -3, 3)
case("clamp", [x, np.full((3, 4), -1.0), np.full((3, 4), 1.5)], {}, [np.clip(x, -1.0, 1.5)])

wild = np.array([0.0, -0.5, 1.9, -1.9, 300.0, -300.0, 3e9, -3e9, 1e20, -1e20, np.nan, np.inf, -np.inf])
for dtype in ["i8", "u8", "i32", "i64"]:
    info = np.iinfo(NP[dtype])
    expected = [0 if math.isnan(v) else info.max if v >= info.max else info.min if v <= info.min else int(v)
                for v in wild.tolist()]
    case("cast", [wild], {"dtype": dtype}, [np.array(expected, NP[dtype])])
case("cast", [wild], {"dtype": "bool"}, [wild != 0])
whole = np.array([-2**31, -129, -1, 0, 1, 255, 256, 16777217, 2**31 - 1], np.int32)
for dtype in ["i8", "u8", "i64", "bool", "f64", "f32"]:
    case("cast", [whole], {"dtype": dtype}, [whole.astype(NP[dtype])])
reals = np.array([1.0, 1.00390625, 1.01171875, 0.1, -65504.0, 65536.0, 1e-8, 3.0e38])
with np.errstate(all="ignore"):
    case("cast", [reals], {"dtype": "f16"}, [reals.astype(np.float32).astype(np.float16)])
case("cast", [reals], {"dtype": "bf16"}, [encode(bf16(reals), "bf16")])
case("cast", [np.array([True, False])], {"dtype": "f32"}, [np.array([1, 0], np.float32)])

# ---- reductions
x = draw((3, 4, 5))
reduce_ops = {"reduce_sum": np.sum, "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min}
for name, f in reduce_ops.items():
    for axes, keep in [((1,), False), ((0, -1), True), ((0, 1, 2), False), ((), False)]:
        attributes = {"axes": list(axes), "keep_dims": keep}
        case(name, [x], attributes, [f(x, axis=axes, keepdims=keep)], ulps=8, scale=1)
        xi = rng.integers(-9, 9, (3, 4, 5)).astype(np.int32)
        case(name, [xi], attributes, [f(xi, axis=axes, keepdims=keep).astype(np.int32)
                                      if name != "reduce_prod" else
                                      np.prod(xi.astype(np.int64), axis=axes, keepdims=keep).astype(np.int32)])
    case(name, [x.astype(np.float32)], {"axes": [2], "keep_dims": False}, [f(x, axis=2).astype(np.float32)], ulps=1,
         scale=1)
bytes_ = rng.integers(100, 255, (2, 9)).astype(np.uint8)
case("reduce_sum", [bytes_], {"axes": [1]}, [np.sum(bytes_, axis=1, dtype=np.uint8)])
empty = np.zeros((2, 0))
for name, value in {"reduce_sum": 0.0, "reduce_prod": 1.0, "reduce_max": -np.inf, "reduce_min": np.inf}.items():
    case(name, [empty], {"axes": [1]}, [np.full(2, value)])
with_nan = np.array([[1.0, np.nan, 3.0], [np.inf, 2.0, -1.0]])
case("reduce_max", [with_nan], {"axes": [1]}, [np.max(with_nan, axis=1)])
case("reduce_min", [with_nan], {"axes": [1]}, [np.min(with_nan, axis=1)])
holds = rng.integers(0, 2, (4, 3)).astype(bool)
case("reduce_and", [holds], {"axes": [1]}, [np.all(holds, axis=1)])
case("reduce_or", [holds], {"axes": [0], "keep_dims": True}, [np.any(holds, axis=0, keepdims=True)])
ties = np.array([[1.0, 3.0, 3.0, 0.0], [np.nan, 9.0, np.nan, -9.0], [5.0, 5.0, -1.0, -1.0]])
for name, f in {"argmax": np.argmax, "argmin": np.argmin}.items():
    case(name, [ties], {"axis": 1}, [f(ties, axis=1)])
    case(name, [x], {"axis": -2, "keep_dims": True}, [f(x, axis=-2, keepdims=True)])
    case(name, [xi], {"axis": 0}, [f(xi, axis=0)])
for exclusive in [False, True]:
    for reverse in [False, True]:
        flipped = x[:, ::-1] if reverse else x
        y = np.cumsum(flipped, axis=1)
        if exclusive:
            y = y - flipped
        y = y[:, ::-1] if reverse else y
        case("cumsum", [x], {"axis": 1, "exclusive": exclusive, "reverse": reverse}, [y], ulps=8, scale=1)

# ---- linear algebra
for ta in [False, True]:
    for tb in [False, True]:
        a, b = draw((4, 3)), draw((3, 5))
        given = [a.T.copy() if ta else a, b.T.copy() if tb else b]
        case("matmul", given, {"transpose_a": ta, "transpose_b": tb}, [a @ b], ulps=16, scale=1)
a, b, c = draw((2, 3, 4, 5)), draw((2, 3, 5, 2)), draw((5, 2))
case("matmul", [a, b], {}, [a @ b], ulps=16, scale=1)
case("matmul", [a, c], {}, [a @ c], ulps=16, scale=1)
case("matmul", [a.astype(np.float32), b.astype(np.float32)], {}, [(a @ b).astype(np.float32)], ulps=1, scale=1)
ai, bi = rng.integers(-2**30, 2**30, (2, 3)), rng.integers(-2**30, 2**30, (3, 2))
case("matmul", [ai.astype(np.int32), bi.astype(np.int32)], {}, [(ai @ bi).astype(np.int32)])
case("matmul", [np.zeros((2, 0)), np.zeros((0, 3))], {}, [np.zeros((2, 3))])


# ---- convolution and pooling, by explicit patches
def patches(x, kh, kw, strides, padding, dilations, fill):
    """[n, oh, ow, kh, kw, c]"""
    top, bottom, left, right = padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    oh = (x.shape[1] - dilations[0] * (kh - 1) - 1) // strides[0] + 1
    ow = (x.shape[2] - dilations[1] * (kw - 1) - 1) // strides[1] + 1
    rows = np.arange(oh)[:, None] * strides[0] + np.arange(kh) * dilations[0]
    cols = np.arange(ow)[:, None] * strides[1] + np.arange(kw) * dilations[1]
    return x[:, rows][:, :, :, cols].transpose(0, 1, 3, 2, 4, 5)


def conv(x, w, strides, padding, dilations, groups):
    kh, kw, cg, out = w.shape
    p = patches(x, kh, kw, strides, padding, dilations, 0.0)
    p = p.reshape(p.shape[:5] + (groups, cg))
    w = w.reshape(kh, kw, cg, groups, out // groups)
    return np.einsum("nabijgc,ijcgo->nabgo", p, w).reshape(p.shape[:3] + (out,))


def adjoint(linear, shape, dy):
    """The gradient for the argument of a linear map, entry by entry: no formula that could be wrong in the same way."""
    out = np.zeros(shape)
    basis = np.zeros(shape)
    for i in np.ndindex(*shape):
        basis[i] = 1.0
        out[i] = np.sum(linear(basis) * dy)
        basis[i] = 0.0
    return out


conv_cases = [  # image, filter, strides, padding, dilations, groups
    ((2, 5, 6, 3), (3, 3, 3, 4), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((1, 7, 6, 2), (3, 2, 2, 3), (2, 3), (0, 1, 2, 0), (1, 1), 1),
    ((1, 7, 7, 4), (2, 3, 2, 4), (1, 2), (1, 0, 0, 1), (2, 2), 2),
    ((2, 4, 4, 3), (3, 3, 1, 6), (1, 1), (1, 1, 1, 1), (1, 1), 3),
    ((1, 4, 5, 3), (1, 1, 3, 2), (2, 2), (0, 0, 0, 0), (1, 1), 1),
]
for image, filt, strides, padding, dilations, groups in conv_cases:
    x, w = draw(image), draw(filt)
    attributes = {"strides": list(strides), "padding": list(padding), "dilations": list(dilations), "groups": groups}
    f = lambda x, w: conv(x, w, strides, padding, dilations, groups)
    y = f(x, w)
    dy = draw(y.shape)
    case("conv2d", [x, w], attributes, [y], ulps=16, scale=1)
    case("conv2d_input_grad", [dy, w], {"image_shape": [str(d) for d in image], **attributes},
         [adjoint(lambda v: f(v, w), image, dy)], ulps=16, scale=1)
    case("conv2d_filter_grad", [x, dy], {"filter_size": list(filt[:2]), **attributes},
         [adjoint(lambda v: f(x, v), filt, dy)], ulps=16, scale=1)
case("conv2d", [x.astype(np.float32), w.astype(np.float32)], attributes, [y.astype(np.float32)], ulps=1, scale=1)

pool_cases = [  # image, window, strides, padding
    ((2, 4, 6, 2), (2, 2), (2, 2), (0, 0, 0, 0)),
    ((1, 5, 5, 3), (3, 2), (2, 1), (1, 1, 0, 1)),
    ((1, 3, 4, 1), (3, 3), (1, 1), (2, 2, 1, 1)),
]
for image, window, strides, padding in pool_cases:
    attributes = {"window": list(window), "strides": list(strides), "padding": list(padding)}
    shape = {"image_shape": [str(d) for d in image]}
    x = draw(image)
    kh, kw = window
    p = patches(x, kh, kw, strides, padding, (1, 1), -np.inf)
    flat = p.reshape(p.shape[:3] + (kh * kw, image[3]))
    index = np.argmax(flat, axis=3).astype(np.int32)
    case("max_pool", [x], attributes, [np.max(flat, axis=3), index])
    take = lambda v: np.take_along_axis(
        patches(v, kh, kw, strides, padding, (1, 1), 0.0).reshape(flat.shape), index[:, :, :, None], axis=3)[:, :, :, 0]
    v, dy = draw(image), draw(index.shape)
    case("max_pool_at", [v, index], attributes, [take(v)])
    case("max_unpool", [dy, index], {**shape, **attributes}, [adjoint(take, image, dy)], ulps=4, scale=1)
    for count_padding in [False, True]:
        ones = patches(np.ones(image), kh, kw, strides, padding, (1, 1), 1.0 if count_padding else 0.0)
        counts = ones.sum(axis=(3, 4))
        mean = lambda v: patches(v, kh, kw, strides, padding, (1, 1), 0.0).sum(axis=(3, 4)) / counts
        more = {**attributes, "count_padding": count_padding}
        case("avg_pool", [x], more, [mean(x)], ulps=8, scale=1)
        case("avg_pool_grad", [dy], {**shape, **more}, [adjoint(mean, image, dy)], ulps=8, scale=1)
nan_image = np.array([1.0, np.nan, 5.0, np.nan]).reshape(1, 2, 2, 1)
case("max_pool", [nan_image], {"window": [2, 2], "strides": [1, 1], "padding": [0, 0, 0, 0]},
     [np.full((1, 1, 1, 1), np.nan), np.full((1, 1, 1, 1), 1, np.int32)])

# ---- shape
x = draw((2, 3, 4))
strings = lambda dims: [str(d) for d in dims]
case("reshape", [x], {"shape": strings([4, 6])}, [x.reshape(4, 6)])
case("reshape", [x[:1, :1, :1]], {"shape": []}, [x[:1, :1, :1].reshape(())])
case("transpose", [x], {"permutation": [2, 0, 1]}, [x.transpose(2, 0, 1)])
case("broadcast", [x[:, :1]], {"shape": strings([5, 2, 3, 4])}, [np.broadcast_to(x[:, :1], (5, 2, 3, 4))])
case("broadcast", [np.int8(7).reshape(())], {"shape": ["2", "2"]}, [np.full((2, 2), 7, np.int8)])
case("concat", [x, x[:, :1], x[:, 1:]], {"axis": 1}, [np.concatenate([x, x[:, :1], x[:, 1:]], axis=1)])
case("concat", [holds, holds], {"axis": -1}, [np.concatenate([holds, holds], axis=-1)])
case("slice", [x], {"starts": strings([0, 1, 1]), "limits": strings([2, 3, 4]), "steps": [1, 1, 2]}, [x[0:2, 1:3, 1:4:2]])
case("slice", [x], {"starts": strings([1, 3, 0]), "limits": strings([1, 3, 4]), "steps": [1, 2, 3]}, [x[1:1, 3:3, 0:4:3]])
padded = np.full((2 + 1, 3 + 2 * 2 + 1, 4 + 3 + 2), 9.0)
padded[1:, 0:7:3, 2:9:2] = x
case("pad", [x, np.float64(9.0).reshape(())],
     {"low": strings([1, 0, 2]), "high": strings([0, 1, 0]), "interior": [0, 2, 1]}, [padded])
case("reverse", [x], {"axes": [0, -1]}, [x[::-1, :, ::-1]])
for dtype in ["i32", "f32", "u8"]:
    case("iota", [], {"shape": strings([2, 3]), "axis": -1, "dtype": dtype},
         [np.broadcast_to(np.arange(3), (2, 3)).astype(NP[dtype])])
case("dim_size", [], {"expr": "7", "dtype": "i64"}, [np.int64(7).reshape(())])

# ---- indexing
table = draw((4, 3))
indices = np.array([[3, 0, -1], [4, 1, 1]], np.int32)
rows = np.concatenate([table, np.zeros((1, 3))])[np.where((indices >= 0) & (indices < 4), indices, 4)]
case("gather", [table, indices], {"axis": 0}, [rows])
case("gather", [table, np.array([2, 0, 9], np.int64)], {"axis": 1},
     [np.concatenate([table, np.zeros((4, 1))], axis=1)[:, [2, 0, 3]]])
updates = draw((2, 3, 3))
summed = np.concatenate([table, np.zeros((1, 3))])
for i, place in enumerate(indices.reshape(-1)):
    summed[place if 0 <= place < 4 else 4] += updates.reshape(6, 3)[i]
case("scatter_add", [table, indices, updates], {}, [summed[:4]], ulps=4, scale=1)
hot = (indices[..., None] == np.arange(4)).astype(np.float32)
case("one_hot", [indices], {"depth": "4", "dtype": "f32"}, [hot])
stack, value = draw((3, 2)), draw((2,))
for index in [-1, 0, 2, 3]:
    pushed = stack.copy()
    if 0 <= index < 3:
        pushed[index] = value
    case("stack_push", [stack, value, np.int64(index).reshape(())], {}, [pushed])


# ---- random: Philox4x32-10, checked against the known answers that its authors publish
def philox(counter, key):
    c, k = [int(v) for v in counter], [int(v) for v in key]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
assert philox([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
assert philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]) == [
    0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
for seed, stream in [(0, 0), (42, 7), (4294967295, -3)]:
    bits64 = stream & 0xFFFFFFFFFFFFFFFF
    words = np.array([philox([i // 4, 0, bits64 >> 32, 0], [seed, bits64 & 0xFFFFFFFF])[i % 4] for i in range(10)],
                     np.uint64)
    s = np.int64(stream).reshape(())
    attributes = {"seed": seed, "shape": ["2", "5"]}
    case("random_bits", [s], {**attributes, "dtype": "i32"}, [words.astype(np.uint32).view(np.int32).reshape(2, 5)])
    for dtype, bits in [("f64", 32), ("f32", 24), ("f16", 11)]:
        u = (words >> np.uint64(32 - bits)).astype(np.float64) / 2.0**bits
        case("random_uniform", [s], {**attributes, "dtype": dtype}, [u.astype(NP[dtype]).reshape(2, 5)])
    u = (words >> np.uint64(24)).astype(np.float64) / 2.0**8
    case("random_uniform", [s], {**attributes, "dtype": "bf16"}, [encode(u.reshape(2, 5), "bf16")])
    u = (words[0::2].astype(np.float64) + 0.5) / 2.0**32
    t = 2 * np.pi * words[1::2].astype(np.float64) / 2.0**32
    normal = np.stack([np.sqrt(-2 * np.log(u)) * np.cos(t), np.sqrt(-2 * np.log(u)) * np.sin(t)], axis=1).reshape(2, 5)
    case("random_normal", [s], {**attributes, "dtype": "f64"}, [normal], ulps=8, scale=1)
    case("random_normal", [s], {**attributes, "dtype": "f32"}, [normal.astype(np.float32)], ulps=32, scale=1)

# ---- effects that pass a value through
x = draw((2, 2))
case("check_numerics", [x], {"message": "fine"}, [x])
case("assert", [np.array(True), x], {"message": "holds"}, [x])

# ---- every op in every class of dtypes that it takes: f32 and f64, the narrow floats, signed integers, u8, bool
NARROW = ["f16", "bf16"]
ANY = ["i32", "u8", "bool", "f16", "i64", "bf16", "i8", "f32"]
NUMBERS = [dtype for dtype in ANY if dtype != "bool"]


def typed(shape, dtype):
    """Elements that the dtype holds exactly: of integers any at all."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in ["bf16", "f64"]:
        return draw(shape)
    if dtype in ["f16", "f32"]:
        return draw(shape, dtype=NP[dtype])
    info = np.iinfo(NP[dtype])
    return rng.integers(info.min, info.max, shape, dtype=NP[dtype], endpoint=True)


def as_dtype(x, dtype):
    """A tensor of numbers that are rounded once to the dtype, or wrap around."""
    return encode(bf16(x), "bf16") if dtype == "bf16" else encode(np.asarray(x).astype(NP[dtype]))


def each_dtype(dtypes, variants):
    """Calls the variants in turn, with a dtype each, until both lists are through."""
    for i in range(max(len(dtypes), len(variants))):
        variants[i % len(variants)](dtypes[i % len(dtypes)])


def moved(op, shape, attributes, f, more=()):
    """A variant of an op that moves elements; `more` are the shapes of further operands."""
    def variant(dtype):
        operands = [typed(s, dtype) for s in (shape, *more)]
        case(op, [as_dtype(x, dtype) for x in operands], attributes, [as_dtype(f(*operands), dtype)])
    return variant


def transposed(shape, permutation):
    return moved("transpose", shape, {"permutation": permutation}, lambda x: x.transpose(permutation))


each_dtype(ANY, [transposed((3, 5), [1, 0]), transposed((2, 3, 2), [0, 2, 1]), transposed((), []),
                 transposed((2, 0, 3), [2, 1, 0]), transposed((1, 2, 3, 2), [0, 3, 1, 2]), transposed((4, 2), [0, 1])])


def reshaped(shape, to):
    return moved("reshape", shape, {"shape": strings(to)}, lambda x: x.reshape(to))


each_dtype(ANY, [reshaped((6,), (2, 3)), reshaped((), (1, 1)), reshaped((3, 4), (2, 3, 2)), reshaped((2, 0, 3), (0, 5)),
                 reshaped((2, 3, 2), (12,))])


def repeated(shape, to):
    return moved("broadcast", shape, {"shape": strings(to)}, lambda x: np.broadcast_to(x, to))


each_dtype(ANY, [repeated((), (2, 3)), repeated((2, 1, 3), (2, 2, 3)), repeated((3, 1), (2, 3, 2)),
                 repeated((1, 1), (0, 2)), repeated((2, 2), (2, 2))])


def joined(shapes, axis):
    return moved("concat", shapes[0], {"axis": axis}, lambda *xs: np.concatenate(xs, axis=axis), shapes[1:])


each_dtype(ANY, [joined([(2, 1, 2), (2, 0, 2), (2, 2, 2)], 1), joined([(1, 3), (2, 3)], 0), joined([(2, 2)], -1),
                 joined([(0,), (3,), (1,)], 0), joined([(2, 2, 1), (2, 2, 2)], -1)])


def sliced(shape, starts, limits, steps):
    attributes = {"starts": strings(starts), "limits": strings(limits), "steps": steps}
    return moved("slice", shape, attributes, lambda x: x[tuple(map(slice, starts, limits, steps))])


each_dtype(ANY, [sliced((7,), [1], [7], [3]), sliced((2, 5, 2), [0, 1, 0], [2, 5, 2], [1, 2, 1]),
                 sliced((), [], [], []), sliced((3, 4), [1, 2], [3, 2], [2, 1]), sliced((4, 0), [2, 0], [4, 0], [1, 2]),
                 sliced((5, 3), [4, 0], [5, 3], [9, 2])])


def surrounded(shape, low, high, interior):
    """Written element by element: x[i] goes to low + i * (interior + 1)."""
    def f(x, value):
        gaps = [max(0, n - 1) * g for n, g in zip(x.shape, interior)]
        y = np.full([l + n + g + h for l, n, g, h in zip(low, x.shape, gaps, high)], value)
        for at in np.ndindex(*x.shape):
            y[tuple(l + i * (g + 1) for l, i, g in zip(low, at, interior))] = x[at]
        return y
    return moved("pad", shape, {"low": strings(low), "high": strings(high), "interior": interior}, f, [()])


each_dtype(ANY, [surrounded((3,), [0], [0], [2]), surrounded((2, 2), [0, 1], [2, 0], [0, 0]),
                 surrounded((), [], [], []), surrounded((0, 2), [1, 0], [1, 1], [3, 1]),
                 surrounded((1, 2, 2), [0, 1, 0], [0, 0, 1], [2, 1, 0])])


def reversed_(shape, axes):
    return moved("reverse", shape, {"axes": axes}, lambda x: np.flip(x, axes))


each_dtype(ANY, [reversed_((5,), [0]), reversed_((2, 3, 2), [1]), reversed_((2, 3), []), reversed_((0, 2), [0, 1]),
                 reversed_((2, 2, 2), [-1, 0]), reversed_((), [])])


def gathered(shape, indices, dtype_of_indices, axis):
    indices = np.array(indices, NP[dtype_of_indices])
    def variant(dtype):
        x = typed(shape, dtype)
        size, at = shape[axis], axis % len(shape)
        y = np.zeros(shape[:at] + indices.shape + shape[at + 1:], x.dtype)
        for place in np.ndindex(*indices.shape):
            if 0 <= indices[place] < size:
                everywhere = (slice(None),) * at
                y[everywhere + place] = x[everywhere + (indices[place],)]
        case("gather", [as_dtype(x, dtype), indices], {"axis": axis}, [as_dtype(y, dtype)])
    return variant


each_dtype(ANY, [gathered((3, 2), [2, 2, 0], "i64", 0), gathered((2, 3, 2), [[1, -1], [3, 0]], "i32", 1),
                 gathered((4,), 3, "i32", 0), gathered((2, 3), [2, 5, 1, -7], "i64", -1),
                 gathered((0, 2), [0, 1], "i32", 0), gathered((3, 2), [], "i64", 0)])


def pushed(shape, index):
    def f(x, value):
        y = x.copy()
        if 0 <= index < shape[0]:
            y[index] = value
        return y
    def variant(dtype):
        operands = typed(shape, dtype), typed(shape[1:], dtype)
        case("stack_push", [as_dtype(x, dtype) for x in operands] + [np.int64(index).reshape(())], {},
             [as_dtype(f(*operands), dtype)])
    return variant


each_dtype(ANY, [pushed((3,), 1), pushed((2, 2), 0), pushed((2, 1, 2), 2), pushed((2, 2), -1), pushed((0, 2), 0)])

for dtype in ["f16", "bf16", "i64", "i8", "f64"]:
    shape = {"f16": (2, 3, 2), "bf16": (4,), "i64": (3, 1), "i8": (2, 2), "f64": (0, 3)}[dtype]
    axis = {"f16": 1, "bf16": 0, "i64": -2, "i8": -1, "f64": 1}[dtype]
    counted = np.zeros(shape)
    for at in np.ndindex(*shape):
        counted[at] = at[axis]
    case("iota", [], {"shape": strings(shape), "axis": axis, "dtype": dtype}, [as_dtype(counted, dtype)])
for dtype in ["f32", "f64", "i32"]:
    case("dim_size", [], {"expr": "16777215", "dtype": dtype}, [np.array(16777215, NP[dtype])])


def added(shape, indices, dtype_of_indices, drawn=typed):
    """Adds slice by slice in the order of the indices, each time rounded to the dtype."""
    indices = np.array(indices, NP[dtype_of_indices])
    def variant(dtype):
        x, updates = drawn(shape, dtype), drawn(indices.shape + shape[1:], dtype)
        y = x.copy()
        for place in np.ndindex(*indices.shape):
            if 0 <= indices[place] < shape[0]:
                total = y[indices[place]] + updates[place]
                y[indices[place]] = bf16(total) if dtype == "bf16" else total
        case("scatter_add", [as_dtype(x, dtype), indices, as_dtype(updates, dtype)], {}, [as_dtype(y, dtype)])
    return variant


def far(shape, dtype):
    """Numbers of which a sum of two is rounded in the narrow floats."""
    return as_narrow(draw(shape) * np.power(2.0, rng.integers(0, 9, shape)), dtype)


def as_narrow(x, dtype):
    return bf16(x) if dtype == "bf16" else np.asarray(x).astype(NP[dtype])


with np.errstate(over="ignore"):
    each_dtype(NUMBERS, [added((3,), [1, 1, 2, 1], "i32"), added((2, 2), [[0, -1], [1, 0]], "i64"),
                         added((2, 1, 2), 1, "i32"), added((3, 2), [3, 0, 0, -4], "i64"), added((2, 2), [], "i32"),
                         added((0, 2), [0, 1], "i64")])
    each_dtype(NARROW, [added((2, 3), [0, 1, 0, 0, 1], "i32", far), added((2,), [1, 1, 1, 0, 1], "i64", far)])

for i, dtype in enumerate(["f64", "f16", "bf16", "i8", "i64", "u8", "bool"]):
    indices = [np.array([0, 3, 2], np.uint8), np.array(2, np.int64), np.array([[1, -1], [4, 0]], np.int32)][i % 3]
    depth = [4, 3, 1][i % 3]
    hot = indices[..., None] == np.arange(depth)
    case("one_hot", [indices], {"depth": str(depth), "dtype": dtype}, [as_dtype(hot, dtype)])
case("one_hot", [np.array([0, 1], np.int32)], {"depth": "0", "dtype": "f32"}, [np.zeros((2, 0), np.float32)])

# Element-wise ops.
for dtype in ANY:
    condition, a, b = typed((2, 3), "bool"), typed((2, 3), dtype), typed((2, 3), dtype)
    x = [as_dtype(v, dtype) for v in (a, b)]
    case("select", [condition, *x], {}, [as_dtype(np.where(condition, a, b), dtype)])
    if dtype in ["i8", "i64", "u8", "bool"]:
        case("stop_gradient", [a], {}, [a])
        some_equal = np.where(condition, a, b)
        for name, f in compare.items():
            case(name, [a, some_equal], {}, [f(a, some_equal)])
for dtype in NARROW:
    x = [as_dtype(v, dtype) for v in (left, right)]
    for name, f in compare.items():
        case(name, x, {}, [f(left, right)])
    with np.errstate(all="ignore"):
        case("is_finite", [as_dtype(special, dtype)], {}, [np.isfinite(special)])
        case("maximum", x, {}, [as_dtype(np.maximum(left, right), dtype)])
        case("minimum", x, {}, [as_dtype(np.minimum(left, right), dtype)])
case("is_finite", [np.array([3.0e38, -np.inf], np.float32)], {}, [np.array([True, False])])
case("is_finite", [np.float64(1e308).reshape(())], {}, [np.array(True)])
for dtype in NUMBERS:
    # In the last column low is above high, which wins.
    x, bounds = typed((4, 3), dtype), np.sort(typed((2, 4, 3), dtype), axis=0)
    low, high = bounds[0].copy(), bounds[1].copy()
    low[:, 2], high[:, 2] = bounds[1][:, 2], bounds[0][:, 2]
    case("clamp", [as_dtype(v, dtype) for v in (x, low, high)], {},
         [as_dtype(np.minimum(np.maximum(x, low), high), dtype)])
not_numbers = np.array([np.nan, 1.0, 1.0, np.inf, -np.inf]), np.array([0.0, np.nan, 0.0, 0.0, 0.0]), \
    np.array([2.0, 2.0, np.nan, 2.0, 2.0])
case("clamp", list(not_numbers), {}, [np.minimum(np.maximum(not_numbers[0], not_numbers[1]), not_numbers[2])])

# Of each dtype to each; whole numbers wrap around, floats saturate.
FROM = {"f16": [0.0, -1.5, 130.0, -300.0, np.inf, np.nan], "bf16": [0.5, -2.75, 255.0, 256.0, -np.inf, np.nan],
        "f32": [0.25, -0.9375, 127.5, -129.0, 65504.0, np.nan], "u8": [0, 1, 128, 255],
        "i32": [0, -1, 255, -129, 65535, 2**31 - 1], "i64": [0, 1, -1, 300, 2**32 + 5, -2**63], "bool": [0, 1]}
for source, numbers in FROM.items():
    x = np.array(numbers, NP.get(source, np.float64))
    for dtype in ["f64", "f32", "f16", "bf16", "i8", "u8", "i32", "i64", "bool"]:
        with np.errstate(all="ignore"):
            if x.dtype.kind == "f" and dtype[0] in "iu":
                info = np.iinfo(NP[dtype])
                y = [0 if math.isnan(v) else info.max if v >= info.max else info.min if v <= info.min else int(v)
                     for v in x.tolist()]
                y = np.array(y, NP[dtype])
            else:
                y = x != 0 if dtype == "bool" else x if dtype[0] in "iu" else x.astype(np.float64)
            case("cast", [as_dtype(x, source)], {"dtype": dtype}, [as_dtype(y, dtype)])

# Reductions. Sums and products are exact before they are rounded: of the narrow floats, once.
REDUCED = [((2, 3, 2), [1], False), ((2, 3, 2), [0, 2], True), ((5,), [-1], False), ((2, 2), [], False), ((), [], True),
           ((3, 0), [1], False), ((0, 2), [0], True)]
EMPTY = {"reduce_sum": 0, "reduce_prod": 1}


def reduced(name, shape, axes, keep):
    def variant(dtype):
        whole = dtype[0] in "iu"
        x = typed(shape, dtype)
        if name == "reduce_prod" and not whole:
            x = np.power(2.0, rng.integers(-1, 2, shape)) * rng.choice([-1.0, 1.0], shape)
        f = {"reduce_sum": np.sum, "reduce_prod": np.prod, "reduce_max": np.max, "reduce_min": np.min}[name]
        ends = (np.iinfo(NP[dtype]).min, np.iinfo(NP[dtype]).max) if whole else (-np.inf, np.inf)
        options = {"dtype": x.dtype if whole else np.float64} if name in EMPTY else \
            {"initial": x.dtype.type(ends[0] if name == "reduce_max" else ends[1])}
        y = f(x, axis=tuple(axes), keepdims=keep, **options)
        case(name, [as_dtype(x, dtype)], {"axes": axes, "keep_dims": keep}, [as_dtype(y, dtype)])
    return variant


with np.errstate(over="ignore"):
    for name in reduce_ops:
        each_dtype(["u8", "f16", "i8", "bf16", "i64", "f32", "u8"], [reduced(name, *r) for r in REDUCED])
for name, f in {"reduce_and": np.all, "reduce_or": np.any}.items():
    for shape, axes, keep in REDUCED:
        holds = rng.integers(0, 4, shape) > 0 if name == "reduce_and" else rng.integers(0, 4, shape) == 0
        case(name, [holds], {"axes": axes, "keep_dims": keep}, [f(holds, axis=tuple(axes), keepdims=keep)])
for name, f in {"argmax": np.argmax, "argmin": np.argmin}.items():
    for dtype, shape, axis, keep in [("u8", (3, 4), 0, False), ("f16", (2, 3, 2), 1, True), ("bf16", (5,), -1, False),
                                     ("i8", (2, 3), -2, False), ("i64", (1, 1), 1, True), ("f32", (2, 0, 3), 2, False)]:
        x = typed(shape, dtype)
        y = f(x, axis=axis, keepdims=keep)
        case(name, [as_dtype(x, dtype)], {"axis": axis, "keep_dims": keep}, [np.asarray(y, np.int64)])


def summed_along(shape, axis, exclusive, reverse):
    def variant(dtype):
        x = typed(shape, dtype)
        flipped = np.flip(x, axis) if reverse else x
        y = np.cumsum(flipped, axis=axis, dtype=x.dtype if dtype[0] in "iu" else np.float64)
        y = y - flipped if exclusive else y
        case("cumsum", [as_dtype(x, dtype)], {"axis": axis, "exclusive": exclusive, "reverse": reverse},
             [as_dtype(np.flip(y, axis) if reverse else y, dtype)])
    return variant


with np.errstate(over="ignore"):
    each_dtype(NUMBERS, [summed_along((2, 3, 2), 1, False, True), summed_along((4,), 0, True, False),
                         summed_along((2, 3), -1, True, True), summed_along((3, 2), -2, False, False),
                         summed_along((2, 0), 1, True, False)])

# Contractions, which are exact before they are rounded.
with np.errstate(over="ignore"):
    for dtype, a_shape, b_shape, ta, tb in [
            ("f16", (2, 4), (4, 3), False, False), ("bf16", (2, 3, 2), (2, 2, 3), True, True),
            ("i64", (2, 3), (4, 3), False, True), ("f32", (2, 2, 3), (3, 1), False, False),
            ("bf16", (1, 5), (5, 2), False, False), ("i32", (3, 2), (3, 2), True, False),
            ("f16", (2, 0), (0, 2), False, False)]:
        a, b = typed(a_shape, dtype), typed(b_shape, dtype)
        y = np.matmul(*[(x.swapaxes(-1, -2) if t else x).astype(x.dtype if dtype[0] == "i" else np.float64)
                        for x, t in ((a, ta), (b, tb))])
        case("matmul", [as_dtype(a, dtype), as_dtype(b, dtype)], {"transpose_a": ta, "transpose_b": tb},
             [as_dtype(y, dtype)])
for i, dtype in enumerate(["f16", "bf16", "f32"]):
    image, filt, strides, padding, dilations, groups = [
        ((1, 4, 3, 2), (2, 2, 1, 4), (1, 2), (1, 0, 0, 1), (2, 1), 2),
        ((1, 3, 4, 1), (3, 1, 1, 2), (2, 1), (1, 1, 0, 0), (1, 1), 1),
        ((2, 3, 3, 2), (2, 3, 2, 1), (1, 1), (0, 0, 1, 1), (1, 1), 1)][i]
    attributes = {"strides": list(strides), "padding": list(padding), "dilations": list(dilations), "groups": groups}
    x, w = draw(image), draw(filt)
    f = lambda x, w: conv(x, w, strides, padding, dilations, groups)
    y = f(x, w)
    dy = draw(y.shape)
    given = [as_dtype(v, dtype) for v in (x, w, dy)]
    case("conv2d", given[:2], attributes, [as_dtype(y, dtype)])
    case("conv2d_input_grad", [given[2], given[1]], {"image_shape": strings(image), **attributes},
         [as_dtype(adjoint(lambda v: f(v, w), image, dy), dtype)])
    case("conv2d_filter_grad", [given[0], given[2]], {"filter_size": list(filt[:2]), **attributes},
         [as_dtype(adjoint(lambda v: f(x, v), filt, dy), dtype)])
for dtype in [*NARROW, "f32"]:
    image, (kh, kw), strides, padding = (1, 3, 4, 2), (2, 3), (1, 2), (1, 0, 1, 0)
    attributes = {"window": [kh, kw], "strides": list(strides), "padding": list(padding)}
    shape = {"image_shape": strings(image)}
    x, v = draw(image), draw(image)
    p = patches(x, kh, kw, strides, padding, (1, 1), -np.inf)
    flat = p.reshape(p.shape[:3] + (kh * kw, image[3]))
    index = np.argmax(flat, axis=3).astype(np.int32)
    take = lambda v: np.take_along_axis(
        patches(v, kh, kw, strides, padding, (1, 1), 0.0).reshape(flat.shape), index[:, :, :, None], axis=3)[:, :, :, 0]
    dy = draw(index.shape)
    given = [as_dtype(t, dtype) for t in (x, v, dy)]
    case("max_pool", [given[0]], attributes, [as_dtype(np.max(flat, axis=3), dtype), index])
    case("max_pool_at", [given[1], index], attributes, [as_dtype(take(v), dtype)])
    case("max_unpool", [given[2], index], {**shape, **attributes}, [as_dtype(adjoint(take, image, dy), dtype)])
    counts = patches(np.ones(image), kh, kw, strides, padding, (1, 1), 0.0).sum(axis=(3, 4))
    mean = lambda v: patches(v, kh, kw, strides, padding, (1, 1), 0.0).sum(axis=(3, 4)) / counts
    case("avg_pool", [given[0]], attributes, [as_dtype(mean(x), dtype)], ulps=1, scale=1)
    case("avg_pool_grad", [given[2]], {**shape, **attributes}, [as_dtype(adjoint(mean, image, dy), dtype)], ulps=1,
         scale=1)

# Random numbers and effects.
stream = np.int64(-2**40 - 3).reshape(())
bits64 = int(stream) & 0xFFFFFFFFFFFFFFFF
words = np.array([philox([i // 4, 0, bits64 >> 32, 0], [9, bits64 & 0xFFFFFFFF])[i % 4] for i in range(6)], np.float64)
u, t = (words[0::2] + 0.5) / 2.0**32, 2 * np.pi * words[1::2] / 2.0**32
normal = np.stack([np.sqrt(-2 * np.log(u)) * np.cos(t), np.sqrt(-2 * np.log(u)) * np.sin(t)], axis=1).reshape(3, 2)
for dtype in NARROW:
    case("random_normal", [stream], {"seed": 9, "shape": ["3", "2"], "dtype": dtype}, [as_dtype(normal, dtype)], ulps=1,
         scale=1)
for dtype in [*NARROW, "f32"]:
    x = as_dtype(draw((3,)), dtype)
    case("check_numerics", [x], {"message": "fine"}, [x])
for dtype in ANY:
    x = as_dtype(typed((2, 1), dtype), dtype)
    case("assert", [np.array(True), x], {"message": "holds"}, [x])

sys.stdout.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
