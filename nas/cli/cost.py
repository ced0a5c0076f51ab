"""nas cost: what a genotype costs at an input size."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from nas.cli import options
from nas.cli.output import emit


@click.command("cost")
@click.argument("genotype", type=click.Path(path_type=Path), metavar="GENOTYPE.json")
@click.option(
    "--input", "shape", type=options.InputShape(), default="3x32x32", show_default=True, help="One image."
)
@click.option(
    "--classes", type=click.IntRange(min=1), default=10, show_default=True, help="How many classes."
)
@options.as_json
def command(genotype: Path, shape: tuple[int, int, int], classes: int, as_json: bool) -> None:
    """Parameters, FLOPs, activations and peak activation memory of a genotype, for one image."""
    from nas.complexity import cost
    from nas.genotype import Genotype, expand

    parsed = Genotype.from_json(options.read_text(genotype), where=str(genotype))
    figures = asdict(cost(expand(parsed, shape, classes)))
    size = "x".join(map(str, shape))
    if as_json:
        emit({"digest": parsed.digest, "input_shape": list(shape), "num_classes": classes, **figures})
        return
    click.echo(f"genotype     {parsed}")
    click.echo(f"digest       {parsed.digest}")
    click.echo(f"input        {size}, {classes} classes")
    click.echo(f"parameters   {figures['params']:,}")
    click.echo(f"FLOPs        {figures['flops']:,} multiply-adds of convolutions and linear layers")
    click.echo(f"activations  {figures['activations']:,} outputs of the same layers")
    click.echo(f"peak memory  {figures['peak_memory']:,} bytes of feature maps alive at once")
