"""A step of training as a CUDA graph.

A small network does not fill a GPU: most of a step is the time in which Python launches its
kernels. CUDAGraphStep once, the step is launched as a whole.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import torch

WARM_UP = 3
"""Steps before the recording, in which momentum is allocated and libraries start."""
log = logging.getLogger(__name__)


class CUDAGraphStep:
    """A step of training that is taken as it is WARM_UP times, then recorded and replayed.

    Every step must do the same on the same buffers, draw from `generator` or torch's own on
    the GPU alone, and never wait for the device. Where a step does wait, or cannot be recorded for
    another reason, `reason` says why, which is logged, and every step is taken as it is.
    """

    def __init__(self, step: Callable[[], None], generator: torch.Generator) -> None:
        self.step, self.generator = step, generator
        self.taken, self.reason = 0, ""
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream(generator.device)  # type: ignore[no-untyped-call]

    def __call__(self) -> None:
        if self.taken == WARM_UP and not self.reason:
            self._record()
        self.taken += 1
        if self.graph is not None:
            self.graph.replay()
        elif self.taken == WARM_UP:
            self._note(find_sync(lambda: run_on_side_stream(self.stream, self.step)))
        elif self.taken < WARM_UP:
            run_on_side_stream(self.stream, self.step)
        else:
            self.step()

    def _record(self) -> None:
        """Record the step, which does not take it."""
        own = torch.cuda.default_generators[self.generator.device.index or 0]
        before = [(each, each.clone_state()) for each in (self.generator, own)]
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        try:
            # A recording that fails leaves its stream as the current one: the outer block does not.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
            ):
                self.step()
        except RuntimeError as error:
            for each, state in before:  # else they would count as being recorded still
                each.graphsafe_set_state(state)
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self._note(str(error))
        else:
            self.graph = graph

    def _note(self, reason: str) -> None:
        self.reason = reason
        if reason:
            log.warning("training without a CUDA graph: %s", reason)


def run_on_side_stream(stream: torch.cuda.Stream, step: Callable[[], None]) -> None:
    """Take a step on a stream of its own, as a recording needs of the steps before it."""
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)


def find_sync(step: Callable[[], None]) -> str:
    """Take a step; what in it made the host wait for the device, as torch says it, else ""."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    found = [str(each.message) for each in caught]
    return next((text for text in found if "synchronizing CUDA operation" in text), "")
