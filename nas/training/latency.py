"""Inference latency of an exported network on the device at hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

BATCH, THREADS = 1, 1
WARM_UP, MAX_RUNS, MIN_RUNS = 10, 100, 10
"""Number of runs that are discarded, and the most and fewest that are counted."""
BUDGET = 1.0
"""Seconds after which no more than MIN_RUNS are made."""


@dataclass(frozen=True)
class Latency:
    """Measured latency of a network.

    Attributes:
        seconds: Median of the runs.
        low: First quartile, in seconds.
        high: Third quartile, in seconds.
        runs: Number of runs.
        batch: Images per run.
        threads: CPU threads.
        device: Device, such as cpu.
    """

    seconds: float
    low: float
    high: float
    runs: int
    batch: int
    threads: int
    device: str

    def __post_init__(self) -> None:
        numbers = (self.seconds, self.low, self.high, self.runs, self.batch, self.threads)
        if (
            any(type(n) not in (int, float) or not 0 < n < inf for n in numbers)
            or type(self.device) is not str
        ):
            raise ValueError(f"not a latency: {self!r:.200}")

    @property
    def spread(self) -> float:
        """Return the interquartile range as a fraction of the median."""
        return (self.high - self.low) / self.seconds

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.device == "cpu" else ""
        return f"batch {self.batch} on {self.device}{threads}"


def measure_latency(network: nn.Module, input_shape: tuple[int, ...], device: str = "cpu") -> Latency:
    """Measure the forward pass on one noise image in evaluation mode, in float32 and with one thread.

    Args:
        network: The network, which is moved to the device.
        input_shape: (channels, height, width) of the image.
        device: cpu, cuda or cuda:1.
    """
    import torch

    place = torch.device(device)
    network.to(place).eval()
    images = torch.randn(BATCH, *input_shape, generator=torch.Generator().manual_seed(0)).to(place)
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.inference_mode():
            taken = _times(lambda: network(images), place.type == "cuda")
    finally:
        torch.set_num_threads(threads)
    low, middle, high = statistics.quantiles(taken, n=4, method="inclusive")
    return Latency(middle, low, high, len(taken), BATCH, THREADS, device)


def _times(run: Callable[[], object], cuda: bool) -> list[float]:
    """Return the seconds of each counted run; on a GPU until its kernels have ended."""
    import torch

    wait: Callable[[], None] = torch.cuda.synchronize if cuda else lambda: None
    taken: list[float] = []
    while len(taken) < WARM_UP + MAX_RUNS and (len(taken) < WARM_UP + MIN_RUNS or sum(taken) < BUDGET):
        wait()
        start = time.perf_counter()
        run()
        wait()
        taken.append(time.perf_counter() - start)
    return taken[WARM_UP:]
