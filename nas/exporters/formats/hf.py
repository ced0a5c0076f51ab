"""Repository of the Hugging Face hub: its names in config.json, a model card with metadata, and the network
as a model of transformers with its image processor, by `trust_remote_code`."""

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
CONFIG = "config.json"
LINES = """\
import runpy
from safetensors.torch import load_file
folder = "."  # this one, or that of huggingface_hub.snapshot_download("NAME")
network = runpy.run_path(f"{{folder}}/network.py")["{cls}"](num_classes={classes:d}, in_chans={channels:d})
network.load_state_dict(load_file(f"{{folder}}/model.safetensors"))
network.eval()
"""
TRANSFORMERS = """\
from transformers import AutoModelForImageClassification

model = AutoModelForImageClassification.from_pretrained(".", trust_remote_code=True)


def network(images):
    return model(images).logits
"""
CONFIGURATION = '''\
"""Configuration of the network of this folder."""

from transformers import PretrainedConfig


class NasConfig(PretrainedConfig):
    model_type = "nas"
'''
MODELING = '''\
"""The network of this folder as a model of transformers."""

import torch.nn.functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from .configuration_nas import NasConfig
from .network import {cls}


class NasForImageClassification(PreTrainedModel):
    config_class = NasConfig
    base_model_prefix = "network"
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        self.network = {cls}(num_classes=config.num_labels, in_chans=config.num_channels)
        self.post_init()

    def _init_weights(self, module):
        pass  # the network has initialised itself

    def forward(self, pixel_values, labels=None, return_dict=True, **kwargs):
        logits = self.network(pixel_values)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        if not return_dict:
            return (logits,) if loss is None else (loss, logits)
        return ImageClassifierOutput(loss=loss, logits=logits)
'''
PROCESSING = '''\
"""Preparation of images for the network of this folder, as in its training."""

import torch
from transformers import BatchFeature, ImageProcessingMixin
from transformers.processing_utils import ImagesKwargs

from .predict import normalise, pixels_of


class NasImageProcessor(ImageProcessingMixin):
    model_input_names = ["pixel_values"]
    valid_kwargs = ImagesKwargs

    def __init__(self, input_shape=None, mean=None, std=None, fit="crop", **kwargs):
        super().__init__(**kwargs)
        self.input_shape, self.mean, self.std, self.fit = input_shape, mean, std, fit

    def __call__(self, images, return_tensors="pt", **kwargs):
        about = {"input_shape": self.input_shape, "mean": self.mean, "std": self.std, "fit": self.fit}
        images = images if isinstance(images, (list, tuple)) else [images]
        inputs = torch.stack([normalise(pixels_of(image, about), about) for image in images])
        return BatchFeature({"pixel_values": inputs}, tensor_type=return_tensors)

    preprocess = __call__
'''


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    about = json.loads((folder / CONFIG).read_text())
    masks = _task(about) == "image-segmentation"
    (folder / CONFIG).write_text(json.dumps(about | _config(about, masks), indent=2) + "\n")
    if masks:
        return
    (folder / "configuration_nas.py").write_text(CONFIGURATION)
    (folder / "modeling_nas.py").write_text(MODELING.format(cls=about["class"]))
    if "mean" in about:
        (folder / "image_processing_nas.py").write_text(PROCESSING)
        (folder / "preprocessor_config.json").write_text(json.dumps(_processor(about), indent=2) + "\n")


def runners(folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the network as the lines of the card leave it, so a fault in them shows in its outputs. The
    lines are made again, not read: what else is in the card may be a stranger's."""
    about = json.loads((folder / CONFIG).read_text())
    namespace: dict[str, Any] = {}
    before = os.getcwd()
    try:
        os.chdir(folder)
        exec(_lines(about), namespace)
    finally:
        os.chdir(before)
    return {"hf": namespace["network"]}


def blocks(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    hub = {"title": "From the Hugging Face hub", "code": _lines(about)}
    if _task(about) == "image-segmentation":
        return [hub]
    return [hub, {"title": "With transformers", "code": TRANSFORMERS, "needs": ["transformers"]}]


def front(name: str, about: Mapping[str, Any]) -> str:
    """Return the metadata above the card, with the error that was measured if there is one."""
    import yaml

    task, training = _task(about), about.get("training") or {}
    metadata: dict[str, Any] = {
        "library_name": "pytorch" if task == "image-segmentation" else "transformers",
        "pipeline_tag": task,
        "tags": [task, "pytorch", "safetensors", "neural-architecture-search"],
    }
    split = "test" if "test_error" in training else "validation"
    error = training.get("test_error", training.get("val_error", about.get("validation_error")))
    if error is not None:
        metric = "mean_iou" if task == "image-segmentation" else "accuracy"
        data = training.get("data") or about["data"]
        result = {
            "task": {"type": task},
            "dataset": {"name": data, "type": re.sub(r"[^\w./-]+", "_", data), "split": split},
            "metrics": [{"type": metric, "value": round(1 - error, 6)}],
        }
        metadata |= {"metrics": [metric], "model-index": [{"name": name, "results": [result]}]}
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n"


def _lines(about: Mapping[str, Any]) -> str:
    facts = {"cls": about["class"], "classes": about["num_classes"], "channels": about["input_shape"][0]}
    return LINES.format(**facts)


def _task(about: Mapping[str, Any]) -> str:
    return f"image-{about.get('task', 'classification')}"


def _config(about: Mapping[str, Any], masks: bool) -> dict[str, Any]:
    """Return the entries of config.json that the hub and its tools look for."""
    channels, height, width = about["input_shape"]
    classes = about.get("classes") or [f"class {index}" for index in range(about["num_classes"])]
    names = {"image_mean": about["mean"], "image_std": about["std"]} if "mean" in about else {}
    model = "NasForImageClassification"
    code = {
        "model_type": "nas",
        "architectures": [model],
        "auto_map": {
            "AutoConfig": "configuration_nas.NasConfig",
            "AutoModelForImageClassification": f"modeling_nas.{model}",
        },
    }
    return {
        **({"architectures": [about["class"]]} if masks else code),
        "num_channels": channels,
        "image_size": height if height == width else [height, width],
        "num_labels": about["num_classes"],
        "id2label": dict(enumerate(classes)),
        "label2id": {name: index for index, name in enumerate(classes)},
        **names,
    }


def _processor(about: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: about[name] for name in ("input_shape", "mean", "std", "fit") if name in about}
    name = "NasImageProcessor"
    return {
        "image_processor_type": name,
        "auto_map": {"AutoImageProcessor": f"image_processing_nas.{name}"},
        **facts,
    }
