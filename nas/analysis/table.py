"""The distinct networks of a frame of trials, and the sample that speaks of their space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.analysis.front import network_means

if TYPE_CHECKING:
    import pandas as pd

MIXED = "mixed"
ENOUGH = 20
"""Uniform samples from which on they alone are shown, where a searcher chose the rest."""


def dominating_type(blocks: Sequence[str]) -> str:
    """Return the type of most blocks; "mixed" where two have as many."""
    (name, most), *rest = Counter(blocks).most_common(2)
    return MIXED if rest and rest[0][1] == most else name


def distinct_networks(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row per distinct complete network, with the columns of its first trial, its mean `error`
    over all its trainings, whether any was a `uniform` draw, its dominating `type`, its `depth`
    in blocks, and the `cluster` in which it was drawn: a context, or itself."""
    complete = trials[(trials["state"] == "complete") & trials["error"].notna()]
    first = network_means(complete)
    uniform = complete.groupby("digest", sort=False)["uniform"].any()
    of_context = [design.get("context") for design in first["design"]]
    runs = first["run"] if "run" in first else [0] * len(first)
    keys = [(r, c) if c is not None else at for at, (r, c) in enumerate(zip(runs, of_context, strict=True))]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return first.assign(
        uniform=uniform.to_numpy(bool),
        type=[dominating_type(blocks) for blocks in first["blocks"]],
        depth=[len(blocks) for blocks in first["blocks"]],
        cluster=[numbers[key] for key in keys],
    )


def sample_of(networks: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the networks that describe the space, and what they are in words: the uniform draws where
    there are enough of them, else all."""
    uniform = networks["uniform"].to_numpy(bool)
    if uniform.all():
        return networks, "all networks; none was chosen by a result"
    if uniform.sum() >= ENOUGH:
        return networks[uniform], "the uniform samples alone"
    return networks, "all networks that the search visited, so they describe the search, not the space"
