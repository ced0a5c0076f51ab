"""hub_model.py: the network as a class with PyTorchModelHubMixin, for `from_pretrained` and `push_to_hub`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGES = ("huggingface_hub",)
FILE = "hub_model.py"
SOURCE = '''\
"""The network of this folder with the methods of the Hugging Face hub. Put it beside network.py:

    from hub_model import HubNetwork

    network = HubNetwork.from_pretrained(".")  # or the name of a repository
"""

from huggingface_hub import PyTorchModelHubMixin
from network import {name}


class HubNetwork({name}, PyTorchModelHubMixin):
    def __init__(self, num_classes={classes}, in_chans={channels}):
        super().__init__(num_classes, in_chans)
'''
CODE = """\
from hub_model import HubNetwork

network = HubNetwork.from_pretrained(".").eval()
"""


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    about = json.loads((folder / "config.json").read_text())
    facts = {"name": about["class"], "classes": about["num_classes"], "channels": images.shape[1]}
    (folder / FILE).write_text(SOURCE.format(**facts))


def runners(folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return nothing: the lines of the card are what is run."""
    assert importlib.util.find_spec("huggingface_hub") is not None
    return {}


def blocks(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"title": "PyTorchModelHubMixin", "code": CODE, "needs": PACKAGES}]
