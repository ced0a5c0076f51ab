"""Time and memory of the analysis of many trials, and of the few at the end of a short search.

    python benchmarks/analysis_scale.py [TRIALS]

builds synthetic trials (100,000 by default) over the space `all_modules` with real genotypes and
decisions and made-up errors and FLOPs: three fifths of an adaptive search, a fifth of a balanced
and a fifth of a paired design, one in fifty failed, one in ten a network seen before. It prints
the seconds of processor time and of the clock and the peak memory of the process, genotypes
included, and exits with 1 where the analysis takes more than 30 s or 2 GB, or that of the first
24 trials 2 s.
"""

from __future__ import annotations

import hashlib
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from nas.analysis.analyze import analyze
from nas.analysis.text.ranking import analysis_dict, analysis_text
from nas.space.genotype import Genotype
from nas.space.load import load_space
from nas.space.space import SearchSpace

TYPES = ("plain", "residual", "bottleneck", "resnext", "fractal")
COST = {"plain": 9, "residual": 18, "bottleneck": 5, "resnext": 6, "fractal": 30, "inception": 8}
EFFECT = {"plain": 0.03, "fractal": 0.01, "max_pool": 0.06, "inception": 0.01}
CELL = 2 * 2 * len(TYPES)
"""Trainings of a context: arms, seeds, types."""


def draw(space: SearchSpace, rng: np.random.Generator, kind: str = "") -> tuple[Genotype, dict[str, Any]]:
    """A network, of one module type where it is given, and its decisions."""
    decisions: dict[str, Any] = {}

    def choose(path: str, options: Any) -> Any:
        fixed = kind and path.endswith(".type")
        decisions[path] = kind if fixed else options[int(rng.integers(len(options)))]
        return decisions[path]

    return space.build(choose), decisions


def trial(genotype: Genotype, decisions: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    kinds = genotype.module_types
    flops = sum(COST.get(kind, 1) * 1e5 * (1 + at) for at, kind in enumerate(kinds))
    pre = sum(value == "pre_activation" for value in decisions.values())
    error = 0.4 - 0.02 * np.log(flops / 1e6) + np.mean([EFFECT.get(kind, 0.0) for kind in kinds])
    error += -0.003 * pre + rng.normal(0, 0.01)
    failed = rng.random() < 0.02
    return {
        "state": "failed" if failed else "complete",
        "reason": "diverged" if failed else "",
        "error": None if failed else float(np.clip(error, 0.01, 0.99)),
        "flops": int(flops * rng.uniform(0.9, 1.1)),
        "params": int(flops / 100),
        "digest": hashlib.md5(repr(decisions).encode()).hexdigest(),
        "blocks": kinds,
        "decisions": decisions,
        "network": genotype,
        "design": {},
        "uniform": True,
        "seed": int(rng.integers(2**31)),
        "epochs": 10,
    }


def build(count: int, seed: int = 0) -> pd.DataFrame:
    space, rng, rows = load_space("all_modules"), np.random.default_rng(seed), []
    for number in range(3 * count // 5):
        again = rows and rng.random() < 0.1
        known = rows[rng.integers(len(rows))] if again else None
        row = trial(*((known["network"], known["decisions"]) if known else draw(space, rng)), rng)
        rows.append(row | {"uniform": number % 5 == 0})
    for number in range(count // 5):
        kind = TYPES[number % len(TYPES)]
        rows.append(trial(*draw(space, rng, kind), rng) | {"design": {"design": "balanced", "type": kind}})
    for context in range((count - len(rows)) // CELL):
        rows += block(space, context, rng)
    return pd.DataFrame(rows).assign(number=range(len(rows)))


def block(space: SearchSpace, context: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for kind in TYPES:
        for arm in ("same_shape", "equal_flops"):
            drawn = draw(space, np.random.default_rng([context, 5]), kind)
            for repeat in range(2):
                design = {
                    "design": "paired",
                    "context": context,
                    "type": kind,
                    "arms": [arm],
                    "repeat": repeat,
                }
                row = trial(*drawn, rng)
                rows.append(row | {"design": design, "digest": f"{row['digest'][:-1]}{arm[0]}"})
    return rows


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds of processor time, and of the clock."""
    before, start = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - before, time.perf_counter() - start


def main(count: int) -> int:
    frame = build(count)
    report: list[str] = []

    def whole() -> None:
        found = analyze(frame)
        analysis_dict(found)
        report.append(analysis_text(found))

    small = frame[:24]
    few, many = timed(lambda: analysis_text(analyze(small))), timed(whole)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(report[0])
    print(f"\n24 trials: {few[0]:.1f} s of processor time, {few[1]:.1f} s")
    print(f"{len(frame):,} trials: {many[0]:.1f} s of processor time, {many[1]:.1f} s, peak {memory:.2f} GiB")
    return int(few[0] > 2 or many[0] > 30 or memory > 2)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
