"""Claims against known truth: are intervals, tests, grades and plans what they say?

    python benchmarks/claims.py [REPETITIONS] [PROCESSES]

analyses tables made by generators of known truth through `nas.analyze`, as anybody would, and prints for each
generator and number of contexts the coverage of the 95 % intervals, the family-wise error of all contrasts
where no type differs, the share of contrasts graded A or B with the wrong sign, and the power beside that of
the plan for two types. It exits with 1 where one misses its target. The default is 400 repetitions in one
process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from testing.generators import NOISES, Truth, table, with_evidence

import nas
from nas.analysis.paired.contrast import PairedContrast
from nas.formatting import table_of, to_text
from nas.stats import power

CONTEXTS = (20, 50)
DIFFERENT = (0.0, 0.0, 0.004, 0.012)
"""Mean errors of the types where they differ."""

WIDE = (0.5, 1.0, 1.0, 2.0)
"""Scales of the noise of the types where they are heteroscedastic."""

SLOPES = (0.0, 0.004, -0.004, 0.008)
EXTREME = "lognormal 1"


@dataclass
class Counts:
    """What the repetitions of one generator came to."""

    covered: int = 0
    intervals: int = 0
    families: int = 0
    wrong_families: int = 0
    claims: int = 0
    wrong_claims: int = 0
    found: int = 0
    studies: int = 0
    planned: float = 0.0


def generators() -> Iterator[tuple[str, Truth]]:
    """The generators by name."""
    for noise in NOISES:
        yield noise, Truth(noise=noise)
        yield f"{noise}, heteroscedastic", Truth(noise=noise, scales=WIDE)
    yield "interaction with depth", Truth(slopes=SLOPES)
    yield "interaction with width", Truth(width_slopes=SLOPES)
    yield "interaction, gamma, heteroscedastic", Truth(noise="gamma", scales=WIDE, slopes=SLOPES)
    yield "two seeds", Truth(seeds=2)
    yield "2 % fail at random", Truth(seeds=2, failing=0.02)
    yield "the last type diverges where it is worst", Truth(diverging=0.4)
    yield "lognormal of extreme skew", Truth(noise=EXTREME)
    yield "the same, heteroscedastic", Truth(noise=EXTREME, scales=WIDE)


def contrasts(truth: Truth, rng: np.random.Generator, *, evidence: bool = False) -> list[PairedContrast]:
    """The contrasts of one table."""
    frame = table(truth, rng)
    paired = nas.analyze(with_evidence(frame) if evidence else frame, seed=int(rng.integers(2**31))).paired
    assert paired is not None
    return list(paired.contrasts)


def repeat(truth: Truth, repetitions: Iterable[int], stream: int) -> Counts:
    """Tables without and with differences, and plans for two types."""
    counts = Counts()
    for at in repetitions:
        rng = np.random.default_rng([stream, truth.contexts, at])
        _null(counts, truth, rng)
        _different(counts, replace(truth, effects=DIFFERENT), rng)
        if not truth.diverging:
            _planned(counts, truth, rng)
    return counts


def _null(counts: Counts, truth: Truth, rng: np.random.Generator) -> None:
    found = contrasts(truth, rng)
    if truth.diverging:
        return
    counts.families += 1
    counts.wrong_families += any(c.separated for c in found)
    counts.intervals += len(found)
    counts.covered += sum(c.effect.low <= 0 <= c.effect.high for c in found)


def _different(counts: Counts, truth: Truth, rng: np.random.Generator) -> None:
    effects = dict(zip(truth.types, truth.effects, strict=True))
    if truth.diverging:
        effects_of_last = dict(effects) | {truth.types[-1]: 0.004}
        truth = replace(truth, effects=tuple(effects_of_last.values()))
        effects = effects_of_last
    for c in contrasts(truth, rng, evidence=True):
        true = effects[c.b] - effects[c.a]
        if not truth.diverging:
            counts.intervals += 1
            counts.covered += c.effect.low <= true <= c.effect.high
        if c.grade in "AB" and c.separated:
            counts.claims += 1
            counts.wrong_claims += c.effect.value * true < 0


def _planned(counts: Counts, truth: Truth, rng: np.random.Generator) -> None:
    """Two types that differ by what the plan finds in 4 of 5 studies, in either direction."""
    last = {name: getattr(truth, name)[-2:] for name in ("scales", "slopes", "width_slopes")}
    two = replace(truth, **last, effects=(0.0, 0.0))
    effect = power.detectable(two.contexts, two.difference_sd(0, 1), two_tests=True)
    sign = 1 if rng.random() < 0.5 else -1
    (found,) = contrasts(replace(two, effects=(0.0, sign * effect)), rng)
    counts.studies += 1
    counts.found += found.separated and found.effect.value * sign > 0
    counts.planned += power.predicted(two.contexts, effect, two.difference_sd(0, 1), two_tests=True)


def main(repetitions: int, processes: int) -> int:
    columns = ("coverage %>", "family-wise %>", "A or B>", "wrong sign>", "power %>", "planned %>", "")
    shown = table_of("generator", "contexts>", *columns)
    missed = 0
    jobs = [
        (name, replace(truth, contexts=contexts), range(repetitions), stream)
        for contexts in CONTEXTS
        for stream, (name, truth) in enumerate(generators())
    ]
    with ProcessPoolExecutor(processes) as pool:
        for (name, truth, *_), found in zip(jobs, pool.map(_job, jobs), strict=True):
            row, good = _row(found, extreme=truth.noise == EXTREME)
            missed += not good
            shown.add_row(name, str(truth.contexts), *row)
            print(name, truth.contexts, *row, flush=True)
    print(to_text(shown, width=200))
    return 1 if missed else 0


def _job(job: tuple[str, Truth, Iterable[int], int]) -> Counts:
    return repeat(*job[1:])


def _row(found: Counts, *, extreme: bool) -> tuple[list[str], bool]:
    """The figures, and whether all hold. Of a finite number of repetitions each figure has an error, which
    two standard errors allow for. Of extreme skew less is asked: 90 % coverage, and no family-wise error, as
    the analysis says that p is approximate."""
    cells, good = [], found.wrong_claims <= max(1, found.claims) / 1000 + 2 * (found.claims / 1000) ** 0.5
    pairs = [(found.covered, found.intervals), (found.wrong_families, found.families)]
    for value, of in pairs:
        cells.append(f"{100 * value / of:.1f}" if of else "")
    cells += [str(found.claims), str(found.wrong_claims)]
    if found.studies:
        cells += [f"{100 * found.found / found.studies:.1f}", f"{100 * found.planned / found.studies:.1f}"]
        good &= abs(found.found - found.planned) / found.studies <= 0.05 + 0.04
    else:
        cells += ["", ""]
    if found.intervals:
        good &= (0.90 if extreme else 0.93) <= found.covered / found.intervals <= 0.975
        slack = 2 * (0.05 * 0.95 / found.families) ** 0.5
        good &= extreme or found.wrong_families / found.families <= 0.06 + slack
    return [*cells, "ok" if good else "MISSED"], bool(good)


if __name__ == "__main__":
    arguments = [int(value) for value in sys.argv[1:]]
    sys.exit(main(*arguments, *(400, 1)[len(arguments) :]))
