"""What a perfect dynamic batcher in front of PyTorch would give: ONE CUDA graph over the rows of all clients.

    python3 bench/peers/torch_ideal_batching.py [ROWS] [CLIENTS,..]

Host to host with pinned inputs, and the GPU's share alone; float32 and TF32 products.
"""
import os
import sys
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from models import MODELS  # noqa: E402

torch.manual_seed(0)
torch.set_grad_enabled(False)
ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 256
LEVELS = [int(c) for c in (sys.argv[2] if len(sys.argv) > 2 else "1,8,15,22,30").split(",")]
RUNS = 60

for name, make in MODELS.items():
    model = make().eval().cuda()
    for precision in ("fp32", "tf32"):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        for count in LEVELS:
            host = [t.pin_memory() for t in model.inputs(ROWS * count)]
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
                times = []
                for _ in range(RUNS):
                    sent = time.perf_counter()
                    for target, source in zip(static, host):
                        target.copy_(source, non_blocking=True)
                    graph.replay()
                    result.copy_(out, non_blocking=True)
                    stream.synchronize()
                    times.append(time.perf_counter() - sent)
                before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                before.record(stream)
                for _ in range(20):
                    graph.replay()
                after.record(stream)
                stream.synchronize()
            gpu = before.elapsed_time(after) / 20
            median = 1e3 * sorted(times)[RUNS // 2]
            print(f"{name:5} ideal batching {precision}  clients {count:3}  {median:.3f} ms  gpu {gpu:.3f} ms", flush=True)
            del graph, out, static
    del model
    torch.cuda.empty_cache()
