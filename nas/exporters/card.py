"""The README.md of an exported folder, written from what is in the folder: figures, and code that runs.

Every block of Python in the card is also listed in a file for `nas.exporters.verify`, which runs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.exporters import verify as verification
from nas.formatting import count
from nas.graph.graph import shape_text

MOST_CLASSES = 20
"""Most class names that the card lists."""
FITS = {"crop": "their middle is cropped", "squash": "squashed", "pad": "padded with black"}
"""How an image of another shape is brought to that of the training, in words."""
LOAD = """\
{imports}from network import {name}

network = {name}(num_classes={classes:d}, in_chans={channels:d}){load}
"""


@dataclass(frozen=True)
class Block:
    """Lines of Python in the card, which leave a function `network` from inputs to scores.

    title: of their section.
    needs: packages without which they are not run.
    input: what `network` takes: "images" that are normalised, or "pixels", raw.
    weights: whether the network has its weights.
    """

    title: str
    code: str
    needs: Sequence[str] = ()
    input: str = "images"
    weights: bool = True


def write_card(folder: Path, formats: Sequence[Any]) -> None:
    """Write the card of a folder and the list of its code. `formats` are the modules of its formats."""
    about = json.loads((folder / verification.CONFIG).read_text())
    blocks = [_load_block(about)]
    for module in formats:
        blocks += [Block(**block) for block in getattr(module, "blocks", lambda _: [])(about)]
    front = "".join(module.front(folder.name, about) for module in formats if hasattr(module, "front"))
    script = (folder / verification.PREDICT).is_file()
    (folder / verification.CARD).write_text(front + _text(about, blocks, script))
    (folder / verification.LINES).write_text(json.dumps([asdict(block) for block in blocks]))


def _text(about: Mapping[str, Any], blocks: Sequence[Block], script: bool) -> str:
    above = [f"{about['about']}."] if about.get("about") else []
    parts = [f"# {about['title']}", *above, *_shown_genotype(about), _table(about), _state(about)]
    for block in blocks:
        parts += [f"## {block.title}", f"```python\n{block.code}```"]
    if script:
        masks = " It writes masks to `predicted_masks/`." if about.get("task") == "segmentation" else ""
        needs = f"It needs torch and Pillow alone.{masks}"
        parts += ["## Predict", "```sh\npython predict.py image.png\n```", needs]
    if "mean" in about:
        parts.append(_preparation(about))
    return "\n\n".join(parts) + "\n"


def _load_block(about: Mapping[str, Any]) -> Block:
    weights = about["weights"]
    imports = "from safetensors.torch import load_file\n\n" if weights else ""
    load = '\nnetwork.load_state_dict(load_file("model.safetensors"))\nnetwork.eval()' if weights else ""
    facts = {"name": about["class"], "classes": about["num_classes"], "channels": about["input_shape"][0]}
    return Block("Load", LOAD.format(imports=imports, load=load, **facts), weights=weights)


def _shown_genotype(about: Mapping[str, Any]) -> list[str]:
    return [f"    {about['network']}"] if about.get("network") else []


def _table(about: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in _rows(about))])


def _rows(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    training = about.get("training") or {}
    if about.get("measured"):
        yield "validation error", about["measured"]
    for part in ("val", "test"):
        if f"{part}_error" in training:
            name = "validation" if part == "val" else part
            yield f"{name} error", f"{error_text(training, part)} on {training['data']}"
    cost, shape = about["cost"], about["input_shape"]
    yield "parameters", f"{cost['params']:,}"
    yield "FLOPs", f"{cost['flops']:,} multiply-adds of convolutions and linear layers, one image"
    yield "input", f"{shape_text(shape)}, {about['num_classes']} classes"
    names = about.get("classes") or ()
    if names:
        more = f" and {len(names) - MOST_CLASSES} more, in `config.json`" if len(names) > MOST_CLASSES else ""
        yield "classes", ", ".join(names[:MOST_CLASSES]) + more
    if about.get("digest"):
        yield "digest", about["digest"]


def error_text(figures: Mapping[str, Any], part: str) -> str:
    """Return the error of a part, "val" or "test"; of masks, also what it is and the pixel accuracy."""
    accuracy = figures.get(f"{part}_pixel_accuracy")
    error = f"{figures[f'{part}_error']:.2%}"
    return error if accuracy is None else f"{error} (1 - mIoU; pixel accuracy {accuracy:.2%})"


def _state(about: Mapping[str, Any]) -> str:
    """Say where the weights come from, and what the figures are worth."""
    training = about.get("training")
    if training:
        start = f"the weights of `{training['start']}`" if training.get("start") else "random weights"
        tested = "The test set was read once, after the training." if "test_error" in training else ""
        kept = f", of which epoch {training['kept_epoch']} was the best," if "kept_epoch" in training else ""
        text = f"""\
`model.safetensors` holds the weights of a training of {count(training["epochs"], "epoch")}{kept} on
{training["data"]}, from {start}, seed {training["seed"]}. `training.json` has its curve and settings.
{tested}"""
        return text.strip()
    source = about.get("weights_from")
    weights = {
        None: "it comes without weights",
        "search": "the search's weights are in `model.safetensors`",
        "random": "the weights are random",
    }.get(source, f"`model.safetensors` holds the weights of `{source}`")
    if not about.get("measured"):
        return f"`network.py` needs torch only; {weights}. `nas train network.py --data NAME` trains it."
    return f"""\
The network was chosen by its validation error, which is therefore biased downwards, and its training was
short. `nas train network.py` trains it fully and reads the test set. The file needs torch only; {weights}."""


def _preparation(about: Mapping[str, Any]) -> str:
    mean, std = ([round(value, 4) for value in about[name]] for name in ("mean", "std"))
    _, height, width = about["input_shape"]
    fit = FITS[about.get("fit", "crop")]
    raw = ""
    if about.get("with_preprocessing"):
        raw = " The ONNX and torch.export files take pixels as they are, uint8 (n, channels, height, width)."
    return (
        f"Images are of {height} x {width} pixels (others are resized bicubically, and {fit}). "
        f"Normalise inputs as `(x / 255 - mean) / std` with mean {mean} and std {std}.{raw}"
    )
