"""The error of an analysis that needs a complete trial where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nas.errors import NotFoundError
from nas.study.commands import nas_command

if TYPE_CHECKING:
    import pandas as pd


def none_complete(outcomes: Iterable[tuple[str, str]], where: str = "", name: str = "RUN") -> NotFoundError:
    """Return the error to raise if something needs a complete trial and there is none.

    outcomes: (state, reason) of each recorded trial; name: of the run, for the command in the hint.
    """
    known = list(outcomes)
    reasons = Counter(reason for state, reason in known if state == "failed")
    stopped = sum(state == "stopped" for state, _ in known)
    parts = [f"{sum(reasons.values())} failed: {', '.join(sorted(reasons))}"] if reasons else []
    parts += [f"{stopped} stopped early"] if stopped else []
    resume = ("search", "--resume", "--name", name)
    further = f"{nas_command(*resume, '--trials', str(2 * len(known)))} trains more"
    more = further if known else f"{nas_command(*resume)} continues the search"
    return NotFoundError(
        f"no trial is complete ({'; '.join(parts) or 'none is recorded'})", where=where, hint=more
    )


def outcomes_of(trials: pd.DataFrame) -> Iterable[tuple[str, str]]:
    """Return (state, reason) of each row of a table of trials; reasons may be missing."""
    reasons = trials.reindex(columns=["reason"])["reason"].fillna("")
    return zip(trials["state"], reasons, strict=True)
