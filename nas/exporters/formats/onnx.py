"""model.onnx: one file with the weights in it, for images in batches of any size."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
FILE = "model.onnx"
RAW = ANY_SIZE = True
CODE = """\
import numpy
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")


def network({input}):
    return session.run(["scores"], {{"{input}": numpy.asarray({input})}})[0]
"""


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    import torch

    from nas.exporters.formats.pt2 import dynamic_shapes, prepared, taken

    about = json.loads((folder / "config.json").read_text())
    network, images = prepared(network, images, about)
    # The exporter warns that torchvision is missing, and of deprecated calls inside torch itself.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (images,),
            str(folder / FILE),
            input_names=[taken(about)],
            output_names=["scores"],
            opset_version=about.get("opset"),
            dynamic_shapes=dynamic_shapes(about),
            external_data=False,
            dynamo=True,
            verbose=False,
        )


def runners(folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the reference evaluator of onnx, and onnxruntime."""
    import onnx
    import onnxruntime
    import torch
    from onnx.reference import ReferenceEvaluator

    path = str(folder / FILE)
    model = onnx.load(path)
    onnx.checker.check_model(path, full_check=True)
    name = model.graph.input[0].name
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def runner(model: Any) -> Callable[[Tensor], Tensor]:
        return lambda images: torch.from_numpy(model.run(None, {name: images.numpy()})[0])

    return {"onnx": runner(ReferenceEvaluator(path)), "onnxruntime": runner(session)}


def blocks(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    name = "pixels" if about.get("with_preprocessing") else "images"
    return [{"title": "ONNX", "code": CODE.format(input=name), "input": name}]
