"""Where the time of a compiled call goes: matrix products, fused loops, and the rest, which is Python and launching."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from torch.profiler import ProfilerActivity, profile

from rlgan.optim.compiled.package import Packaged
from scripts.benchmarks.harness import Report, Row, Variant

PRODUCTS = ("product", "mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "_linear_pointwise", "_mkl_linear")
LAUNCH = "Python and launch"
LAUNCHING = ("CompiledFxGraph", "Torch-Compiled Region", "TorchDynamo", "AOTDispatcher", "Pregraph bytecode")
"""What the compiled graph's own wrapper and what calls it are named."""
TOP = 12


def profiled(name: str, make: Callable[[], Variant], report: Report, calls: int = 100) -> None:
    """Print the top rows by self CPU time, and their sum in each of the three groups.

    The variant is made anew, its kernels compiled with a mark around each; what these marks and the profiler cost is
    seen in the difference between the two times a call that are printed.
    """
    with kernels_marked():
        call = make()
        for _ in range(5):
            call()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    bare = 1e6 * (time.perf_counter() - start) / calls
    with profile(activities=[ProfilerActivity.CPU]) as run:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        watched = 1e6 * (time.perf_counter() - start) / calls
    events = sorted(run.key_averages(), key=lambda event: -event.self_cpu_time_total)
    groups = {"matrix products": 0.0, "fused loops": 0.0, "other torch operators": 0.0, LAUNCH: 0.0}
    for event in events:
        groups[group(event.key)] += event.self_cpu_time_total / calls
    groups[LAUNCH] += max(watched - sum(groups.values()), 0.0)
    print(f"\nprofile of {name}: {bare:.0f} us a call, {watched:.0f} us under the profiler")
    for key, value in groups.items():
        print(f"  {key:34s}{value:10.1f} us{100 * value / watched:7.1f} %")
    print(f"  {'top by self CPU time':60s}{'us a call':>11s}{'times':>8s}")
    for event in events[:TOP]:
        print(f"    {event.key[:58]:58s}{event.self_cpu_time_total / calls:11.1f}{event.count / calls:8.1f}")
    row: Row = {"us": bare, "us_watched": watched, **groups}
    report.profiles[name] = row


def group(key: str) -> str:
    """Of an operator or kernel."""
    word = key.rpartition("::")[2].removeprefix("aoti_torch_cpu_").removesuffix("_out")
    if word in PRODUCTS:
        return "matrix products"
    if "cpp_fused" in key or "triton" in key:
        return "fused loops"
    return LAUNCH if any(part in key for part in LAUNCHING) else "other torch operators"


@contextmanager
def kernels_marked() -> Iterator[None]:
    """Graphs compiled inside name their kernels to the profiler."""
    from torch._inductor import config

    # By this process, whose compiler knows of the marks.
    here = patch.object(Packaged, "_by_child", lambda self, what: None)
    with config.patch({"cpp.enable_kernel_profile": True}), here:
        yield
