"""What a perfect dynamic batcher in front of PyTorch would give: ONE CUDA graph over the rows of all clients.

    python3 bench/peers/torch_ideal_batching.py [ROWS] [CLIENTS,..] [--json FILE]

Host to host with pinned inputs, and the GPU's share alone; float32 and TF32 products. In the JSON each replay counts as the
latency of one query of every client.
"""
import argparse
import os
import sys
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from models import MODELS  # noqa: E402
from records import figures, print_figures, write_run  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("rows", nargs="?", type=int, default=256)
parser.add_argument("clients", nargs="?", default="1,8,15,22,30")
parser.add_argument("--models", default=",".join(MODELS))
parser.add_argument("--warmup", type=float, default=0.3)
parser.add_argument("--json")
options = parser.parse_args()

torch.manual_seed(0)
torch.set_grad_enabled(False)
LEVELS = [int(c) for c in options.clients.split(",")]
RUNS = 60

measured = []
for name in options.models.split(","):
    model = MODELS[name]().eval().cuda()
    for precision in ("fp32", "tf32"):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        for count in LEVELS:
            host = [t.pin_memory() for t in model.inputs(options.rows * count)]
            static = [t.cuda() for t in host]
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                for _ in range(2):
                    model(*static)
                stream.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=stream):
                    out = model(*static)
                result = torch.empty(out.shape, dtype=out.dtype, pin_memory=True)

                def replay():
                    for target, source in zip(static, host):
                        target.copy_(source, non_blocking=True)
                    graph.replay()
                    result.copy_(out, non_blocking=True)
                    stream.synchronize()

                warm = time.perf_counter() + options.warmup
                while time.perf_counter() < warm:
                    replay()
                times = []
                for _ in range(RUNS):
                    sent = time.perf_counter()
                    replay()
                    times.append(time.perf_counter() - sent)
                before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                before.record(stream)
                for _ in range(20):
                    graph.replay()
                after.record(stream)
                stream.synchronize()
            gpu = before.elapsed_time(after) / 20
            queries = [latency for latency in times for _ in range(count)]
            measured.append(figures(f"perfect batcher, {precision}", name, count, queries, sum(times), options.rows))
            print_figures(measured[-1])
            print(f"      the GPU alone: {gpu:.3f} ms", flush=True)
            del replay, graph, out, static
    del model
    torch.cuda.empty_cache()
if options.json:
    write_run(options.json, options.rows, measured)
