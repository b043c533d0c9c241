"""Closed-loop clients of the benchmark models in PyTorch, host to host, inputs pinned.

    python3 bench/peers/torch_concurrency.py [ROWS] [CLIENTS,..]

Peers: eager with a CUDA stream a client, and CUDA graphs with a stream a client (the best a caller gets unbatched).
"""
import os
import statistics
import sys
import threading
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from models import MODELS  # noqa: E402

torch.manual_seed(0)
torch.set_grad_enabled(False)
ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 256
LEVELS = [int(c) for c in (sys.argv[2] if len(sys.argv) > 2 else "1,8,15,22,30").split(",")]
DEVICE = "cuda"


def clients(count, make, seconds=1.0, warmup=0.2):
    latencies, lock = [], threading.Lock()
    start = time.time()
    begin, end = start + warmup, start + warmup + seconds

    def work(index):
        query, own = make(index), []
        query()
        query()
        while time.time() < end:
            sent = time.perf_counter()
            query()
            done = time.perf_counter()
            if time.time() > begin:
                own.append(done - sent)
        with lock:
            latencies.extend(own)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    ordered = sorted(latencies)
    return 1e3 * statistics.mean(ordered), 1e3 * ordered[int(len(ordered) * 0.99)], len(ordered) / seconds


def eager(model, host):
    stream = torch.cuda.Stream()

    def query():
        with torch.inference_mode(), torch.cuda.stream(stream):
            out = model(*[t.to(DEVICE, non_blocking=True) for t in host]).to("cpu", non_blocking=True)
            stream.synchronize()
            return out

    return query


CAPTURE = threading.Lock()


def graphed(model, host):
    with CAPTURE:
        stream = torch.cuda.Stream()
        static = [t.to(DEVICE) for t in host]
        result = torch.empty(ROWS, 1, pin_memory=True)
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(2):
                model(*static)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                out = model(*static)

    def query():
        with torch.cuda.stream(stream):
            for target, source in zip(static, host):
                target.copy_(source, non_blocking=True)
            graph.replay()
            result.copy_(out, non_blocking=True)
            stream.synchronize()

    return query


for name, make in MODELS.items():
    model = make().eval().to(DEVICE)
    hosts = [tuple(t.pin_memory() for t in model.inputs(ROWS)) for _ in range(max(LEVELS))]
    graphs = [graphed(model, h) for h in hosts]
    for label, peer in (("eager, a stream a client", lambda i: eager(model, hosts[i])), ("CUDA graphs, a stream a client", lambda i: graphs[i])):
        for count in LEVELS:
            mean, p99, rate = clients(count, peer)
            print(f"{name:5} {label:32} clients {count:3}  mean {mean:.3f} ms  p99 {p99:.3f}  {rate:.0f} queries/s", flush=True)
    del graphs, model
    torch.cuda.empty_cache()
