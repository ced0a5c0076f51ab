"""Adaptation of a space to the size of its images: a stem that reduces large ones, and limits that grow.

A file declares both, by `stride: auto` of its stem and `at: HEIGHTxWIDTH` of a limit. A fitted specification
has neither: the settings of the stem and the limits that follow stand in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from nas.errors import NasError
from nas.formatting import metric
from nas.graph.graph import Shape, shape_text
from nas.graph.ops import MAX_SIZE
from nas.modules import Stem
from nas.modules.stems import Reduction
from nas.space.spec import AUTO, Limits, SpaceSpec, options_of

TOTAL_REDUCTION = 32
"""Most by which stem and stages reduce an image together, as networks for ImageNet do (224 to 7 pixels)."""
LEAST_SIDE = 4
"""Pixels of the smallest image; of smaller ones a 3x3 convolution sees little but its padding."""
BOUND = {"min": "at least", "max": "at most"}


def fitted(declared: SpaceSpec, input_shape: Shape, num_classes: int) -> SpaceSpec:
    """Return a specification for images of this shape. NasError if they are too small."""
    size = input_shape[1:]
    if min(size) < LEAST_SIDE:
        message = f"images of {shape_text(size)} pixels are too small"
        hint = f"at least {LEAST_SIDE}x{LEAST_SIDE}; every shipped space takes 8x8 and more"
        raise NasError(message, where="input", hint=hint)
    limits = {name: _scaled(declared, limit, size) for name, limit in declared.constraints.items()}
    update = {"input": tuple(input_shape), "classes": num_classes, "constraints": limits}
    return declared.model_copy(update={**update, "stem": _stem(declared, size)})


def adaptations(declared: SpaceSpec, input_shape: Shape) -> list[tuple[str, str]]:
    """Return a label and a text for each part of a space that differs for images of this shape."""
    size, rows = input_shape[1:], list[tuple[str, str]]()
    if reduction := _reduction(declared, size):
        kernels = options_of(_stem(declared, size).get("kernel", 3), {})
        text = f"{' or '.join(f'{kernel}x{kernel}' for kernel in kernels)} conv of stride "
        text += str(reduction.settings["stride"])
        text += ", 3x3 max pool of stride 2" if reduction.settings.get("pool") else ""
        rows.append(("stem", f"{text}: {shape_text(size)} to {shape_text(_first_map(declared, size))}"))
    for name, limit in declared.constraints.items():
        for kind, figure in _scaled(declared, limit, size).bounds().items():
            asked = limit.bounds()[kind]
            if limit.at is not None and figure != asked:
                given = f"{metric(asked)} at {shape_text(limit.at)}, scaled by pixels"
                text = f"{name} {BOUND[kind]} {metric(figure)} ({given})"
                rows.append(("limit", text))
    if "input" in declared.model_fields_set and declared.input != input_shape:
        text = f"{shape_text(input_shape)}, as the images are; the file says {shape_text(declared.input)}"
        rows.append(("input", text))
    return rows


def reduced_size(declared: SpaceSpec, size: Sequence[int]) -> list[int] | None:
    """Return height and width to which a stem of `stride: auto` would reduce images, None if it would not."""
    if not declared.stem:
        return None
    spec = declared.model_copy(update={"stem": {**declared.stem, "stride": AUTO}})
    return _first_map(spec, size) if _reduction(spec, size) else None


def _stem(spec: SpaceSpec, size: Sequence[int]) -> dict[str, Any]:
    """Return the settings of the stem for images of a size; what the file sets is kept."""
    settings = {key: value for key, value in spec.stem.items() if (key, value) != ("stride", AUTO)}
    reduction = _reduction(spec, size)
    return {**settings, **(reduction.settings if reduction else {}), **settings}


def _reduction(spec: SpaceSpec, size: Sequence[int]) -> Reduction | None:
    """Return how a stem of `stride: auto` reduces images of a size, None if it does not."""
    if spec.stem.get("stride") != AUTO:
        return None
    stages = prod(max(stage.stride) for stage in spec.stages)
    kernels = options_of(spec.stem.get("kernel", MAX_SIZE), {})
    cls: Any = Stem.registry[spec.stem["type"]]
    fitting = [
        reduction
        for reduction in cls.reductions
        if min(size) >= reduction.least
        and reduction.factor * stages <= TOTAL_REDUCTION
        and min(kernels) >= reduction.settings["stride"]
    ]
    return fitting[-1] if fitting else None


def _first_map(spec: SpaceSpec, size: Sequence[int]) -> list[int]:
    """Return height and width of the feature map that stage 1 takes."""
    reduction = _reduction(spec, size)
    return [-(-pixels // (reduction.factor if reduction else 1)) for pixels in size]


def _scaled(spec: SpaceSpec, limit: Limits, size: Sequence[int]) -> Limits:
    """Return a limit that grows with the pixels that stage 1 takes, from the size that it is given at."""
    if limit.at is None:
        return limit
    here, there = (prod(_first_map(spec, pixels)) for pixels in (size, limit.at))
    grown = {kind: figure * max(here, there) // there for kind, figure in limit.bounds().items()}
    return Limits(min=grown.get("min"), max=grown.get("max"))
