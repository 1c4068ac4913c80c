"""Times one peer engine on the work of workloads.cc, and prints a line of JSON.

  peers.py ENGINE [--threads N] [--seconds S] [--only ROW]     ENGINE: ort, jax, torch

Each row gives `ms`, the median of warm calls, and `first_ms`, the first call with tracing and compilation. All is f32 with the same shapes as
Weft's; images are laid out as the engine likes them best. A training step is forward, backward and Adam, parameters kept by the engine.
"""
import argparse
import json
import os
import statistics
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("engine", choices=["ort", "jax", "torch"])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=2.0)
parser.add_argument("--only", help="this row alone")
args = parser.parse_args()
# Thread pools are sized from these, or from the processors that the process may use, before anything is imported.
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: args.threads]))
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(args.threads)
if args.threads == 1:
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import numpy as np

random = np.random.default_rng(0)


def normal(*shape, scale=1.0):
    return (random.standard_normal(shape) * scale).astype(np.float32)


def labels(n):
    return random.integers(0, 10, n).astype(np.int32)


def timed(call):
    begin = time.perf_counter()
    call()
    first = time.perf_counter() - begin
    times = []
    end = time.perf_counter() + args.seconds
    call()
    while len(times) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return {"ms": 1e3 * statistics.median(times), "first_ms": 1e3 * first}


MATMUL = [normal(1024, 1024), normal(1024, 1024)]
CONV = [normal(1, 64, 56, 56), normal(64, 64, 3, 3, scale=0.1)]
ELTWISE = normal(16 << 20)
SOFTMAX = normal(4096, 4096)
MLP = [normal(784, 512, scale=0.05), normal(512, scale=0.05), normal(512, 512, scale=0.05), normal(512, scale=0.05),
       normal(512, 10, scale=0.05), normal(10, scale=0.05)]


def cnn_parameters():
    return [normal(3, 3, 1, 32, scale=0.4), normal(32, scale=0.01), normal(3, 3, 32, 64, scale=0.08), normal(64, scale=0.01),
            normal(14 * 14 * 64, 128, scale=0.01), normal(128, scale=0.01), normal(128, 10, scale=0.1), normal(10, scale=0.01)]


def digits_parameters():
    return [normal(3, 3, 1, 32, scale=0.4), normal(32, scale=0.01), normal(3, 3, 32, 64, scale=0.08), normal(64, scale=0.01),
            normal(4 * 4 * 64, 128, scale=0.04), normal(128, scale=0.01), normal(128, 10, scale=0.1), normal(10, scale=0.01)]


def onnx_runtime():
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    def session(nodes, inputs, constants):
        graph = helper.make_graph(
            nodes, "graph", [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in inputs.items()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [numpy_helper.from_array(v, k) for k, v in constants.items()])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        options.inter_op_num_threads = 1
        made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        binding = made.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
        binding.bind_output("y")
        return lambda: made.run_with_iobinding(binding)

    node = helper.make_node
    yield "matmul_1024", session([node("MatMul", ["a", "b"], ["y"])], dict(a=MATMUL[0], b=MATMUL[1]), {})
    yield "conv3_64_56", session([node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])], dict(x=CONV[0]), dict(w=CONV[1]))
    yield "eltwise_16m", session([node("Mul", ["x", "x"], ["a"]), node("Add", ["a", "x"], ["b"]), node("Sigmoid", ["b"], ["c"]),
                                  node("Tanh", ["c"], ["d"]), node("Mul", ["d", "x"], ["y"])], dict(x=ELTWISE), {})
    yield "softmax_4096", session([node("Softmax", ["x"], ["y"], axis=-1)], dict(x=SOFTMAX), {})
    for batch in (1, 128):
        nodes = [node("Gemm", ["x", "w0", "w1"], ["a"]), node("Relu", ["a"], ["b"]), node("Gemm", ["b", "w2", "w3"], ["c"]),
                 node("Relu", ["c"], ["d"]), node("Gemm", ["d", "w4", "w5"], ["y"])]
        yield f"mlp_{batch}", session(nodes, dict(x=normal(batch, 784)), {f"w{i}": w for i, w in enumerate(MLP)})


