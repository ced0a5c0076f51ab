"""Analysis of a study: which module types matter, graded by what the data support."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from nas.analysis.claims.grades import count_grades
from nas.analysis.comparison import FLOPS_BINS, Comparison, Networks, compare
from nas.analysis.factors.factors import Factors, factors_of
from nas.analysis.factors.motifs import MotifEffect, explain
from nas.analysis.factors.motifs import motifs as count_motifs
from nas.analysis.factors.ped_anova import top_quantile
from nas.analysis.paired.blocks import read_blocks
from nas.analysis.paired.comparison import PairedComparison, compare_blocks
from nas.analysis.paired.evidence import Evidence, last_falls
from nas.analysis.unpaired import UnpairedContrast
from nas.formatting import count
from nas.space.decisions import RECIPE
from nas.space.genotype import expand
from nas.stats.resampling import Floats, Ints, log_bins

if TYPE_CHECKING:
    import pandas as pd

ESTIMAND = (
    "Change of validation error when every block of type a is replaced by type b, over the networks of the "
    "sample: raw, and at equal FLOPs and depth (by regression on smooth functions of log FLOPs and of depth, "
    "where both types occur). If networks mix types, the change is that of one block, over the observed "
    "mixtures; it does not extrapolate to networks of one type alone. Intervals are 95 %: raw by bootstrap "
    "over distinct networks, at equal FLOPs from robust standard errors (HC3)."
)
ADAPTIVE = (
    "The searcher chose networks by their results, so these figures describe what the search visited, not "
    "the space. Results of the uniform samples are shown separately."
)
NO_UNIFORM = (
    "The searcher chose networks by their results and kept no uniform samples, so these figures describe "
    "only what the search visited."
)
STOPPED = (
    "Some networks were stopped early in favour of others that learned faster. Only networks trained to the "
    "end are compared, so even the uniform draws are selected by results."
)
MOST_MOTIFS = 500
"""Networks whose motifs are counted."""

FACTOR_STREAM, MOTIF_STREAM = 1, 2
"""Streams of the generators of factors and motifs, so that they change no other figure."""

MOST_LINES, LONGEST = 8, 150
"""Claims that are printed of an analysis, and characters of each."""

FAILURES = "Failed runs are outcomes: they are counted by type, and errors describe the networks that train."
REFUSALS = "Networks that did not fit into memory were refused untrained: they are counted for no type."


@dataclass(frozen=True)
class Analysis:
    """Result of `analyze`.

    `paired` compares the types in paired contexts. `comparisons` compares them in all other trials: first in
    all networks, then in the uniform samples alone if a searcher steered some. `unpaired` compares the types
    of a table without contexts. `networks` counts the distinct complete networks. `motifs` are patterns in
    the graphs, ranked by their correlation with error at equal FLOPs. `factors` hold the share of the
    variance of error that each explains and what distinguishes the best share `top` of the networks; None if
    no decision varies. `repeated` counts complete runs of a network already trained. `of_table` is whether
    the results come from another trainer."""

    trials: int
    failed: int
    networks: int
    repeated: int
    paired: PairedComparison | None
    comparisons: tuple[Comparison, ...]
    factors: Factors | None
    top: float
    motifs: tuple[MotifEffect, ...]
    notes: tuple[str, ...]
    estimand: str = ESTIMAND
    unpaired: tuple[UnpairedContrast, ...] = ()
    of_table: bool = False

    @property
    def grade(self) -> dict[str, int]:
        """Number of contrasts by grade: those of the paired blocks, else those of all networks together."""
        if self.paired:
            return self.paired.grades
        return count_grades(self.comparisons[0].contrasts if self.comparisons else self.unpaired)

    def __repr__(self) -> str:
        """Return the counts and the claims, in at most ten lines."""
        lines = [f"Analysis of {count(self.trials, 'trial')}: {count(self.networks, 'distinct network')}"]
        rows = self.frame()
        for grade, claim in list(zip(rows["grade"], rows["claim"], strict=True))[:MOST_LINES]:
            lines.append(f"{grade}  {claim if len(claim) <= LONGEST else claim[: LONGEST - 1] + '…'}")
        if len(rows) > MOST_LINES:
            lines.append(f"… and {len(rows) - MOST_LINES} more: frame() has them all")
        return "\n".join(lines)

    def frame(self) -> pd.DataFrame:
        """Return one row per contrast, as `nas.analysis.contrasts_frame.contrasts_frame` does."""
        from nas.analysis.contrasts_frame import contrasts_frame

        return contrasts_frame(self)


def analyze(source: Any, *, seed: int = 0, evidence: Evidence | None = None) -> Analysis:
    """Compare the module types of a study, or of a DataFrame with the columns of `Study.frame`.

    A frame may also have `blocks` (a tuple, the type of each block; else the types joined by "+" in
    `module_types` count equally), `decisions` and `design` (mappings). Runs of one digest become one network
    with their mean error. Trials of a paired design are compared within their blocks; `evidence` is what
    other runs show about recipe and schedule. The same `seed` gives the same figures. Two threads compute, as
    one is in numpy most of its time; those of BLAS would wait for each other where anything else runs, and
    take three times as long.
    """
    with threadpool_limits(limits=1):
        return _analyze(trial_table(source), seed, evidence)


def _analyze(frame: pd.DataFrame, seed: int, evidence: Evidence | None) -> Analysis:
    if (frame["state"] == "stopped").any():
        frame = frame.assign(uniform=False)  # uniform draws have since been selected by their results
    candidates = frame[(frame["state"] == "complete") & frame["error"].notna()]
    frame, complete = (  # a recipe gives no further network
        part.assign(digest=part["network_digest"], candidate=part["digest"]) for part in (frame, candidates)
    )
    first = complete.drop_duplicates("digest")
    rng = np.random.default_rng(seed)
    in_blocks = np.array([design.get("design") == "paired" for design in frame["design"]], bool)
    usual = in_blocks & frame["usual"].to_numpy(bool)
    paired = _paired(frame[usual], evidence, rng) if usual.any() else None
    rest = frame[~in_blocks]
    with ThreadPoolExecutor(1) as pool:
        compared = pool.submit(_comparisons, rest, rng) if len(rest) or paired is None else None
        factors = factors_of(candidates, np.random.default_rng([seed, FACTOR_STREAM]))
        motifs = _motifs(complete, np.random.default_rng([seed, MOTIF_STREAM]))
        comparisons = compared.result() if compared else ()
    return Analysis(
        trials=len(frame),
        failed=int((frame["state"] == "failed").sum()),
        networks=len(first),
        repeated=len(complete) - len(first),
        paired=paired,
        comparisons=comparisons,
        factors=factors,
        top=top_quantile(len(first)),
        motifs=motifs,
        notes=_notes(frame, rest),
        estimand=paired.estimand if paired else ESTIMAND,
    )


def _paired(frame: pd.DataFrame, evidence: Evidence | None, rng: np.random.Generator) -> PairedComparison:
    if evidence is None:
        epochs = int(frame["epochs"].max()) if "epochs" in frame else 0
        evidence = Evidence(epochs=epochs, falls=last_falls(frame))
    return compare_blocks(read_blocks(frame), evidence, rng)


def _motifs(complete: pd.DataFrame, rng: np.random.Generator) -> tuple[MotifEffect, ...]:
    """Measure the motifs of distinct networks: within contexts at equal FLOPs if they are paired, else within
    FLOPs bins. A random part stands for very many networks."""
    if "network" not in complete:
        return ()
    arms = [design.get("arms", ("equal_flops",)) for design in complete["design"]]
    matched = complete[np.array(["equal_flops" in arm for arm in arms], bool)]
    mean = matched.groupby("digest")["error"].mean()
    first = matched.drop_duplicates("digest")
    if len(first) > MOST_MOTIFS:
        first = first.iloc[np.sort(rng.choice(len(first), MOST_MOTIFS, replace=False))]
    if not len(first):
        return ()
    runs = first["run"] if "run" in first else [0] * len(first)
    blocks = [(run, design.get("context")) for run, design in zip(runs, first["design"], strict=True)]
    bins = log_bins(first["flops"].to_numpy(float), FLOPS_BINS)[1].tolist()
    stratum = [i if block[1] is None else block for i, block in zip(bins, blocks, strict=True)]
    cluster = [i if block[1] is None else block for i, block in enumerate(blocks)]
    counts = np.array([list(count_motifs(expand(genotype)).values()) for genotype in first["network"]])
    cost = np.where([block[1] is None for block in blocks], first["flops"].to_numpy(float), 0.0)
    error = mean[first["digest"]].to_numpy(float)
    return explain(counts, error, _codes(stratum), _codes(cluster), rng, cost)


def _codes(keys: Sequence[Hashable]) -> Ints:
    """Number keys from 0; equal keys have equal numbers."""
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.intp)


def _comparisons(frame: pd.DataFrame, rng: np.random.Generator) -> tuple[Comparison, ...]:
    return tuple(compare(name, networks, rng) for name, networks in _samples(frame))


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


def _by_type(recipe: Mapping[str, Any], decisions: Mapping[str, Any]) -> bool:
    """Tell whether a field of a recipe is none of the decisions that all module types share."""
    return any(f"{RECIPE}{name}" not in decisions for name in recipe)


def _networks(complete: pd.DataFrame, counted: Mapping[str, tuple[int, int]]) -> Networks:
    """Return the distinct networks of complete runs, each with its mean error over them, and uniform if each
    of its candidates is.

    counted: runs and failed runs of each type."""
    first = complete.drop_duplicates("digest")
    row = complete["digest"].factorize()[0]
    runs = np.maximum(np.bincount(row, minlength=len(first)), 1)
    error = np.bincount(row, weights=complete["error"].to_numpy(float), minlength=len(first)) / runs
    steered = np.bincount(row, weights=~_drawn(complete), minlength=len(first))
    names = tuple(sorted(counted))
    return Networks(
        names=names,
        shares=_shares(first["blocks"].tolist(), names),
        error=error,
        flops=first["flops"].to_numpy(float),
        depth=np.array([len(blocks) for blocks in first["blocks"]], float),
        uniform=steered == 0,
        seed=first["seed"].to_numpy(np.intp),
        runs=counted,
        own_recipes=bool(complete["recipe_by_type"].any()),
    )


def _runs_by_type(frame: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Count the runs that hold each type, and how many of them failed.

    Networks refused for lack of memory never ran, so they say nothing about their types."""
    frame = frame[~_refused(frame)]
    blocks = frame["blocks"].tolist()
    names = sorted(set(chain.from_iterable(blocks)))
    holds = _block_counts(blocks, names) > 0
    failed = holds[(frame["state"] == "failed").to_numpy(bool)]
    counts = zip(holds.sum(axis=0).tolist(), failed.sum(axis=0).tolist(), strict=True)
    return dict(zip(names, counts, strict=True))


