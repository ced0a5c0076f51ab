"""The distinct networks of a frame of trials, and the sample that represents their space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.study.front import network_means

if TYPE_CHECKING:
    import pandas as pd

MIXED = "mixed"
ENOUGH = 20
"""Least number of uniform samples that are shown alone when a searcher chose the rest."""


def dominating_type(blocks: Sequence[str]) -> str:
    """Return the type of most blocks; "mixed" for a tie."""
    (name, most), *rest = Counter(blocks).most_common(2)
    return MIXED if rest and rest[0][1] == most else name


def distinct_networks(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row per distinct complete network, with the columns of its first trial, its mean `error`
    over all its trainings, whether any was a `uniform` draw, its dominating `type`, its `depth`
    in blocks, and the `cluster` in which it was drawn: a context, or itself. A network under several recipes
    has a row for each, and one cluster."""
    complete = trials[(trials["state"] == "complete") & trials["error"].notna()]
    first = network_means(complete)
    uniform = complete.groupby("digest", sort=False)["uniform"].any()
    of_context = [design.get("context") for design in first["design"]]
    runs = first["run"] if "run" in first else [0] * len(first)
    networks = first["network_digest"] if "network_digest" in first else first["digest"]
    rows = zip(runs, of_context, networks, strict=True)
    keys = [(run, context) if context is not None else network for run, context, network in rows]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return first.assign(
        uniform=uniform.to_numpy(bool),
        type=[dominating_type(blocks) for blocks in first["blocks"]],
        depth=[len(blocks) for blocks in first["blocks"]],
        cluster=[numbers[key] for key in keys],
    )


def sample_of(networks: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the networks that describe the space, and their description: the uniform draws if there are
    enough of them, else all."""
    uniform = networks["uniform"].to_numpy(bool)
    if uniform.all():
        return networks, "all networks; none was chosen by a result"
    if uniform.sum() >= ENOUGH:
        return networks[uniform], "the uniform samples alone"
    return networks, "all networks that the search visited, so they describe the search, not the space"
