"""Verification of exported folders, run as a script in a fresh process that cannot import `nas`.

Usage: python -I verify.py [--format FORMAT.py …] FOLDER …; prints one JSON object per folder. A folder
holds `network.py`, `reference.safetensors` (an input batch and the outputs of the trained network),
the weights, and the files of the formats in `nas.exporters.formats`. The script needs torch,
safetensors and the packages of the formats.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SOURCE = "network.py"
WEIGHTS = "model.safetensors"
REFERENCE = "reference.safetensors"


def verify(folder: Path, formats: Sequence[Path] = ()) -> dict[str, Any]:
    """Import the source, load the weights strictly, and measure.

    Returns params, flops (multiply-adds of one image, half of torch's own counter),
    difference (the largest deviation from the reference outputs, relative to their size
    where that is above 1), and formats (that of each format, over batches of several sizes).
    """
    import torch
    from safetensors.torch import load_file
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    reference = load_file(folder / REFERENCE)
    images, expected = reference["images"], reference["outputs"]
    module = _load(folder / SOURCE)
    network = module.Network(num_classes=expected.shape[1], in_chans=images.shape[1])
    network.load_state_dict(load_file(folder / WEIGHTS), strict=True)
    network.eval()
    with torch.no_grad():
        scale = max(1.0, expected.abs().max().item())
        difference = (network(images) - expected).abs().max().item() / scale
        with FlopCounterMode(display=False) as counter:
            network(images[:1])
        by_format = {
            name: max(_differences(run, images, expected)) / scale
            for path in formats
            for name, run in _load(path).runners(folder).items()
        }
    params = sum(parameter.numel() for parameter in network.parameters())
    flops = counter.get_total_flops() // 2
    return {"params": params, "flops": flops, "difference": difference, "formats": by_format}


def _differences(run: Callable[[Any], Any], images: Any, expected: Any) -> Iterator[float]:
    """Yield the deviation for one image, for all, and for more than the format was written with."""
    for times in (1, len(images), len(images) + 1):
        rows = [index % len(images) for index in range(times)]
        yield (run(images[rows]) - expected[rows]).abs().max().item()


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"exported_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(arguments: list[str]) -> None:
    """Verify each folder and print its result, or its error."""
    blocked: dict[str, Any] = sys.modules
    blocked["nas"] = None  # the import system then raises ImportError
    parser = argparse.ArgumentParser()
    parser.add_argument("--format", type=Path, action="append", default=[])
    parser.add_argument("folder", type=Path, nargs="*")
    asked = parser.parse_args(arguments)
    for folder in asked.folder:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # packages print, and stdout is for results
                result = verify(folder, asked.format)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
