"""Closed-loop clients of the benchmark models in PyTorch, host to host, inputs pinned.

    python3 bench/peers/torch_concurrency.py [ROWS] [CLIENTS,..] [--peers one-stream,streams,graphs] [--json FILE]

Peers: eager with one CUDA stream for all clients, eager with a stream a client, and CUDA graphs with a stream a client (the
best a caller gets unbatched).
"""
import argparse
import os
import sys
import threading
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from models import MODELS  # noqa: E402
from records import figures, print_figures, write_run  # noqa: E402

LABELS = {
    "one-stream": "eager, one stream",
    "streams": "eager, a stream a client",
    "graphs": "CUDA graphs, a stream a client",
}
parser = argparse.ArgumentParser()
parser.add_argument("rows", nargs="?", type=int, default=256)
parser.add_argument("clients", nargs="?", default="1,8,15,22,30")
parser.add_argument("--peers", default=",".join(LABELS))
parser.add_argument("--models", default=",".join(MODELS))
parser.add_argument("--seconds", type=float, default=1.0)
parser.add_argument("--warmup", type=float, default=0.3)
parser.add_argument("--json")
options = parser.parse_args()

torch.manual_seed(0)
torch.set_grad_enabled(False)
LEVELS = [int(c) for c in options.clients.split(",")]
DEVICE = "cuda"


def closed_loop(count, make):
    """Latencies of all clients after the warm-up, in seconds, and the seconds that they were measured over."""
    latencies, lock = [], threading.Lock()
    begin = time.perf_counter() + options.warmup
    end = begin + options.seconds

    def work(index):
        query, own = make(index), []
        query()
        query()
        while True:
            sent = time.perf_counter()
            if sent >= end and own:
                break
            query()
            if sent >= begin:
                own.append(time.perf_counter() - sent)
        with lock:
            latencies.extend(own)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return latencies, time.perf_counter() - begin


def eager(model, host, stream):
    def query():
        with torch.inference_mode(), torch.cuda.stream(stream):
            out = model(*[t.to(DEVICE, non_blocking=True) for t in host]).to("cpu", non_blocking=True)
            # An event of its own: with one stream for all, waiting for the stream would be waiting for the others too.
            done = torch.cuda.Event()
            done.record(stream)
            done.synchronize()
            return out

    return query


CAPTURE = threading.Lock()


def graphed(model, host):
    with CAPTURE:
        stream = torch.cuda.Stream()
        static = [t.to(DEVICE) for t in host]
        result = torch.empty(options.rows, 1, pin_memory=True)
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


def queries(peer, model, hosts):
    """A function that gives client i its query."""
    if peer == "one-stream":
        shared = torch.cuda.Stream()
        return lambda i: eager(model, hosts[i], shared)
    if peer == "streams":
        return lambda i: eager(model, hosts[i], torch.cuda.Stream())
    graphs = [graphed(model, host) for host in hosts]
    return lambda i: graphs[i]


measured = []
for name in options.models.split(","):
    model = MODELS[name]().eval().to(DEVICE)
    hosts = [tuple(t.pin_memory() for t in model.inputs(options.rows)) for _ in range(max(LEVELS))]
    for peer in options.peers.split(","):
        make = queries(peer, model, hosts)
        for count in LEVELS:
            measured.append(figures(LABELS[peer], name, count, *closed_loop(count, make), options.rows))
            print_figures(measured[-1])
        del make
    del model
    torch.cuda.empty_cache()
if options.json:
    write_run(options.json, options.rows, measured)
