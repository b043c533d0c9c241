"""The JSON that bench/common/records.ts describes, written by PyTorch's peers."""
import datetime
import json
import os
import subprocess
import sys

import torch


def quantile(ordered, q):
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def figures(variant, model, clients, latencies, seconds, rows):
    """One row of a run. Latencies in seconds; `seconds` is what they were measured over."""
    ordered = [1e3 * latency for latency in sorted(latencies)]
    rate = len(ordered) / seconds
    mean = sum(ordered) / len(ordered)
    return {
        "system": "pytorch",
        "variant": variant,
        "model": model,
        "clients": clients,
        "queries": len(ordered),
        "rejected": 0,
        "meanMs": mean,
        "p50Ms": quantile(ordered, 0.5),
        "p95Ms": quantile(ordered, 0.95),
        "p99Ms": quantile(ordered, 0.99),
        "queriesPerSecond": rate,
        "rowsPerSecond": rate * rows,
        "meanMsByModel": {model: mean},
        "busyShare": None,
        "dispatchesPerQuery": None,
        "hostUsPerQuery": None,
        "scheduleUsPerQuery": None,
        "meanRatios": {},
    }


def print_figures(f):
    print(
        f"{f['model']:5} {f['variant']:40} clients {f['clients']:3}  mean {f['meanMs']:.3f} ms  p50 {f['p50Ms']:.3f}  "
        f"p99 {f['p99Ms']:.3f}  {f['queriesPerSecond']:.0f} queries/s",
        flush=True,
    )


def driver():
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0].strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def write_run(file, rows, all_figures):
    run = {
        "bench": "concurrency",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "command": " ".join(["python3", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "device": {
            "adapter": torch.cuda.get_device_name(),
            "driver": driver(),
            "origin": f"PyTorch {torch.__version__}",
        },
        "rows": str(rows),
        # models.py has the widths and the tables of the zoo's scale `bench`, and no other.
        "scale": "bench",
        "figures": all_figures,
    }
    with open(file, "w") as out:
        json.dump(run, out, indent=2)
        out.write("\n")
