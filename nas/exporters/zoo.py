"""Export of zoo networks: PyTorch files, with published weights if a file of them is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import __version__
from nas.codegen.source import source
from nas.errors import NasError
from nas.exporters.formats import load_formats
from nas.exporters.options import PLAIN, FormatOptions
from nas.exporters.publish import ExportedFolder, Package, publish
from nas.exporters.variants import DEEPEST, WHOLE, ExportedNetwork, Variant, make_variant, task_of
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.zoo import Entry

if TYPE_CHECKING:
    from torch import Tensor

SEED = 0
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Normalisation that torchvision's published weights expect. GoogLeNet's differ, because they were
ported from a network that takes pixels from -1 to 1."""


def export_zoo(
    entry: Entry,
    to: Path,
    weights: Path | None = None,
    variant: Variant = WHOLE,
    formats: Sequence[str] = (),
    options: FormatOptions = PLAIN,
) -> ExportedFolder:
    """Write a network of the zoo to a folder of its name in `to`, verified as in `nas.exporters.run`.

    `weights` is a file of weights in torchvision's names; without it the other `formats` hold random
    ones. Raises NasError if they belong to another network.
    """
    modules = load_formats(formats)
    state = _fresh(entry) if weights is None else _loaded(entry, weights)
    genotype = entry.build()
    try:
        made = make_variant(genotype, _shape(entry), entry.num_classes, state, variant)
    except RuntimeError as error:
        raise NasError(f"the weights do not fit {entry.name}: {error}", where=str(weights)) from error
    origin = weights.name if weights else "random" if modules else None
    held = {"weights": origin is not None, "weights_from": origin}
    if options.with_preprocessing and weights is None:
        hint = "the mean and deviation of the training images are not known"
        raise NasError("needs trained weights", where="--with-preprocessing", hint=hint)
    package = Package(
        folder=entry.name + variant.suffix,
        where=entry.name,
        source=source(made.graph),
        state=made.state,
        network=made.network,
        expected=cost(made.graph),
        about=about_zoo(entry, made, variant) | _published(entry, weights) | held | options.about(formats),
        keep_weights=origin is not None,
    )
    return publish([package], to, modules)[0]


def _shape(entry: Entry) -> tuple[int, int, int]:
    channels, height, width = entry.input_shape
    return channels, height, width


def _fresh(entry: Entry) -> Mapping[str, Tensor]:
    import torch

    from nas.codegen.build import build

    torch.manual_seed(SEED)
    return build(replace(entry.build(), auxiliary=()), _shape(entry), entry.num_classes).state_dict()


def _loaded(entry: Entry, weights: Path) -> Mapping[str, Tensor]:
    from nas.zoo.weights import from_torchvision, read_weights

    graph = expand(entry.build(), entry.input_shape, entry.num_classes)
    return from_torchvision(read_weights(weights), entry.name, graph, where=str(weights))


def about_zoo(entry: Entry, made: ExportedNetwork, variant: Variant = WHOLE) -> dict[str, Any]:
    """Return the entries of config.json for a network of the zoo."""
    return {
        "schema": 1,
        "name": entry.name + variant.suffix,
        "title": entry.name + variant.title,
        "zoo": entry.name,
        "about": entry.about,
        "task": task_of(made.graph),
        "digest": made.genotype.digest,
        "network": str(made.genotype),
        "genotype": made.genotype.to_dict(),
        "cost": asdict(cost(made.graph)),
        "input_shape": list(entry.input_shape),
        "num_classes": entry.num_classes,
        "column": DEEPEST if variant.column else None,
        "fold_bn": variant.fold_bn,
        "versions": {"nas": __version__},
    }


def _published(entry: Entry, weights: Path | None) -> dict[str, Any]:
    """Return the entries of config.json for published weights: their file, and how they take images."""
    if weights is None:
        return {}
    inception = entry.name.startswith(("googlenet", "inception"))  # torchvision's transform_input
    return {
        "weights_file": weights.name,
        "mean": [0.5] * 3 if inception else IMAGENET_MEAN,
        "std": [0.5] * 3 if inception else IMAGENET_STD,
    }
