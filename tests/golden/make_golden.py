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

sys.stdout.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
