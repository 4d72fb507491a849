"""Neighbours of CUDA tensors: time, peak GPU memory, and whether they have the bits of the CPU's.

Run in an environment with reid-cluster on a machine with a GPU::

    python benches/compare/gpu.py                     # 32,621 x 2,048 (MSMT17's size) and 200,000 x 512
    python benches/compare/gpu.py --cpu-rows 200000   # the large one on the CPU, too: minutes
    python benches/compare/gpu.py --sizes 4000x256 --device cpu    # the same code on CPU tensors, to try it

"candidates" is the time of the GPU and of the copies from it, "rest" that of the host: copying the features there and
measuring; "again" counts queries searched a second time. The peak counts the tensor itself. The best of `--repeat` runs
is given. The exit status is 1 when a result differs from the CPU's.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

import numpy as np
import torch
from contest import make_features

from reid_cluster import _core, _gpu, _inputs, jaccard_graph, knn


class Watch:
    """Times and counts of the parts of one search."""

    def __init__(self) -> None:
        self.total, self.candidates, self.measured = 0.0, 0.0, []
        self._candidates, self._among = _gpu._candidates, _core.knn_among

    def __enter__(self) -> Watch:
        _gpu._candidates = self._timed
        _core.knn_among = self._counted
        return self

    def __exit__(self, *_: Any) -> None:
        _gpu._candidates, _core.knn_among = self._candidates, self._among

    def _timed(self, *args: Any) -> Any:
        start = time.perf_counter()
        found = self._candidates(*args)
        self.candidates += time.perf_counter() - start
        return found

    def _counted(self, x: Any, lists: Any, width: int, *args: Any, **options: Any) -> Any:
        self.measured.append(len(lists) // width)
        return self._among(x, lists, width, *args, **options)


def search(x: torch.Tensor, k: int, threads: int) -> Any:
    if x.is_cuda:
        return knn(x, k, n_jobs=threads)
    host = _inputs.features(x)
    return _gpu.knn(x, None, k, host, None, n_jobs=threads, progress=None, device=x.device)


def seconds(run: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="32621x2048,200000x512", help="rows x columns, comma separated")
    parser.add_argument("--dtype", default="float32", choices=["float16", "bfloat16", "float32", "float64"])
    parser.add_argument("--k", type=int, default=30)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cpu-rows", type=int, default=40_000, help="largest size that the CPU searches, too")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    device, same = torch.device(args.device), True
    if device.type == "cuda":
        if not torch.cuda.is_available():
            parser.error("no CUDA device here; --device cpu tries the code without one")
        print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {args.threads} threads\n")
    print("| N x D | total s | candidates s | rest s | again | peak GPU GB | CPU s | same bits | graph s | same |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for size in args.sizes.split(","):
        n, d = map(int, size.split("x"))
        x = torch.from_numpy(make_features(n, d)[0]).to(device, getattr(torch, args.dtype))
        search(x[: min(n, 4000)], args.k, args.threads)  # libraries are loaded, kernels chosen
        if x.is_cuda:
            torch.cuda.reset_peak_memory_stats(device)
        best = None
        for _ in range(args.repeat):
            with Watch() as watch:
                watch.total, found = seconds(lambda x=x: search(x, args.k, args.threads))
            best = watch if best is None or watch.total < best.total else best
        peak = torch.cuda.max_memory_allocated(device) / 1e9 if x.is_cuda else float("nan")
        again = sum(best.measured) - n
        cells = [f"{n:,} x {d:,}", f"{best.total:.2f}", f"{best.candidates:.2f}", f"{best.total - best.candidates:.2f}"]
        cells += [str(again), f"{peak:.2f}"]
        host = x.float().cpu().numpy()
        if n <= args.cpu_rows:
            cpu, want = seconds(lambda host=host: knn(host, args.k, n_jobs=args.threads))
            bits = all(np.array_equal(a.view(np.int32), b.view(np.int32)) for a, b in zip(found, want, strict=True))
            same &= bits
            cells += [f"{cpu:.2f}", "yes" if bits else "NO"]
        else:
            cells += ["", ""]
        graph_s, graph = seconds(lambda x=x: jaccard_graph(x, args.k, n_jobs=args.threads))
        cells.append(f"{graph_s:.2f}")
        if n <= args.cpu_rows:
            other = jaccard_graph(host, args.k, n_jobs=args.threads)
            bits = np.array_equal(graph.indices, other.indices) and np.array_equal(graph.data, other.data)
            same &= bits
            cells.append("yes" if bits else "NO")
        else:
            cells.append("")
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
