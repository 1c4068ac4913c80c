"""Times a peer on a GPU, on the work of gpu_workloads.cc, and prints a line of JSON.

  gpu_peers.py ENGINE [--ordinal N] [--seconds S] [--only ROW]     ENGINE: torch, jax

Each row gives `ms`, the median of warm calls, each of which is waited for, as `weft bench` waits. f32 is f32: products in TF32 are off, but in the rows that are named so. All data is on
the GPU from the start, and parameters and the optimizer's state stay there.
"""
import argparse
import json
import os
import statistics
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("engine", choices=["torch", "jax"])
parser.add_argument("--ordinal", type=int, default=0, help="of the GPU")
parser.add_argument("--seconds", type=float, default=2.0)
parser.add_argument("--only", help="this row alone")
args = parser.parse_args()
BATCH, CONTEXT, FEATURES, HEADS, WORDS, BLOCKS = 16, 256, 512, 8, 512, 4


def timed(call):
    for _ in range(3):
        call()
    times = []
    end = time.perf_counter() + args.seconds
    while len(times) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return {"ms": 1e3 * statistics.median(times)}


def torch_engine():
    import torch
    import torch.nn.functional as F

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # It tries its convolutions, and takes the fastest.
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda", args.ordinal)
    torch.cuda.set_device(device)

    def uniform(*shape, dtype=torch.float32):
        return (torch.rand(shape, device=device) * 2 - 1).to(dtype)

    def inference(function, *inputs):
        def call():
            with torch.inference_mode():
                function(*inputs)
            torch.cuda.synchronize()

        return call

    def with_gradients(function, *inputs):
        inputs = [x.requires_grad_() for x in inputs]
        dy = torch.rand_like(function(*inputs))

        def call():
            torch.autograd.grad(function(*inputs), inputs, dy)
            torch.cuda.synchronize()

        return call

    for n in (1024, 2048, 4096, 8192):
        yield f"matmul_bf16_{n}", lambda n=n: inference(torch.matmul, uniform(n, n, dtype=torch.bfloat16), uniform(n, n, dtype=torch.bfloat16))
    # A row is measured before the next one is asked for.
    torch.backends.cuda.matmul.allow_tf32 = True
    for n in (1024, 2048, 4096, 8192):
        yield f"matmul_tf32_{n}", lambda n=n: inference(torch.matmul, uniform(n, n), uniform(n, n))
    torch.backends.cuda.matmul.allow_tf32 = False
    yield "matmul_f32_4096", lambda: inference(torch.matmul, uniform(4096, 4096), uniform(4096, 4096))
    yield "eltwise_64m", lambda: inference(torch.compile(lambda x: torch.tanh(torch.sigmoid(x * x + x)) * x), uniform(64 << 20))
    yield "softmax_16384x4096", lambda: inference(lambda x: torch.softmax(x, -1), uniform(16384, 4096))
    yield "layer_norm_16384x4096", lambda: inference(lambda x, w, b: F.layer_norm(x, (4096,), w, b), uniform(16384, 4096), uniform(4096), uniform(4096))
    for suffix, measure in (("", inference), ("_gradients", with_gradients)):
        yield "attention_bf16" + suffix, lambda m=measure: m(F.scaled_dot_product_attention, *(uniform(8, 16, 1024, 64, dtype=torch.bfloat16) for _ in range(3)))
        # In memory as Weft has them, channels last.
        yield "conv_bf16" + suffix, lambda m=measure: m(lambda x, w: F.conv2d(x, w, padding=1), *(
            uniform(*shape, dtype=torch.bfloat16).to(memory_format=torch.channels_last) for shape in ((64, 128, 56, 56), (128, 128, 3, 3))))

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = torch.nn.LayerNorm(FEATURES), torch.nn.LayerNorm(FEATURES)
            self.q, self.k, self.v, self.out = (torch.nn.Linear(FEATURES, FEATURES) for _ in range(4))
            self.wide, self.narrow = torch.nn.Linear(FEATURES, 4 * FEATURES), torch.nn.Linear(4 * FEATURES, FEATURES)

        def forward(self, x):
            h = self.norm1(x)
            heads = [layer(h).view(BATCH, CONTEXT, HEADS, -1).transpose(1, 2) for layer in (self.q, self.k, self.v)]
            h = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).reshape(BATCH, CONTEXT, FEATURES)
            x = x + self.out(h)
            return x + self.narrow(F.gelu(self.wide(self.norm2(x)), approximate="tanh"))

    def mlp():
        return torch.nn.Sequential(torch.nn.Linear(784, 4096), torch.nn.ReLU(), torch.nn.Linear(4096, 4096), torch.nn.ReLU(), torch.nn.Linear(4096, 10))

    def transformer():
        return torch.nn.Sequential(torch.nn.Embedding(WORDS, FEATURES), *(Block() for _ in range(BLOCKS)), torch.nn.LayerNorm(FEATURES),
                                   torch.nn.Linear(FEATURES, WORDS))

    def training(model, x, y, dtype):
        model = model().to(device, dtype)
        compiled = torch.compile(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

        def call():
            optimizer.zero_grad()
            logits = compiled(x).float()
            loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))
            loss.backward()
            optimizer.step()
            loss.item()

        return call

    for suffix, dtype in (("", torch.float32), ("_bf16", torch.bfloat16)):
        yield "train_mlp" + suffix, lambda d=dtype: training(mlp, uniform(1024, 784, dtype=d), torch.randint(0, 10, (1024,), device=device), d)
        yield "train_transformer" + suffix, lambda d=dtype: training(
            transformer, torch.randint(0, WORDS, (BATCH, CONTEXT), device=device), torch.randint(0, WORDS, (BATCH, CONTEXT), device=device), d)


