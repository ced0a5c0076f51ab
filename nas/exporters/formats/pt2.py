"""model.pt2: the program of torch.export with its weights, for images in batches of any size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGES = ()
FILE = "model.pt2"
RAW = ANY_SIZE = True
CODE = """\
import torch

network = torch.export.load("model.pt2").module()
"""


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    import torch

    about = json.loads((folder / "config.json").read_text())
    network, images = prepared(network, images, about)
    program = torch.export.export(network, (images,), dynamic_shapes=dynamic_shapes(about))
    torch.export.save(program, folder / FILE)


def runners(folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    import torch

    return {"pt2": torch.export.load(folder / FILE).module()}


def blocks(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"title": "torch.export", "code": CODE, "input": taken(about)}]


def taken(about: Mapping[str, Any]) -> str:
    """Return what a program takes: "pixels" where it normalises by itself, else "images"."""
    return "pixels" if about.get("with_preprocessing") else "images"


def dynamic_shapes(about: Mapping[str, Any]) -> tuple[dict[int, Any]]:
    """Return the dimensions of the input that may vary: the batch, and where it is asked for the size."""
    import torch

    dims: dict[int, Any] = {0: torch.export.Dim("batch")}
    if about.get("dynamic_size"):
        dims |= {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    return (dims,)


def prepared(network: nn.Module, images: Tensor, about: Mapping[str, Any]) -> tuple[nn.Module, Tensor]:
    """Return the network and an example of its input; where it is asked for, behind a layer that normalises
    uint8 pixels as training did."""
    import torch

    if not about.get("with_preprocessing"):
        return network, images

    class WithPreprocessing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            mean, std = (torch.tensor(about[name]).view(-1, 1, 1) for name in ("mean", "std"))
            self.mean = torch.nn.Buffer(255 * mean)
            self.scale = torch.nn.Buffer(1 / (255 * std).clamp(min=1))

        def forward(self, pixels: Tensor) -> Any:
            return self.network((pixels.float() - self.mean) * self.scale)

    pixels = torch.randint(256, images.shape, dtype=torch.uint8)
    return WithPreprocessing().eval(), pixels
