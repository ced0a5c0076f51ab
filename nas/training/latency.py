"""Inference latency of a network, as exported, on the device at hand."""

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
"""Runs that do not count, and how many do."""
BUDGET = 1.0
"""Seconds after which no run is added to the least."""


@dataclass(frozen=True)
class Latency:
    """seconds: median of `runs` runs; low, high: their quartiles; threads: of a CPU."""

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
            raise ValueError(f"no latency: {self!r:.200}")

    @property
    def spread(self) -> float:
        """The distance of the quartiles, as a part of the median."""
        return (self.high - self.low) / self.seconds

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.device == "cpu" else ""
        return f"batch {self.batch} on {self.device}{threads}"


def measure_latency(network: nn.Module, input_shape: tuple[int, ...], device: str = "cpu") -> Latency:
    """The time of a forward pass on one image of noise in evaluation mode and single precision, with
    one thread: the median of repeated runs, after some that do not count."""
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
    """Seconds of each run that counts; on a GPU until it is done."""
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
