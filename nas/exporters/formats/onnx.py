"""model.onnx: one file with the weights in it, for images in batches of any size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
FILE = "model.onnx"


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    import torch

    # The exporter warns that torchvision is missing, and of deprecated calls inside torch itself.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (images,),
            str(folder / FILE),
            input_names=["images"],
            output_names=["scores"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
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
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def runner(model: Any) -> Callable[[Tensor], Tensor]:
        return lambda images: torch.from_numpy(model.run(None, {"images": images.numpy()})[0])

    return {"onnx": runner(ReferenceEvaluator(path)), "onnxruntime": runner(session)}
