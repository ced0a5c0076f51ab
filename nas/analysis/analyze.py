"""Analysis of a study: which module types matter, graded by what the data support."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from nas.analysis.claims.grades import count_grades
from nas.analysis.comparison import FLOPS_BINS, Comparison, compare
from nas.analysis.factors.factors import Factors, factors_of
from nas.analysis.factors.motifs import MotifEffect, explain
from nas.analysis.factors.motifs import motifs as count_motifs
from nas.analysis.factors.ped_anova import top_quantile
from nas.analysis.paired.blocks import read_blocks
from nas.analysis.paired.comparison import PairedComparison, compare_blocks
from nas.analysis.paired.evidence import Evidence, last_falls
from nas.analysis.samples import samples_of
from nas.analysis.table import refused, trial_table, without_selected
from nas.analysis.unpaired import UnpairedContrast
from nas.formatting import count
from nas.space.genotype import expand
from nas.stats.resampling import Ints, log_bins

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
    frame = without_selected(frame)
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
    return tuple(compare(name, networks, rng) for name, networks in samples_of(frame))


def _notes(frame: pd.DataFrame, unpaired: pd.DataFrame) -> tuple[str, ...]:
    """Return the caveats that a reader needs to interpret the figures."""
    notes = []
    uniform = unpaired.groupby("candidate")["uniform"].any()
    if (frame["state"] == "stopped").any():
        notes.append(STOPPED)
    elif not uniform.all():
        notes.append(ADAPTIVE if uniform.any() else NO_UNIFORM)
    untrained = refused(frame)
    if ((frame["state"] == "failed") & ~untrained).any():
        notes.append(FAILURES)
    if untrained.any():
        notes.append(REFUSALS)
    return tuple(notes)
