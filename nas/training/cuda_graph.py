"""A training step as a CUDA graph.

A step of a small network is bound by Python's kernel launches; a recorded graph is launched as a whole.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import torch

WARM_UP = 3
"""Steps before the recording; they allocate momentum and load libraries."""
log = logging.getLogger(__name__)


class CUDAGraphStep:
    """A training step that runs eagerly WARM_UP times, then is recorded and replayed.

    A step that waits for the device or cannot be recorded for another reason always runs eagerly; `reason`
    says why and is logged.

    Args:
        step: Does the same on the same buffers each time, and draws random numbers only from `generator`
            and torch's default generator of the GPU.
        generator: Generator on the GPU that the step draws from.
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
        """Record the step without running it."""
        own = torch.cuda.default_generators[self.generator.device.index or 0]
        before = [(generator, generator.clone_state()) for generator in (self.generator, own)]
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        try:
            # A failed recording leaves its stream as the current one; the outer block restores it.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
            ):
                self.step()
        except RuntimeError as error:
            for generator, state in before:  # else torch takes them as still being recorded
                generator.graphsafe_set_state(state)
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
    """Run a step on a side stream, as the steps before a recording must."""
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)


def find_sync(step: Callable[[], None]) -> str:
    """Run a step and return torch's warning if it made the host wait for the device, else ""."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    messages = [str(warning.message) for warning in caught]
    return next((text for text in messages if "synchronizing CUDA operation" in text), "")
