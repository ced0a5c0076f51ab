"""The training of a search as a trainable of Ray Tune, and its checkpoints."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from nas.data import Dataset
from nas.errors import NasError
from nas.graph.cost import cost
from nas.modules import Component, Head, Module, Stem
from nas.plugins import send_own
from nas.space.candidate import trained_under
from nas.space.genotype import Genotype, expand
from nas.space.space import SearchSpace
from nas.training import checkpoint
from nas.training.recipe import Recipe, adjusted

if TYPE_CHECKING:
    from torch import nn

CHECKPOINT = "training.pt"
DECISIONS, SEED = "decisions", "seed"
"""Keys of a configuration: the decisions of the space, and the seed of the training."""

VARIED = tuple(field.name for field in fields(Recipe) if field.name != "epochs")
"""Fields of the recipe that a configuration may set; the epochs are the scheduler's."""


def genotype_of(space: SearchSpace, config: Mapping[str, Any]) -> Genotype:
    """Return the network of a configuration."""
    return space.build(lambda path, _: config[DECISIONS][path])


def own_types() -> list[type[Component]]:
    """Return stems, modules and heads of the user, for workers that do not know them."""
    send_own()
    kinds = (Stem, Module, Head)
    return [cls for kind in kinds for cls in kind.registry.values() if cls.__module__.split(".")[0] != "nas"]


def train_decisions(
    config: dict[str, Any],
    *,
    space: SearchSpace,
    dataset: Dataset,
    recipe: Recipe,
    types: Sequence[type[Component]] = (),
) -> None:
    """Train the network of a configuration, and report every epoch with a checkpoint.

    types: stems, modules and heads of the user.
    """
    import torch

    from nas.codegen.build import build
    from nas.training.loop import train

    for cls in types:
        cls.registry[cls.type_name] = cls
    genotype, seed = genotype_of(space, config), config.get(SEED, 0)
    figures = cost(expand(genotype, space.input_shape, space.num_classes))
    if twice := [name for name in varied(config) if name in space.spec.recipe]:
        raise NasError("is a decision of the space", where=twice[0], hint="leave it to one of the two")
    recipe = adjusted(trained_under(genotype, recipe), {name: config[name] for name in varied(config)})
    constant = {"flops": figures.flops, "params": figures.params}
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build(genotype, dataset.input_shape, dataset.num_classes)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / CHECKPOINT

        def report(row: Mapping[str, Any]) -> None:
            checkpoint.previous(path).unlink(missing_ok=True)
            tune.report({**row, **constant}, checkpoint=tune.Checkpoint.from_directory(scratch))

        _adopt(path, network, recipe, seed, varied(config))
        device = "cuda" if ray.get_gpu_ids() else "cpu"
        training = train(network, dataset, recipe, seed=seed, device=device, on_epoch=report, checkpoint=path)
    if training.diverged:
        tune.report({"epoch": len(training.curve) + 1, "val_error": math.nan, "diverged": True, **constant})


def varied(config: Mapping[str, Any]) -> list[str]:
    """Return the fields of the recipe that a configuration sets."""
    return [name for name in VARIED if name in config]


def curve(state: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a checkpoint, each with the fields of the recipe that its epoch was trained with."""
    fields = {name: state["identity"][name] for name in names}
    return [{**fields, **row} for row in state["curve"]]


def read_checkpoint(given: tune.Checkpoint) -> dict[str, Any]:
    """Return what the training saved; only tensors and plain values are unpickled."""
    with given.as_directory() as folder:
        state = checkpoint.load(Path(folder) / CHECKPOINT)
    if state is None:
        raise NasError("the checkpoint was not written by this trainable", where=str(given))
    return state


def _adopt(path: Path, network: nn.Module, recipe: Recipe, seed: int, names: Sequence[str]) -> None:
    """Continue from the checkpoint that Tune gives, if any.

    Population based training gives a trial the checkpoint of a better one, of another seed and recipe, so
    both are adopted.
    """
    from nas.training.loop import make_optimizer

    given = tune.get_checkpoint()
    if given is None:
        return
    state = read_checkpoint(given)
    state["curve"] = curve(state, names)
    settings = asdict(recipe)
    if recipe.precision == "auto":  # continue in the recorded one, which may be another machine's
        del settings["precision"]
    state["identity"] |= {"seed": seed, **settings}
    state["optimizer"]["param_groups"] = make_optimizer(network, recipe).state_dict()["param_groups"]
    checkpoint.save(path, state)
