"""model.pt2: the program of torch.export with its weights, for images in batches of any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGES = ()
FILE = "model.pt2"


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    import torch

    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, folder / FILE)


def runners(folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    import torch

    return {"pt2": torch.export.load(folder / FILE).module()}
