"""Preparation of images for a network, as its training did it: facts that config.json records.

`nas.data.images` reads and resizes, `nas.training.augment.Normalizer` normalises. Both are repeated without
NumPy in `nas.exporters.predict_script`, and tests compare the two pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from torch import Tensor

    from nas.data.source import Fit

LEAST_STD = 1 / 255
"""Least deviation that a channel is divided by: one grey level, as in training."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of a network.

    Attributes:
        size: (height, width) in pixels.
        channels: 1 for grey images, 3 for colour.
        mean, std: per channel, of pixels scaled to 0..1.
        fit: how an image of another size is brought to `size`, see `nas.data.source.Options`.
    """

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit = "crop"

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Preprocessing | None:
        """Return that of a config.json; None where the training, and so its mean, is not known."""
        if "mean" not in about:
            return None
        channels, height, width = about["input_shape"]
        mean, std = tuple(about["mean"]), tuple(about["std"])
        return cls((height, width), channels, mean, std, about.get("fit", "crop"))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return float32 inputs of uint8 pixels (n, channels, height, width), rounded as in training."""
        import torch

        mean = 255 * torch.tensor(self.mean).view(-1, 1, 1)
        scale = 1 / (255 * torch.tensor(self.std)).clamp(min=1).view(-1, 1, 1)
        return (pixels.float() - mean) * scale


def normalisation(mean: Sequence[float], std: Sequence[float]) -> dict[str, list[float]]:
    """Return the entries of config.json for the mean and deviation of training images, as they are used."""
    return {"mean": list(mean), "std": [max(value, LEAST_STD) for value in std]}


def fit_of(spec: str) -> str:
    """Return how a specification of data brings images to a size; crop, the default, without one."""
    return parse_qs(spec.rpartition("?")[2]).get("fit", ["crop"])[0]
