"""Trials of a paired design with known effects."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nas.analysis.paired.evidence import Evidence

SEED_SD, CONTEXT_SD = 0.004, 0.004


def blocks(contexts=24, effect=0.02, raw=None, seeds=2, types=("plain", "residual"), rng=0, **changes):
    """Every type in every context: the last is better by `effect` at equal FLOPs and by `raw` (the
    same unless given) at the same shape, where it also has twice the FLOPs."""
    rng = np.random.default_rng(rng)
    rows = []
    for context in range(contexts):
        base = rng.uniform(0.2, 0.4)
        for at, kind in enumerate(types):
            own = rng.normal(0, CONTEXT_SD / np.sqrt(2))
            for arm in ("same_shape", "equal_flops"):
                better = (effect if arm == "equal_flops" or raw is None else raw) * (at == len(types) - 1)
                for repeat in range(seeds):
                    rows.append(
                        {
                            "number": len(rows),
                            "state": "complete",
                            "error": base + own - better + rng.normal(0, SEED_SD),
                            "flops": 10_000_000 * (1 + (arm == "same_shape" and at == len(types) - 1)),
                            "params": 1000 * (1 + at),
                            "digest": f"{context}-{kind}-{arm}",
                            "module_types": kind,
                            "blocks": (kind,) * (2 + context % 2),
                            "decisions": {f"{kind}.norm": ("after_conv", "none")[context % 3 == 0]},
                            "uniform": True,
                            "seed": 1000 * context + repeat,
                            "epochs": 8,
                            "design": {
                                "design": "paired",
                                "context": context,
                                "type": kind,
                                "arms": [arm],
                                "repeat": repeat,
                                "seed": 1000 * context + repeat,
                            },
                        }
                    )
    return pd.DataFrame(rows).assign(**changes)


RATES, DECAYS = (0.1, 0.2, 0.4), (1e-4, 5e-4, 1e-3)
USUAL = (0.2, 5e-4)
"""In the middle of the grid."""


def network_means(frame):
    """Mean error of each network, by digest."""
    return frame.groupby("digest")["error"].mean().to_dict()


def grid_of(frame, shift=0.02, **changes):
    """Errors by recipe on a 3x3 grid in whose middle every type is best by `shift`."""
    errors = network_means(frame)
    return {
        (rate, decay): {d: e + shift * ((rate, decay) != USUAL) for d, e in errors.items()}
        for rate in RATES
        for decay in DECAYS
    } | changes


def full_evidence(frame, **changes):
    """Evidence that opens grade A: learning curves at their plateau and tuned recipes."""
    complete = frame[frame["state"] == "complete"].astype({"error": float})
    falls = dict.fromkeys(("fractal", "plain", "residual"), 0.001)
    settings = {"epochs": 60, "falls": falls, "recipes": grid_of(complete), "usual": USUAL, "guess": 0.9}
    return Evidence(**settings | changes)
