"""What a GPU did with its time."""

import time
from collections.abc import Callable

import torch

from tests.benchmarks.rows.row import covered

SIDE, PRODUCTS = 8192, 20


def busy_share(run: Callable[[], object]) -> float:
    """Return the share of a call's wall-clock time in which some kernel or copy ran on the device."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
    on_device = [one for one in seen.events() or () if one.device_type == DeviceType.CUDA]
    return covered((one.time_range.start, one.time_range.end) for one in on_device) / 1e6 / wall


def flops_of(run: Callable[[], object]) -> float:
    """Return the FLOPs of the products, convolutions and attentions in a call, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def most_flops() -> float:
    """Return the FLOPs per second of a large product in bfloat16: what this device reaches, not what its maker says."""
    one = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    one @ one
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(PRODUCTS):
        one @ one
    torch.cuda.synchronize()
    return PRODUCTS * 2 * SIDE**3 / (time.perf_counter() - start)
