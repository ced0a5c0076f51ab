"""The contrasts of module types as a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nas.analysis.text.ranking import contrast_dict
from nas.analysis.text.statements import AnyContrast

if TYPE_CHECKING:
    import pandas as pd

    from nas.analysis.analyze import Analysis


def contrasts_frame(analysis: Analysis) -> pd.DataFrame:
    """Return one row per contrast and estimand: its sample, its figures (estimates as value, `_low` and
    `_high`), its grade, its claim, and what refuses a better grade."""
    import pandas as pd

    samples: list[tuple[str, Sequence[AnyContrast]]] = []
    if analysis.paired:
        samples.append(("paired contexts", analysis.paired.contrasts))
    samples += [(comparison.sample, comparison.contrasts) for comparison in analysis.comparisons]
    samples += [("networks of the table", analysis.unpaired)] if analysis.unpaired else []
    return pd.DataFrame([{"sample": name} | _row(c) for name, contrasts in samples for c in contrasts])


def _row(contrast: AnyContrast) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in contrast_dict(contrast).items():
        if key == "failures":
            row["failures_a"], row["failures_b"] = value["failed"]
            row["trainings_a"], row["trainings_b"] = value["trainings"]
            row["p_failures"] = value["p"]
        elif isinstance(value, dict) and value.keys() >= {"value", "low", "high"}:
            row |= {key: value["value"], f"{key}_low": value["low"], f"{key}_high": value["high"]}
        elif isinstance(value, list) and key == "refused":
            row[key] = "; ".join(value)
        elif not isinstance(value, dict | list):
            row[key] = value
    return row
