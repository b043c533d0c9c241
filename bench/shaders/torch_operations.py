"""The operations of operations.ts in PyTorch, each in a CUDA graph of its own: microseconds a call.

    python3 bench/shaders/torch_operations.py --json torch.json
"""

import argparse
import json

import torch
import torch.nn.functional as F

LAYERS = [(1024, 429), (512, 1024), (256, 512), (1024, 479), (1024, 1024), (128, 256), (1024, 1856)]
PERCEPTRONS = [(512, 256, 1), (13, 512, 256, 128), (768, 200, 80, 1)]
TABLES, TABLE_ROWS = 26, 100_000


def microseconds(call, calls=20, rounds=5):
    """Of the fastest of several replays of `calls` calls, a call."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()
    best = float("inf")
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        best = min(best, 1000 * begin.elapsed_time(end) / calls)
    del graph
    torch.cuda.empty_cache()
    return best


class Operations:
    def __init__(self, dtype):
        self.dtype = dtype
        self.tables = {}

    def noise(self, *shape):
        return torch.randn(*shape, device="cuda", dtype=self.dtype)

    def table(self, width, index=0):
        key = (width, index)
        if key not in self.tables:
            self.tables[key] = self.noise(TABLE_ROWS, width)
        return self.tables[key]

    def layer(self, n, k):
        weight, bias = self.noise(n, k) / k**0.5, self.noise(n)
        return lambda x: F.linear(x, weight, bias)

    def linear(self, shape, n):
        x, layer = self.noise(*shape), self.layer(n, shape[-1])
        return lambda: layer(x)

    def perceptron(self, rows, widths):
        x = self.noise(rows, widths[0])
        layers = [self.layer(n, k) for k, n in zip(widths, widths[1:])]

        def call():
            value = layers[0](x)
            for layer in layers[1:]:
                value = layer(torch.relu(value))
            return value

        return call

    def feed_forward(self, rows, width, hidden):
        x, up, down = self.noise(rows, 21, width), self.layer(hidden, width), self.layer(width, hidden)
        scale, shift = self.noise(width), self.noise(width)
        return lambda: F.layer_norm(x + down(torch.relu(up(x))), (width,), scale, shift)

    def lookup(self, rows, width):
        tables = [self.table(width, i) for i in range(TABLES)]
        ids = torch.randint(0, TABLE_ROWS, (rows, TABLES), device="cuda")
        out = torch.empty(rows, TABLES, width, device="cuda", dtype=self.dtype)

        def call():
            for i, table in enumerate(tables):
                out[:, i] = F.embedding(ids[:, i], table)

        return call

    def bag(self, rows, length, width):
        table = self.table(width)
        ids = torch.randint(0, TABLE_ROWS, (rows, length), device="cuda")
        return lambda: F.embedding_bag(ids, table, mode="sum")

    def interaction(self, rows, vectors, width):
        x = self.noise(rows, vectors, width)
        lower = torch.tril_indices(vectors, vectors, -1, device="cuda")
        places = lower[0] * vectors + lower[1]

        def call():
            pairs = torch.bmm(x, x.transpose(1, 2)).flatten(1).index_select(1, places)
            return torch.cat([x[:, 0], pairs], 1)

        return call

    def target_attention(self, rows, length, width):
        query, keys = self.noise(rows, 1, width), self.noise(rows, length, width)
        first, second, score = self.layer(80, 4 * width), self.layer(40, 80), self.layer(1, 40)

        def call():
            wide = query.expand(-1, length, -1)
            features = torch.cat([wide, keys, query - keys, query * keys], -1)
            weights = torch.softmax(score(torch.relu(second(torch.relu(first(features))))).squeeze(-1), -1)
            return torch.bmm(weights.unsqueeze(1), keys).squeeze(1)

        return call

    def self_attention(self, rows, length, width, heads):
        x = self.noise(rows, length, width)
        layers = [self.layer(width, width) for _ in range(3)]

        def call():
            q, k, v = (layer(x).view(rows, length, heads, width // heads).transpose(1, 2) for layer in layers)
            weights = torch.softmax(q @ k.transpose(-1, -2) / (width // heads) ** 0.5, -1)
            return (weights @ v).transpose(1, 2).reshape(rows, length, width)

        return call

    def normalization(self, rows, width):
        x, scale, shift = self.noise(rows, 21, width), self.noise(width), self.noise(width)
        return lambda: F.layer_norm(x, (width,), scale, shift)

    def softmax(self, rows, width):
        x = self.noise(rows, width)
        return lambda: torch.softmax(x, -1)

    def chain(self, rows, width):
        x = self.noise(rows, width)
        return lambda: torch.sigmoid(torch.tanh(x * 0.5))

    def all(self, rows):
        for n, k in LAYERS:
            yield f"linear {rows}x{n}x{k}", self.linear((rows, k), n)
        yield f"linear {rows}x21x64x64", self.linear((rows, 21, 64), 64)
        for widths in PERCEPTRONS:
            yield f"perceptron {rows}x{'-'.join(map(str, widths))}", self.perceptron(rows, widths)
        yield f"feed forward {rows}x21x64-256-64", self.feed_forward(rows, 64, 256)
        yield f"lookup {rows}x26x128", self.lookup(rows, 128)
        yield f"lookup {rows}x26x16", self.lookup(rows, 16)
        yield f"bag {rows}x20x64", self.bag(rows, 20, 64)
        yield f"interaction {rows}x27x128", self.interaction(rows, 27, 128)
        yield f"target attention {rows}x100x128", self.target_attention(rows, 100, 128)
        yield f"self attention {rows}x21x64", self.self_attention(rows, 21, 64, 8)
        yield f"normalization {rows}x21x64", self.normalization(rows, 64)
        yield f"softmax {rows}x1024", self.softmax(rows, 1024)
        yield f"chain {rows}x1024", self.chain(rows, 1024)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="256,2048,3840,7680")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16"])
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    warm = torch.randn(8192, 8192, device="cuda")
    for _ in range(20):
        warm @ warm
    operations = Operations(getattr(torch, options.dtype))
    figures = []
    for rows in map(int, options.rows.split(",")):
        for name, call in operations.all(rows):
            us = microseconds(call)
            figures.append({"name": name, "us": us})
            print(f"{name:34} {us:8.1f} us", flush=True)
    if options.json:
        run = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "dtype": options.dtype}
        with open(options.json, "w") as file:
            json.dump({**run, "figures": figures}, file, indent=2)


if __name__ == "__main__":
    main()
