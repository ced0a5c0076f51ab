"""Export of zoo networks: PyTorch files, with published weights if a file of them is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import __version__
from nas.errors import NasError
from nas.exporters.card import model_card, normalisation_text
from nas.exporters.formats import load_formats
from nas.exporters.publish import ExportedFolder, Package, publish
from nas.exporters.variants import DEEPEST, WHOLE, ExportedNetwork, Variant, make_variant
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
    about = _about(entry, made, variant, weights)
    package = Package(
        folder=entry.name + variant.suffix,
        where=entry.name,
        graph=made.graph,
        state=made.state,
        network=made.network,
        expected=cost(made.graph),
        about=about,
        card=_card(entry, made, variant, about, weights),
        keep_weights=weights is not None or bool(modules),
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


def _about(entry: Entry, made: ExportedNetwork, variant: Variant, weights: Path | None) -> dict[str, Any]:
    inception = entry.name.startswith("googlenet")
    published = {
        "weights_file": weights and weights.name,
        "mean": [0.5] * 3 if inception else IMAGENET_MEAN,
        "std": [0.5] * 3 if inception else IMAGENET_STD,
    }
    return {
        "schema": 1,
        "zoo": entry.name,
        "about": entry.about,
        "digest": made.genotype.digest,
        "genotype": made.genotype.to_dict(),
        "cost": asdict(cost(made.graph)),
        "input_shape": list(entry.input_shape),
        "num_classes": entry.num_classes,
        "column": DEEPEST if variant.column else None,
        "fold_bn": variant.fold_bn,
        "weights": weights is not None,
        **(published if weights else {}),
        "versions": {"nas": __version__},
    }


def _card(
    entry: Entry, made: ExportedNetwork, variant: Variant, about: Mapping[str, Any], weights: Path | None
) -> str:
    origin = f"`model.safetensors` holds those of `{weights.name}`" if weights else "the weights are random"
    return model_card(
        entry.name,
        made,
        variant,
        f"The file needs torch only; {origin}. `nas train network.py --data NAME` trains it.",
        about=f"{entry.about}.",
        weights=weights is not None,
        normalisation=normalisation_text(about["mean"], about["std"]) if weights else "",
    )
