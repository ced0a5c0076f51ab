"""Verification of exported folders, run as a script in a fresh process that cannot import `nas`.

Usage: python -I verify.py [--format FORMAT.py …] FOLDER …; prints one JSON object per folder. A folder
holds `network.py`, `config.json`, `reference.safetensors` (random pixels, the images that they become, and
the outputs of the trained network), the weights, `lines.json` (the code of the card), and the files of the
formats in `nas.exporters.formats`. The script needs torch, safetensors and the packages of the formats.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SOURCE = "network.py"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
REFERENCE = "reference.safetensors"
LINES = "lines.json"
CARD = "README.md"
PREDICT = "predict.py"
FAR = 1e9
"""Deviation of outputs that have another shape."""


def verify(folder: Path, formats: Sequence[Path] = ()) -> dict[str, Any]:
    """Import the source, load the weights strictly, and measure.

    Returns params, flops (multiply-adds of one image, half of torch's own counter),
    difference (the largest deviation from the reference outputs, relative to their size
    where that is above 1), formats (that of each format, over batches of several sizes), lines (that of
    each block of code in the card, run as it is written), and unrun (packages that are missing, by block).
    """
    import torch
    from safetensors.torch import load_file
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    about = json.loads((folder / CONFIG).read_text())
    reference = load_file(folder / REFERENCE)
    images, expected = reference["images"], reference["outputs"]
    cls = getattr(_load(folder / SOURCE), about["class"])
    network = cls(num_classes=expected.shape[1], in_chans=images.shape[1])
    network.load_state_dict(load_file(folder / WEIGHTS), strict=True)
    network.eval()
    with torch.no_grad():
        scale = max(1.0, expected.abs().max().item())
        difference = (network(images) - expected).abs().max().item() / scale
        with FlopCounterMode(display=False) as counter:
            network(images[:1])
        by_format = {}
        for path in formats:
            module = _load(path)
            cases = list(_cases(module, about, reference, network))
            for name, run in module.runners(folder).items():
                by_format[name] = max(_differences(run, cases)) / scale
        if (folder / PREDICT).is_file():
            by_format[PREDICT] = _script_difference(_load(folder / PREDICT), reference)
        blocks = json.loads((folder / LINES).read_text())
        unrun = {block["title"]: ", ".join(_missing(block)) for block in blocks if _missing(block)}
        runnable = [block for block in blocks if block["title"] not in unrun]
        by_lines = {title: value / scale for title, value in _lines_differences(folder, runnable, reference)}
    params = sum(parameter.numel() for parameter in network.parameters())
    flops = counter.get_total_flops() // 2
    figures = {"params": params, "flops": flops, "difference": difference}
    return {**figures, "formats": by_format, "lines": by_lines, "unrun": unrun}


def _cases(module: Any, about: Mapping[str, Any], reference: Mapping[str, Any], network: Any) -> Any:
    """Yield pairs of inputs and outputs for a format: one image, all, and more than it was written with; and
    larger images where it takes any size."""
    raw = getattr(module, "RAW", False) and about.get("with_preprocessing")
    inputs = reference["pixels" if raw else "images"]
    for times in (1, len(inputs), len(inputs) + 1):
        rows = [index % len(inputs) for index in range(times)]
        yield inputs[rows], reference["outputs"][rows]
    if getattr(module, "ANY_SIZE", False) and about.get("dynamic_size"):
        larger = [reference[name].repeat(1, 1, 2, 2)[..., 1:] for name in ("pixels", "images")]
        yield larger[0 if raw else 1], network(larger[1])


def _differences(run: Callable[[Any], Any], cases: Sequence[Any]) -> Iterator[float]:
    for inputs, expected in cases:
        yield _difference(run(inputs), expected)


def _difference(outputs: Any, expected: Any) -> float:
    import torch

    outputs = torch.as_tensor(outputs)
    return (outputs - expected).abs().max().item() if outputs.shape == expected.shape else FAR


def _script_difference(script: Any, reference: Mapping[str, Any]) -> float:
    """Compare the probabilities of predict.py, from pixels on."""
    images = script.normalise(reference["pixels"], script.config())
    return _difference(script.predict(script.load(), images), reference["outputs"].softmax(1))


def _missing(block: Mapping[str, Any]) -> list[str]:
    return [name for name in block["needs"] if importlib.util.find_spec(name) is None]


def _lines_differences(
    folder: Path, blocks: Sequence[Mapping[str, Any]], reference: Mapping[str, Any]
) -> Iterator[tuple[str, float]]:
    """Run each block of code of the card as it stands there, and compare the `network` that it leaves.

    The blocks are read from a file of their own: what else is in the card may be a stranger's.
    """
    card = (folder / CARD).read_text()
    for block in blocks:
        if block["code"] not in card:
            raise ValueError(f"the card lacks the lines of {block['title']}")
        outputs, expected = _run_lines(block, folder, reference[block["input"]]), reference["outputs"]
        if block["weights"]:
            yield block["title"], _difference(outputs, expected)
        else:
            yield block["title"], 0.0 if outputs.shape == expected.shape else FAR


def _run_lines(block: Mapping[str, Any], folder: Path, inputs: Any) -> Any:
    """Run lines as a program that is started in the folder, and return the outputs of its `network`."""
    before, known, path = os.getcwd(), set(sys.modules), list(sys.path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        exec(compile(block["code"], CARD, "exec"), namespace)
        return namespace["network"](inputs)
    finally:
        os.chdir(before)
        sys.path[:] = path
        for name in set(sys.modules) - known:  # the next folder has modules of the same names
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


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
    for folder in (path.resolve() for path in asked.folder):
        try:
            with contextlib.redirect_stdout(sys.stderr):  # packages print, and stdout is for results
                result = verify(folder, asked.format)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
