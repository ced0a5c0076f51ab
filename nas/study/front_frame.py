"""The front as a data frame that prints what people look for."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nas.formatting import interval, metric
from nas.stats.estimate import Estimate

MOST_ROWS = 8
"""Rows that are printed."""


class Front(pd.DataFrame):  # type: ignore[misc]
    """A front with all columns of `nas.study.front.pareto_front`; printed are the ones to choose by."""

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame  # a selection is an ordinary frame

    def shown(self) -> pd.DataFrame:
        """Return trial, errors, costs and module types as text, one row per network."""
        columns = {"trial": self["number"].map(str)}
        columns["error, %"] = (100 * self["error"]).map("{:.2f}".format)
        if len(self) and self["expected_error"].notna().all():
            limits = self[["expected_error", "expected_low", "expected_high"]].to_numpy(float)
            columns["expected, %"] = pd.Series([interval(Estimate(*row)) for row in limits], self.index)
            columns["likely on front"] = self["membership"].map("{:.0%}".format)
        columns |= {"FLOPs": self["flops"].map(metric), "parameters": self["params"].map(metric)}
        types = [" + ".join(sorted(names.split("+"))) for names in self["module_types"]]
        return pd.DataFrame(columns | {"module types": pd.Series(types, self.index, dtype=object)})

    def __repr__(self) -> str:
        rows = self.shown()
        text = str(rows.head(MOST_ROWS).to_string(index=False)) if len(rows) else "no network"
        more = f"\n… and {len(rows) - MOST_ROWS} more" if len(rows) > MOST_ROWS else ""
        return text + more

    def _repr_html_(self) -> str:
        return str(self.shown().to_html(index=False))
