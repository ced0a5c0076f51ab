"""Networks of the zoo as PyTorch files, with published weights where a file of them is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import __version__
from nas.errors import NasError
from nas.exporters.formats import load_formats
from nas.exporters.publish import Exported, Package, publish
from nas.exporters.variants import DEEPEST, WHOLE, Candidate, Form, in_form
from nas.graph.cost import cost
from nas.graph.graph import shape_text
from nas.space.genotype import expand
from nas.zoo import Entry

if TYPE_CHECKING:
    from torch import Tensor

SEED = 0
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""What torchvision's published weights expect images to be normalised by, but GoogLeNet's:
those were ported from a network that takes pixels from -1 to 1."""


def export_entry(
    entry: Entry,
    to: Path,
    weights: Path | None = None,
    form: Form = WHOLE,
    formats: Sequence[str] = (),
) -> Exported:
    """Write a network of the zoo to a folder of its name in `to`, verified as `nas.exporters.run` does.

    `weights` is a file in torchvision's names; without it the other `formats` hold random ones.
    NasError where they are of another network.
    """
    modules = load_formats(formats)
    state = _fresh(entry) if weights is None else _loaded(entry, weights)
    genotype = entry.build()
    try:
        made = in_form(genotype, _shape(entry), entry.num_classes, state, form)
    except RuntimeError as error:
        raise NasError(f"the weights do not fit {entry.name}: {error}", where=str(weights)) from error
    about = _about(entry, made, form, weights)
    package = Package(
        folder=entry.name + form.suffix,
        where=entry.name,
        graph=made.graph,
        state=made.state,
        network=made.network,
        expected=cost(made.graph),
        about=about,
        card=_card(entry, made, form, about, weights),
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


def _about(entry: Entry, made: Candidate, form: Form, weights: Path | None) -> dict[str, Any]:
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
        "column": DEEPEST if form.column else None,
        "fold_bn": form.fold_bn,
        "weights": weights is not None,
        **(published if weights else {}),
        "versions": {"nas": __version__},
    }


def _card(entry: Entry, made: Candidate, form: Form, about: Mapping[str, Any], weights: Path | None) -> str:
    figures = cost(made.graph)
    size, classes = shape_text(entry.input_shape), entry.num_classes
    column = ", its deepest column alone" if form.column else ""
    folded = ", batch norms folded for inference" if form.fold_bn else ""
    origin = f"`model.safetensors` holds those of `{weights.name}`" if weights else "the weights are random"
    imports = "from safetensors.torch import load_file\n\n" if weights else ""
    load = '\nnetwork.load_state_dict(load_file("model.safetensors"))\nnetwork.eval()' if weights else ""
    normalised = (
        f"\ntorchvision's published weights expect pixels from 0 to 1, less {about['mean']} and divided by "
        f"{about['std']}, a figure a channel.\n"
        if weights
        else ""
    )
    return f"""# {entry.name}{column}{folded}

{entry.about}.

    {made.genotype}

| | |
|---|---|
| parameters | {figures.params:,} |
| FLOPs | {figures.flops:,} multiply-adds of convolutions and linear layers, one image |
| input | {size}, {classes} classes |
| digest | {made.genotype.digest} |

The file needs torch only; {origin}. `nas train network.py --data NAME` trains it.

```python
{imports}from network import Network

network = Network(num_classes={classes}, in_chans={entry.input_shape[0]}){load}
```
{normalised}"""
