"""Repository of the Hugging Face hub: the hub's names in config.json, and a model card with metadata and
six lines that load the network for inference, from this folder or from the hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGES = ()
CARD, CONFIG = "README.md", "config.json"
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)
LINES = """\
import runpy
from safetensors.torch import load_file
folder = "."  # this one, or that of huggingface_hub.snapshot_download("NAME")
network = runpy.run_path(f"{{folder}}/network.py")["Network"](num_classes={classes:d}, in_chans={channels:d})
network.load_state_dict(load_file(f"{{folder}}/model.safetensors"))
network.eval()
"""


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    import torch
    import yaml

    with torch.no_grad():
        scores = network(images)
    about = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(about | _config(about), indent=2) + "\n")
    lines = LINES.format(classes=scores.shape[1], channels=images.shape[1])
    card = EXAMPLE.sub(lambda _: f"```python\n{lines}```", (folder / CARD).read_text(), count=1)
    task = "image-segmentation" if scores.ndim == 4 else "image-classification"
    front = yaml.safe_dump(_front(folder.name, task, about), sort_keys=False)
    (folder / CARD).write_text(f"---\n{front}---\n{card}")


def runners(folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the network as the lines of the card leave it, so a fault in them shows in its outputs. The
    lines are made again, not read: what else is in the card may be a stranger's."""
    about = json.loads((folder / CONFIG).read_text())
    lines = LINES.format(classes=about["num_labels"], channels=about["num_channels"])
    assert lines in (folder / CARD).read_text()
    namespace: dict[str, Any] = {}
    before = os.getcwd()
    try:
        os.chdir(folder)
        exec(lines, namespace)
    finally:
        os.chdir(before)
    return {"hf": namespace["network"]}


def _config(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of config.json that the hub and its tools look for."""
    channels, height, width = about["input_shape"]
    classes = about.get("classes") or [f"class {index}" for index in range(about["num_classes"])]
    names = {"image_mean": about["mean"], "image_std": about["std"]} if "mean" in about else {}
    return {
        "architectures": ["Network"],
        "num_channels": channels,
        "image_size": height if height == width else [height, width],
        "num_labels": about["num_classes"],
        "id2label": dict(enumerate(classes)),
        "label2id": {name: index for index, name in enumerate(classes)},
        **names,
    }


def _front(name: str, task: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of the card, with the validation error if there is one."""
    front = {
        "library_name": "pytorch",
        "pipeline_tag": task,
        "tags": [task, "pytorch", "safetensors", "neural-architecture-search"],
    }
    error = about.get("validation_error")
    if error is None:
        return front
    metric = "mean_iou" if task == "image-segmentation" else "accuracy"
    result = {
        "task": {"type": task},
        "dataset": {"name": about["data"], "type": about["data"], "split": "validation"},
        "metrics": [{"type": metric, "value": round(1 - error, 6)}],
    }
    return {**front, "metrics": [metric], "model-index": [{"name": name, "results": [result]}]}
