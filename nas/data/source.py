"""The contract between `load_data` and the forms of data, and the options that forms understand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from nas.data.dataset import Split
    from nas.data.decode import Undecoded

Fit = Literal["crop", "squash", "pad"]
Load = Callable[[], "Split | Undecoded"]


@dataclass(frozen=True)
class Options:
    """Options of a specification, as in `folder:photos?size=64&limit=5000`.

    Attributes:
        size: (height, width) in pixels that all images are brought to; None leaves them as they are.
        fit: how an image of another shape is brought to `size`: its middle is cropped, it is squashed, or
            it is padded with black.
        limit: number of training images that are used, those split off for validation included.
        label: label column of a table.
        image: image column of a table.
        skip_broken: leave out images that cannot be read, in place of an error.
        min_images: classes with fewer training images are left out.
        validation: share of the training images that is split off for validation.
        test: share of the training images that is split off as test set; 0 for none.
    """

    size: tuple[int, int] | None = None
    fit: Fit = "crop"
    limit: int | None = None
    label: str | None = None
    image: str | None = None
    skip_broken: bool = False
    min_images: int = 1
    validation: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class Source:
    """A training part and, if the source has them, others; each is read when its function is called.

    Without `test` and `validation` a fifth of the images becomes the test set. With `validation` alone
    there is no test set.

    Attributes:
        name: name of the data set.
        origins: where each part comes from, such as `train/`, by "train", "test" and "validation".
        unread: reasons by path, for what belongs to no part.
    """

    name: str
    train: Load
    test: Load | None = None
    validation: Load | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_parts(
        cls,
        name: str,
        parts: Mapping[str, Load],
        origins: Mapping[str, str] | None = None,
        unread: Mapping[str, str] | None = None,
    ) -> Source:
        """Return a source of the part "train" and, if present, "test" and "validation"."""
        return cls(
            name, parts["train"], parts.get("test"), parts.get("validation"), origins or {}, unread or {}
        )

    @property
    def parts(self) -> dict[str, Load]:
        """Parts that the source has, by name."""
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: load for name, load in parts.items() if load is not None}


@dataclass(frozen=True)
class Form:
    """One form of data, such as `folder:PATH`; a module of nas/data lists its own in `FORMS`.

    Attributes:
        name: what stands before the colon.
        open: makes a source from what stands behind the colon, "" without one, and the options.
        about: the data in one line.
        place: what has to stand behind the colon, such as PATH; "" for data that are built in.
        options: options that this form alone understands.
        claims: whether a path that is given without a name is of this form.
    """

    name: str
    open: Callable[[str, Options], Source]
    about: str
    place: str = ""
    options: tuple[str, ...] = ()
    claims: Callable[[Path], bool] | None = None

    def __str__(self) -> str:
        return f"{self.name}:{self.place}" if self.place else self.name