def jax_engine():
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_default_device", jax.devices("gpu")[args.ordinal])
    keys = iter(jax.random.split(jax.random.key(0), 1000))

    def uniform(*shape, dtype=jnp.float32, limit=1.0):
        return jax.random.uniform(next(keys), shape, jnp.float32, -limit, limit).astype(dtype)

    def classes(count, *shape):
        return jax.random.randint(next(keys), shape, 0, count)

    def inference(function, *inputs):
        compiled = jax.jit(function)
        return lambda: compiled(*inputs).block_until_ready()

    def with_gradients(function, *inputs):
        def both(dy, *inputs):
            y, back = jax.vjp(function, *inputs)
            return y, back(dy)

        y = jax.eval_shape(function, *inputs)
        dy = uniform(*y.shape, dtype=y.dtype)
        compiled = jax.jit(both)
        return lambda: jax.block_until_ready(compiled(dy, *inputs))

    def convolution(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def attention(q, k, v):
        scores = jnp.einsum("bqd,bkd->bqk", q, k) / 8
        return jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores, -1), v)

    def layer_norm(x, w, b):
        x = x.astype(jnp.float32)
        mean = x.mean(-1, keepdims=True)
        variance = jnp.square(x - mean).mean(-1, keepdims=True)
        return ((x - mean) * jax.lax.rsqrt(variance + 1e-5) * w + b).astype(w.dtype)

    for n in (1024, 2048, 4096, 8192):
        yield f"matmul_bf16_{n}", lambda n=n: inference(jnp.matmul, uniform(n, n, dtype=jnp.bfloat16), uniform(n, n, dtype=jnp.bfloat16))
    for n in (1024, 2048, 4096, 8192):
        yield f"matmul_tf32_{n}", lambda n=n: inference(lambda a, b: jnp.matmul(a, b, precision="tensorfloat32"), uniform(n, n), uniform(n, n))
    yield "matmul_f32_4096", lambda: inference(jnp.matmul, uniform(4096, 4096), uniform(4096, 4096))
    yield "eltwise_64m", lambda: inference(lambda x: jnp.tanh(jax.nn.sigmoid(x * x + x)) * x, uniform(64 << 20))
    yield "softmax_16384x4096", lambda: inference(lambda x: jax.nn.softmax(x, -1), uniform(16384, 4096))
    yield "layer_norm_16384x4096", lambda: inference(layer_norm, uniform(16384, 4096), uniform(4096), uniform(4096))
    for suffix, measure in (("", inference), ("_gradients", with_gradients)):
        yield "attention_bf16" + suffix, lambda m=measure: m(attention, *(uniform(128, 1024, 64, dtype=jnp.bfloat16) for _ in range(3)))
        yield "conv_bf16" + suffix, lambda m=measure: m(convolution, uniform(64, 56, 56, 128, dtype=jnp.bfloat16), uniform(3, 3, 128, 128, dtype=jnp.bfloat16))

    def dense(inputs, outputs, dtype):
        return {"w": uniform(inputs, outputs, dtype=dtype, limit=(6 / (inputs + outputs)) ** 0.5), "b": jnp.zeros(outputs, dtype)}

    def apply(p, x):
        return x @ p["w"] + p["b"]

    def mlp(p, x):
        return apply(p[2], jax.nn.relu(apply(p[1], jax.nn.relu(apply(p[0], x)))))

    def norm(dtype):
        return {"w": jnp.ones(FEATURES, dtype), "b": jnp.zeros(FEATURES, dtype)}

    def transformer_parameters(dtype):
        def block():
            return {**{name: dense(FEATURES, FEATURES, dtype) for name in ("q", "k", "v", "out")}, "wide": dense(FEATURES, 4 * FEATURES, dtype),
                    "narrow": dense(4 * FEATURES, FEATURES, dtype), "norm1": norm(dtype), "norm2": norm(dtype)}

        return {"table": uniform(WORDS, FEATURES, dtype=dtype, limit=0.02), "blocks": [block() for _ in range(BLOCKS)], "norm": norm(dtype),
                "logits": dense(FEATURES, WORDS, dtype)}

    def transformer(p, words):
        x = p["table"][words]
        seen = jnp.tril(jnp.ones((CONTEXT, CONTEXT), bool))
        for b in p["blocks"]:
            h = layer_norm(x, **b["norm1"])
            q, k, v = (apply(b[name], h).reshape(BATCH, CONTEXT, HEADS, -1) for name in ("q", "k", "v"))
            scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / (FEATURES // HEADS) ** 0.5
            weights = jax.nn.softmax(jnp.where(seen, scores.astype(jnp.float32), -jnp.inf), -1).astype(x.dtype)
            x = x + apply(b["out"], jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(BATCH, CONTEXT, FEATURES))
            x = x + apply(b["narrow"], jax.nn.gelu(apply(b["wide"], layer_norm(x, **b["norm2"])), approximate=True))
        return apply(p["logits"], layer_norm(x, **p["norm"]))

    def training(model, parameters, x, y):
        def loss(p):
            logits = jax.nn.log_softmax(model(p, x).astype(jnp.float32))
            return -jnp.take_along_axis(logits, y[..., None], -1).mean()

        def step(p, m, v, t):
            value, g = jax.value_and_grad(loss)(p)
            m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
            v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
            scale = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            p = jax.tree.map(lambda a, b, c: (a - scale * b / (jnp.sqrt(c) + 1e-8)).astype(a.dtype), p, m, v)
            return p, m, v, t + 1, value

        compiled = jax.jit(step, donate_argnums=(0, 1, 2))
        state = [parameters, jax.tree.map(jnp.zeros_like, parameters), jax.tree.map(jnp.zeros_like, parameters), jnp.float32(1)]

        def call():
            *state[:], value = compiled(*state)
            value.block_until_ready()

        return call

    for suffix, dtype in (("", jnp.float32), ("_bf16", jnp.bfloat16)):
        yield "train_mlp" + suffix, lambda d=dtype: training(mlp, [dense(784, 4096, d), dense(4096, 4096, d), dense(4096, 10, d)],
                                                             uniform(1024, 784, dtype=d), classes(10, 1024))
        yield "train_transformer" + suffix, lambda d=dtype: training(transformer, transformer_parameters(d), classes(WORDS, BATCH, CONTEXT),
                                                                     classes(WORDS, BATCH, CONTEXT))


results = {}
for name, make in {"torch": torch_engine, "jax": jax_engine}[args.engine]():
    if args.only not in (None, name):
        continue
    # One that fails (memory, a kernel that a version lacks) leaves the others.
    try:
        results[name] = timed(make())
        print(f"{args.engine} {name}: {results[name]['ms']:.4f} ms", file=sys.stderr, flush=True)
    except Exception as error:  # noqa: BLE001
        lines = str(error).strip().splitlines()
        print(f"{args.engine} {name}: {lines[0] if lines else type(error).__name__}", file=sys.stderr, flush=True)
print(json.dumps(results))
