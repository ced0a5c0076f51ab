"""What a kind of data source yields, and the options that every kind understands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.data.dataset import Part


@dataclass(frozen=True)
class Options:
    """`size`: images are brought to size x size pixels. `limit`: images of the training
    part that are used, validation included. `label`: the label column of a table."""

    size: int | None = None
    limit: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Source:
    """A training part and, where the source has them, others; each read when called."""

    name: str
    train: Callable[[], Part]
    test: Callable[[], Part] | None = None
    validation: Callable[[], Part] | None = None
