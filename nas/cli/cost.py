"""nas cost: count what a network costs at an input size."""

from __future__ import annotations

from dataclasses import asdict

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit
from nas.graph.graph import shape_text
from nas.zoo.network_file import network_file, read_network, zoo_network


@click.command("cost", epilog="Example: nas cost resnet18 --input 3x64x64 --classes 10")
@click.argument("target", metavar="NAME|FILE", shell_complete=complete.networks)
@click.option(
    "--input",
    "shape",
    type=options.InputShape(),
    help="Size of an image. Default: the paper's, the one in FILE, or 3x32x32.",
)
@click.option(
    "--classes",
    type=click.IntRange(min=1),
    help="Number of classes. Default: the paper's, that of FILE, or 10.",
)
@options.as_json
def command(target: str, shape: tuple[int, int, int] | None, classes: int | None, as_json: bool) -> None:
    """Count parameters, FLOPs, activations and peak activation memory of a network, for one image.

    NAME is a network of the zoo; FILE a genotype in JSON, an exported folder, or the config.json of one.
    """
    from nas.graph.cost import cost
    from nas.space.genotype import expand

    file = network_file(target)
    network = zoo_network(target) if file is None else read_network(file)
    parsed, image, count = network.genotype, shape or network.input_shape, classes or network.num_classes
    figures = asdict(cost(expand(parsed, image, count)))
    size = shape_text(image)
    if as_json:
        emit({"digest": parsed.digest, "input_shape": list(image), "num_classes": count, **figures})
        return
    echo(f"genotype     {parsed}")
    echo(f"digest       {parsed.digest}")
    echo(f"input        {size}, {count} classes")
    echo(f"parameters   {figures['params']:,}")
    echo(f"FLOPs        {figures['flops']:,} multiply-adds of convolutions and linear layers")
    echo(f"activations  {figures['activations']:,} outputs of the same layers")
    echo(f"peak memory  {figures['peak_memory']:,} bytes of feature maps alive at once")
