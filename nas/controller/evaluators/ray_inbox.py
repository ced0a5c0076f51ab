"""Messages of workers in the order of arrival, each as a future that is done.

Ray calls back when a call has ended, so that nobody waits for a list of references: a look at a thousand of
them takes longer than a result does otherwise.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.controller.evaluators.ray_slot import Slot

Message = tuple["Slot | None", "Future[Any]"]
"""The worker that was called, None for the board, and the future of the call."""


class Inbox:
    """Messages that threads of Ray put in and the driver takes out."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._arrived = threading.Event()

    def listen(self, slot: Slot | None, ref: Any) -> Future[Any]:
        """Return the future of a reference, which comes in here when it is done."""
        future: Future[Any] = ref.future()
        future.add_done_callback(partial(self._put, slot))
        return future

    def _put(self, slot: Slot | None, future: Future[Any]) -> None:
        self._messages.append((slot, future))
        self._arrived.set()

    def wait(self, seconds: float) -> None:
        """Wait for a message, at most so long."""
        if not self._messages:
            self._arrived.wait(seconds)
        self._arrived.clear()

    def __iter__(self) -> Iterator[Message]:
        """Yield the messages, each removed when the next is asked for, as Ctrl-C may interrupt the work."""
        while self._messages:
            yield self._messages[0]
            self._messages.popleft()