def _refused(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return whether each trial was refused untrained; a table from elsewhere may lack reasons."""
    return frame.reindex(columns=["reason"])["reason"].eq("too_large")


def _block_counts(blocks: Sequence[tuple[str, ...]], names: Sequence[str]) -> Ints:
    """Count the blocks of each type in each network, (n, types)."""
    number = {name: i for i, name in enumerate(names)}
    kind = np.fromiter(map(number.__getitem__, chain.from_iterable(blocks)), np.intp)
    row = np.repeat(np.arange(len(blocks)), np.fromiter(map(len, blocks), np.intp))
    cells = np.bincount(row * len(names) + kind, minlength=len(blocks) * len(names))
    return cells.reshape(len(blocks), len(names))


def _shares(blocks: Sequence[tuple[str, ...]], names: Sequence[str]) -> Floats:
    """Return the share of each type among the blocks of each network, (n, types)."""
    counts = _block_counts(blocks, names)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _drawn(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return whether any run of the candidate of each row was a uniform draw."""
    return np.asarray(rows.groupby("candidate")["uniform"].transform("any"), bool)


def _samples(frame: pd.DataFrame) -> list[tuple[str, Networks]]:
    """Return all networks, and separately those of the uniform draws, by these alone, if others are there."""
    complete = frame[(frame["state"] == "complete") & frame["error"].notna()]
    networks, drawn = _networks(complete, _runs_by_type(frame)), _drawn(complete)
    if len(drawn) and drawn.all():
        planned = all(design.get("design") == "balanced" for design in frame["design"])
        return [(f"{'a balanced sample' if planned else 'uniform samples'} of the space", networks)]
    samples = [("networks that the search visited", networks)]
    if drawn.any():
        runs = dict.fromkeys(networks.names, (0, 0)) | _runs_by_type(frame[frame["uniform"].astype(bool)])
        samples.append(("uniform samples alone", _networks(complete[drawn], runs)))
    return samples


def _notes(frame: pd.DataFrame, unpaired: pd.DataFrame) -> tuple[str, ...]:
    """Return the caveats that a reader needs to interpret the figures."""
    notes = []
    uniform = unpaired.groupby("candidate")["uniform"].any()
    if (frame["state"] == "stopped").any():
        notes.append(STOPPED)
    elif not uniform.all():
        notes.append(ADAPTIVE if uniform.any() else NO_UNIFORM)
    refused = _refused(frame)
    if ((frame["state"] == "failed") & ~refused).any():
        notes.append(FAILURES)
    if refused.any():
        notes.append(REFUSALS)
    return tuple(notes)
