"""Record of how the images of a split were read: what was left out and why, and what was changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Reading:
    """Record of what a person should know about the reading of a split.

    Attributes:
        sizes: number of images by the size found, as `HEIGHTxWIDTH`, before `?size` changes it.
        changes: number of images by what was changed in them, such as `transparency laid on white`.
        unread: reasons by path, for files and folders that are neither images nor classes.
        broken: reasons by place, for images that cannot be read.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: Reading) -> Reading:
        return Reading(
            sizes=dict(Counter(self.sizes) + Counter(other.sizes)),
            changes=dict(Counter(self.changes) + Counter(other.changes)),
            unread={**self.unread, **other.unread},
            broken={**self.broken, **other.broken},
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Reading:
        """The reverse of `to_json`. Raises ValueError or TypeError for other text."""
        return cls(**json.loads(text))
