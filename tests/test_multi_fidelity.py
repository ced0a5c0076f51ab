"""The short form of benchmarks/multi_fidelity.py: what halving has found when it has had little compute."""

from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RUNGS = (1, 3, 9)


@pytest.mark.slow
def test_a_third_of_the_compute_brings_nearly_all_of_the_front(monkeypatch):
    """On made-up curves, beside the same search in which every network is trained fully."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from multi_fidelity import Job, judged, search

    parts = []
    for seed in range(4):
        full, halved = (search(Job("evolution", seed, 60, RUNGS, halves, True)) for halves in (False, True))
        parts.append(judged(full, halved, "test").after_part())
    without, with_halving = np.mean(parts, axis=0)
    assert with_halving > 0.94
    assert with_halving > without + 0.1
