"""A study as a table of trials, its distinct networks, and the sample that represents its space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.space.decisions import RECIPE
from nas.study.front import network_means

if TYPE_CHECKING:
    import pandas as pd

MIXED = "mixed"
ENOUGH = 20
"""Least number of uniform samples that are shown alone when a searcher chose the rest."""


def trial_table(source: Any) -> pd.DataFrame:
    """Return one row per trial: a study's frame with `blocks` and `decisions`, or the frame given.

    `own_recipe` holds the fields in which the recipe of a training differs from that of its search, and
    `network_digest` is the digest of the network alone, which may be trained under several. `usual` marks
    the trainings under the recipe of the study, `recipe_by_type` those whose recipe depended on the module
    type."""
    if hasattr(source, "frame"):
        columns = {
            "blocks": [trial.genotype.module_types for trial in source.trials],
            "decisions": [trial.decisions for trial in source.trials],
            "design": [trial.proposal.design for trial in source.trials],
            "network": [trial.genotype for trial in source.trials],
            "curve": [trial.curve for trial in source.trials],
            "own_recipe": [trial.recipe for trial in source.trials],
            "recipe_by_type": [_by_type(trial.recipe, trial.decisions) for trial in source.trials],
        }
        frame = source.frame(without=["genotype"]).assign(**columns, usual=True)
        alone = (t.genotype.network.digest if t.recipe else t.digest for t in source.trials)
        return frame.assign(network_digest=list(alone))
    frame = source.copy(deep=False)
    if "network_digest" not in frame:
        frame["network_digest"] = frame["digest"]
    if "own_recipe" not in frame:
        frame["own_recipe"] = [{}] * len(frame)
    if "recipe_by_type" not in frame:
        frame["recipe_by_type"] = False
    if "usual" not in frame:
        frame["usual"] = True
    if "blocks" not in frame:
        frame["blocks"] = [tuple(text.split("+")) for text in frame["module_types"]]
    if "design" not in frame:
        frame["design"] = [{}] * len(frame)
    return frame


def without_selected(trials: pd.DataFrame) -> pd.DataFrame:
    """Return trials of which none counts as a uniform draw where some were stopped: those that went on have
    been selected by their results."""
    return trials.assign(uniform=False) if (trials["state"] == "stopped").any() else trials


def _by_type(recipe: Mapping[str, Any], decisions: Mapping[str, Any]) -> bool:
    """Tell whether a field of a recipe is none of the decisions that all module types share."""
    return any(f"{RECIPE}{name}" not in decisions for name in recipe)


def refused(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return whether each trial was refused untrained; a table from elsewhere may lack reasons."""
    return frame.reindex(columns=["reason"])["reason"].eq("too_large")


def dominating_type(blocks: Sequence[str]) -> str:
    """Return the type of most blocks; "mixed" for a tie."""
    (name, most), *rest = Counter(blocks).most_common(2)
    return MIXED if rest and rest[0][1] == most else name


def distinct_networks(trials: pd.DataFrame, objectives: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per distinct complete network, with the columns of its first trial, its mean `error` and
    `objectives` over all its trainings, whether any was a `uniform` draw, its dominating `type`, its `depth`
    in blocks, and the `cluster` in which it was drawn: a context, or itself. A network under several recipes
    has a row for each, and one cluster."""
    complete = trials[(trials["state"] == "complete") & trials["error"].notna()]
    first = network_means(complete, objectives)
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
