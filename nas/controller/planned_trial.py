"""A trial before its training, and the recorded trial made from a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas.formatting import unicode_text
from nas.graph.cost import Cost
from nas.study.trial import Proposal, Trial
from nas.training.task import Result


@dataclass(frozen=True)
class PlannedTrial:
    """A proposal with its number and everything known about it before training."""

    number: int
    proposal: Proposal
    cost: Cost
    decisions: Mapping[str, Any]
    seed: int

    def trial(self, result: Result, epochs: int, before: Trial | None = None) -> Trial:
        """Return the trial of a result.

        epochs: the full budget. before: how the trial stood at its last rung, where its training had paused.
        """
        curve = (*before.curve, *result.curve) if before else result.curve
        return Trial(
            number=self.number,
            proposal=self.proposal,
            state=result.state,
            cost=self.cost,
            decisions=self.decisions,
            seed=self.seed,
            epochs=len(curve) if result.state == "stopped" else epochs,
            reason=result.reason,
            message=unicode_text(result.message),
            error=result.error,
            duration=result.duration + (before.duration if before else 0.0),
            retries=result.retries + (before.retries if before else 0),
            curve=curve,
            latency=result.latency,
            measured=result.measured,
            class_errors=result.class_errors,
            rung_order=before.rung_order if before else (),
        )

    def copy_of(self, earlier: Trial) -> Trial:
        """Return this trial with the result of an earlier training of its network."""
        return replace(
            earlier,
            number=self.number,
            proposal=self.proposal,
            cost=self.cost,
            decisions=self.decisions,
            duration=0.0,
            retries=0,
            rung_order=(),
            duplicate_of=earlier.number if earlier.duplicate_of is None else earlier.duplicate_of,
        )


def training_seed(seed: int, number: int) -> int:
    """Return the seed that trial `number` is trained with in a search of this seed."""
    return int(np.random.default_rng([seed, number, 1]).integers(2**31))
