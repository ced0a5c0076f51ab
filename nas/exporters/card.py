"""The README.md of an exported folder: figures of the network, and lines that load it."""

from __future__ import annotations

from collections.abc import Sequence

from nas.exporters.variants import ExportedNetwork, Variant
from nas.graph.cost import cost
from nas.graph.graph import shape_text


def model_card(
    title: str,
    network: ExportedNetwork,
    variant: Variant,
    text: str,
    *,
    about: str = "",
    rows: Sequence[tuple[str, str]] = (),
    weights: bool = False,
    normalisation: str = "",
) -> str:
    """Return the card as Markdown.

    text: the paragraph below the table of figures; about: a line above the genotype; rows: figures
    above those that every network has; weights: whether the folder holds them; normalisation: a
    sentence on how to prepare images.
    """
    graph, figures = network.graph, cost(network.graph)
    classes, channels = graph.output_shape[0], graph.input_shape[0]
    own = [
        ("parameters", f"{figures.params:,}"),
        ("FLOPs", f"{figures.flops:,} multiply-adds of convolutions and linear layers, one image"),
        ("input", f"{shape_text(graph.input_shape)}, {classes} classes"),
        ("digest", network.genotype.digest),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in (*rows, *own))
    imports = "from safetensors.torch import load_file\n\n" if weights else ""
    load = '\nnetwork.load_state_dict(load_file("model.safetensors"))\nnetwork.eval()' if weights else ""
    above = f"{about}\n\n" if about else ""
    below = f"\n{normalisation}\n" if normalisation else ""
    return f"""# {title}{variant.title}

{above}    {network.genotype}

| | |
|---|---|
{table}

{text}

```python
{imports}from network import Network

network = Network(num_classes={classes}, in_chans={channels}){load}
```
{below}"""


def normalisation_text(mean: Sequence[float], std: Sequence[float]) -> str:
    """Return the sentence on normalisation. Mean and standard deviation are per channel, of pixels from
    0 to 1."""
    shown = [[round(value, 4) for value in values] for values in (mean, std)]
    return f"Normalise inputs as `(x / 255 - mean) / std` with mean {shown[0]} and std {shown[1]}."
