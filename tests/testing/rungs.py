"""Trials at rungs, and trainings from rung to rung in memory."""

from __future__ import annotations

import numpy as np

from nas.graph.cost import Cost
from nas.study.trial import Proposal, Trial
from nas.training.task import Result, ignore

RUNGS = (1, 3, 9)


def trial_at_rung(space, number, errors, flops, decisions=None):
    """A trial after as many epochs as there are errors."""
    rows = tuple({"epoch": epoch, "val_error": error} for epoch, error in enumerate(errors, 1))
    return Trial(
        number=number,
        proposal=Proposal(space.sample(number), "random"),
        state="stopped",
        cost=Cost(0, flops, 0, 0),
        decisions=decisions or {},
        seed=number,
        epochs=len(rows),
        error=errors[-1],
        curve=rows,
    )


def epoch_row(seed, epoch):
    """The row of a curve; the error falls out of the seed, the epoch adds noise."""
    noise = np.random.default_rng([seed, epoch]).random() / 20
    return {"epoch": epoch, "val_error": float(np.random.default_rng(seed).random() / 2 + noise)}


class RungEvaluator:
    """Trains in memory from rung to rung, in order of submission.

    `executed` are (number, first epoch done, last epoch) of each task, `most` how many were held at
    once. `after` is called with every task that has ended.
    """

    def __init__(self, slots=3, fails=lambda task: False, after=ignore):
        self.slots, self.fails, self.after = slots, fails, after
        self.tasks, self.executed, self.most = [], [], 0

    def submit(self, task):
        self.tasks.append(task)
        self.most = max(self.most, len(self.tasks))

    def wait(self, timeout=None, **callbacks):
        task = self.tasks.pop(0)
        part = task.part
        assert part.state == (b"%d after %d" % (task.number, part.done) if part.done else None)
        self.executed.append((task.number, part.done, part.until))
        rows = tuple(epoch_row(task.seed, epoch) for epoch in range(part.done + 1, part.until + 1))
        self.after(task)
        if self.fails(task):
            return [Result(task.number, "failed", "diverged", "the loss was nan", curve=rows[:-1])]
        error = rows[-1]["val_error"]
        if part.until == RUNGS[-1]:
            return [Result(task.number, "complete", error=error, curve=rows, weights=b"w")]
        checkpoint = b"%d after %d" % (task.number, part.until)
        return [Result(task.number, "stopped", error=error, curve=rows, checkpoint=checkpoint, duration=1.0)]

    def drain(self):
        pass

    def close(self):
        self.tasks.clear()