def jax_engine():
    import jax
    import jax.numpy as jnp

    def inference(function, *inputs):
        compiled = jax.jit(function)
        inputs = [jnp.asarray(i) for i in inputs]
        return lambda: compiled(*inputs).block_until_ready()

    def mlp(x, *w):
        for i in range(0, 4, 2):
            x = jax.nn.relu(x @ w[i] + w[i + 1])
        return x @ w[4] + w[5]

    def convolution(x, w, b):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b

    def cnn(x, *p):
        x = jax.nn.relu(convolution(jax.nn.relu(convolution(x, p[0], p[1])), p[2], p[3]))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return jax.nn.relu(x.reshape(x.shape[0], -1) @ p[4] + p[5]) @ p[6] + p[7]

    # tools/examples/digits.cc: two dropouts, a learning rate that falls as a cosine, accuracy beside the loss.
    def digits(x, step, *p):
        def dropout(x, rate, key):
            return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)

        first, second = jax.random.split(jax.random.fold_in(jax.random.key(1), step.astype(jnp.int32)))
        x = x.astype(jnp.float32) * (1 / 16)
        x = jax.nn.relu(convolution(jax.nn.relu(convolution(x, p[0], p[1])), p[2], p[3]))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = jax.nn.relu(dropout(x.reshape(x.shape[0], -1), 0.4, first) @ p[4] + p[5])
        return dropout(x, 0.5, second) @ p[6] + p[7]

    def digits_rate(step):
        return 2e-3 * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / (40 * 42), 1)))

    def training(model, parameters, x, y, rate=lambda step: 1e-3, with_accuracy=False):
        def loss(p, t):
            logits = model(x, t, *p)
            accuracy = (jnp.argmax(logits, -1) == y).astype(jnp.float32).mean() if with_accuracy else None
            return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], -1).mean(), accuracy

        def step(p, m, v, t):
            value, g = jax.value_and_grad(loss, has_aux=True)(p, t)
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g)]
            v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g)]
            scale = rate(t) * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            return [a - scale * b / (jnp.sqrt(c) + 1e-8) for a, b, c in zip(p, m, v)], m, v, t + 1, value

        compiled = jax.jit(step, donate_argnums=(0, 1, 2))
        p = [jnp.asarray(a) for a in parameters]
        state = [p, [jnp.zeros_like(a) for a in p], [jnp.zeros_like(a) for a in p], jnp.float32(1)]

        def call():
            *state[:], value = compiled(*state)
            jax.block_until_ready(value)

        return call

    def without_step(model):
        return lambda x, step, *p: model(x, *p)

    # First, since it is the time to compile that is asked for: nothing is warm.
    images = jnp.asarray(random.integers(0, 17, (32, 8, 8, 1)).astype(np.uint8))
    yield "train_digits", training(digits, digits_parameters(), images, jnp.asarray(labels(32)), digits_rate, with_accuracy=True)
    yield "matmul_1024", inference(lambda a, b: a @ b, *MATMUL)
    yield "conv3_64_56", inference(lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "SAME"), *CONV)
    yield "eltwise_16m", inference(lambda x: jnp.tanh(jax.nn.sigmoid(x * x + x)) * x, ELTWISE)
    yield "softmax_4096", inference(lambda x: jax.nn.softmax(x, -1), SOFTMAX)
    for batch in (1, 128):
        yield f"mlp_{batch}", inference(mlp, normal(batch, 784), *MLP)
    yield "train_mlp", training(without_step(mlp), MLP, jnp.asarray(normal(128, 784)), jnp.asarray(labels(128)))
    yield "train_cnn", training(without_step(cnn), cnn_parameters(), jnp.asarray(normal(128, 28, 28, 1)), jnp.asarray(labels(128)))


def torch_engine():
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(args.threads)
    tensor = torch.from_numpy

    def inference(function, *inputs):
        inputs = [tensor(i) for i in inputs]

        def call():
            with torch.inference_mode():
                function(*inputs)

        return call

    def mlp(x, *w):
        for i in range(0, 4, 2):
            x = F.relu(x @ w[i] + w[i + 1])
        return x @ w[4] + w[5]

    def cnn(x, *p):
        x = F.relu(F.conv2d(x, p[0], p[1], padding=1))
        x = F.max_pool2d(F.relu(F.conv2d(x, p[2], p[3], padding=1)), 2).flatten(1)
        return F.relu(x @ p[4] + p[5]) @ p[6] + p[7]

    def training(model, parameters, x, y):
        p = [tensor(np.ascontiguousarray(a)).requires_grad_() for a in parameters]
        optimizer = torch.optim.Adam(p, lr=1e-3, fused=True)

        def call():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x, *p), y)
            loss.backward()
            optimizer.step()
            loss.item()

        return call

    yield "matmul_1024", inference(lambda a, b: a @ b, *MATMUL)
    yield "conv3_64_56", inference(lambda x, w: F.conv2d(x, w, padding=1), *CONV)
    yield "eltwise_16m", inference(lambda x: torch.tanh(torch.sigmoid(x * x + x)) * x, ELTWISE)
    yield "softmax_4096", inference(lambda x: torch.softmax(x, -1), SOFTMAX)
    for batch in (1, 128):
        yield f"mlp_{batch}", inference(mlp, normal(batch, 784), *MLP)
    yield "train_mlp", training(mlp, MLP, tensor(normal(128, 784)), tensor(labels(128)).long())
    filters = [a.transpose(3, 2, 0, 1) if a.ndim == 4 else a for a in cnn_parameters()]
    yield "train_cnn", training(cnn, filters, tensor(normal(128, 1, 28, 28)), tensor(labels(128)).long())


engine = {"ort": onnx_runtime, "jax": jax_engine, "torch": torch_engine}[args.engine]
results = {}
for name, call in engine():
    if args.only not in (None, name):
        continue
    results[name] = timed(call)
    print(f"{args.engine} {name}: {results[name]['ms']:.4f} ms", file=sys.stderr, flush=True)
    if name == args.only:
        break
print(json.dumps(results))
