"""Weights kept beside those in training: their moving average, and the best so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from nas.training.recipe import Recipe

RAMP = 10
"""Steps over which the decay grows: after t steps it is at most (1 + t) / (RAMP + t), so that the average
soon forgets the initial weights."""


def blend(step: int, decay: float) -> float:
    """Return the share of the new weights in the moving average after `step` earlier steps."""
    return 1 - min(decay, (1 + step) / (RAMP + step))


def best_epoch(curve: Sequence[Mapping[str, float]], patience: int) -> int:
    """Return the epoch, from 1, whose weights a training keeps: with a patience the first of the lowest
    validation error, else the last."""
    if not patience:
        return len(curve)
    return 1 + min(range(len(curve)), key=lambda i: curve[i]["val_error"])


def out_of_patience(curve: Sequence[Mapping[str, float]], recipe: Recipe) -> bool:
    """Return whether the last epochs, as many as the patience, have brought no lower validation error.

    Epochs of the warm-up do not count, because errors vary widely while the learning rate rises.
    """
    if not recipe.patience or not curve:
        return False
    since = max(best_epoch(curve, recipe.patience), math.ceil(recipe.warm_up * recipe.epochs))
    return len(curve) - since >= recipe.patience


def chosen_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the state dict of the network that a checkpoint would give, with averages or best weights."""
    kept = iter(state["kept"]["best"] or state["kept"]["average"])
    return {
        name: next(kept, value) if value.is_floating_point() else value
        for name, value in state["network"].items()
    }


class KeptWeights:
    """Copies of the weights and of the statistics of the norms, as a recipe asks.

    Attributes:
        live: The network's own tensors.
        average: Their moving averages; empty without `ema`.
        best: Those of the epoch with the lowest validation error; empty without `patience`.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        live = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
        trained = dict(network.named_parameters())
        self._statistics = [i for i, name in enumerate(live) if name not in trained]
        self.live = list(live.values())
        self.average = [value.clone() for value in self.live] if recipe.ema else []
        self.best = [value.clone() for value in self.live] if recipe.patience else []

    @property
    def tensors(self) -> dict[str, list[Tensor]]:
        """Return the copies by name, for a checkpoint."""
        return {"average": self.average, "best": self.best}

    @property
    def statistics(self) -> list[Tensor]:
        """Return the statistics of the norms, those of the network and their averages."""
        return [values[i] for values in (self.live, self.average) if values for i in self._statistics]

    def update(self, share: Tensor) -> None:
        """Move the averages towards the network by a share, a tensor of no dimension on their device."""
        for value, live in zip(self.average, self.live, strict=False):  # no averages without `ema`
            value.lerp_(live, share.to(value.dtype))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network have the averages inside the block, if there are any."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def keep_best(self) -> None:
        """Keep the weights that were validated last as the best."""
        _copy(self.best, self.average or self.live)

    def settle(self) -> None:
        """Give the network the weights to keep: the best, else the averages, else its own."""
        _copy(self.live, self.best or self.average or self.live)

    def _swap(self) -> None:
        for value, live in zip(self.average, self.live, strict=False):
            own = live.clone()
            live.copy_(value)
            value.copy_(own)


def _copy(to: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for place, value in zip(to, values, strict=True):
        place.copy_(value)
