"""Progress of the workers, which they push to one actor and which the driver reads in bulk.

So the driver keeps one reference for the progress of all workers, and nobody has to ask them one by one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

ROWS_EVERY = 0.5
"""Least seconds between two messages of a worker about epochs."""


class News(NamedTuple):
    """Progress of a task since the driver last read: a sign of life, with the epochs finished in between.

    first: number of epochs before these.
    """

    first: int
    rows: list[dict[str, Any]]


class Board:
    """The actor that keeps what workers report until the driver reads it."""

    def __init__(self) -> None:
        self.news: dict[tuple[int, int], News] = {}

    def report(self, worker: int, task: int, first: int, rows: list[dict[str, Any]]) -> None:
        """Take a sign of life of a worker and its task, by number, with the epochs after the `first`."""
        self.news.setdefault((worker, task), News(first, [])).rows.extend(rows)

    def read(self) -> Mapping[tuple[int, int], News]:
        """Return what was reported since the last call, by worker and task."""
        news, self.news = self.news, {}
        return news


class Reporter:
    """Pushes the progress of one training to the board.

    worker: number of the worker. every: most seconds between two signs of life while batches are trained.
    """

    def __init__(self, board: Any, worker: int, task: int, every: float) -> None:
        self.board, self.worker, self.task, self.every = board, worker, task, every
        self.first = 0
        self.rows: list[dict[str, Any]] = []
        self.sent = time.monotonic()

    def batch(self) -> None:
        """Note that a batch was trained."""
        if time.monotonic() - self.sent >= self.every:
            self._send()

    def epoch(self, _: int, row: dict[str, Any]) -> None:
        """Note a finished epoch, the first at once."""
        self.rows.append(row)
        if not self.first or time.monotonic() - self.sent >= ROWS_EVERY:
            self._send()

    def _send(self) -> None:
        self.board.report.remote(self.worker, self.task, self.first, self.rows)
        self.first, self.rows, self.sent = self.first + len(self.rows), [], time.monotonic()
