"""The operations of operations.ts in PyTorch, each in a CUDA graph of its own: microseconds a call.

    python3 bench/shaders/torch_operations.py --json torch.json
"""

import argparse
import json

import torch

LAYERS = [(1024, 429), (512, 1024), (256, 512), (1024, 479), (1024, 1024), (128, 256)]
TABLES, TABLE_ROWS, DIM = 26, 100_000, 128


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
    return best


def linear(rows, n, k, dtype):
    x = torch.randn(rows, k, device="cuda", dtype=dtype)
    weight = torch.randn(n, k, device="cuda", dtype=dtype)
    bias = torch.randn(n, device="cuda", dtype=dtype)
    return lambda: torch.nn.functional.linear(x, weight, bias)


def lookup(rows, tables):
    ids = torch.randint(0, TABLE_ROWS, (rows, TABLES), device="cuda")
    out = torch.empty(rows, TABLES, DIM, device="cuda")

    def call():
        for i, table in enumerate(tables):
            out[:, i] = torch.nn.functional.embedding(ids[:, i], table)

    return call


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="256,2048,3840,7680")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16"])
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    dtype = getattr(torch, options.dtype)
    warm = torch.randn(8192, 8192, device="cuda")
    for _ in range(20):
        warm @ warm
    tables = [torch.randn(TABLE_ROWS, DIM, device="cuda") for _ in range(TABLES)]
    figures = []

    def add(name, call):
        us = microseconds(call)
        figures.append({"name": name, "us": us})
        print(f"{name:24} {us:8.1f} us", flush=True)

    for rows in map(int, options.rows.split(",")):
        for n, k in LAYERS:
            add(f"linear {rows}x{n}x{k}", linear(rows, n, k, dtype))
        add(f"lookup {rows}x{TABLES}x{DIM}", lookup(rows, tables))
    if options.json:
        run = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "dtype": options.dtype}
        with open(options.json, "w") as file:
            json.dump({**run, "figures": figures}, file, indent=2)


if __name__ == "__main__":
    main()
