"""Runs, trials, genotypes and spaces as Jupyter shows them, and a search that shows its progress.

`register` is called by `import nas` where IPython runs. Nothing below depends on this module.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nas.controller.progress import Progress
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace
    from nas.study.run import Run
    from nas.study.trial import Trial

INPUT, CLASSES = (3, 32, 32), 10
"""For which a genotype is drawn that comes without data."""


def active() -> bool:
    """Whether this process runs IPython."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def register() -> None:
    """Tell IPython how to show the types of `nas`, by name, so that none is imported for it."""
    html = sys.modules["IPython"].get_ipython().display_formatter.formatters["text/html"]
    for module, name, show in (
        ("nas.space.genotype", "Genotype", genotype_html),
        ("nas.study.run", "Run", run_html),
        ("nas.space.space", "SearchSpace", space_html),
        ("nas.study.trial", "Trial", trial_html),
    ):
        html.for_type_by_name(module, name, show)


def search(*args: Any, **settings: Any) -> Run:
    """`nas.controller.search.search` with its progress in the notebook, unless callbacks are given."""
    from nas.controller.search import search as run_search

    if "on_trial" in settings:
        return run_search(*args, **settings)
    from IPython.display import HTML, display

    view = display(HTML("starting the workers …"), display_id=True)
    seen: list[Trial] = []

    def show(trial: Trial, progress: Progress) -> None:
        seen.append(trial)
        view.update(HTML(progress_html(seen, progress)))

    return run_search(*args, **settings, on_trial=show)


def progress_html(seen: Sequence[Trial], progress: Progress) -> str:
    """A bar, the best error, and the last candidates."""
    errors = [trial.error for trial in seen if trial.error is not None]
    best = f"best error {min(errors):.2%}" if errors else "no result yet"
    left = "" if progress.remaining is None else f", {progress.remaining:.0f} s left"
    rows = [
        {
            "trial": trial.number,
            "module types": "+".join(sorted(set(trial.module_types))),
            "FLOPs": f"{trial.flops:,}",
            "error": trial.reason if trial.error is None else f"{trial.error:.2%}",
        }
        for trial in reversed(seen[-8:])
    ]
    bar = f'<progress value="{progress.done}" max="{progress.total}"></progress>'
    return f"<p>{bar} {progress.done} of {progress.total}, {best}{left}</p>{_table(rows)}"


def genotype_html(genotype: Genotype) -> str:
    """The drawing and the table of layers, for images of 3x32x32 and 10 classes."""
    return _network_html(genotype, INPUT, CLASSES)


def trial_html(trial: Trial) -> str:
    """The figures of a trial and its network."""
    error = trial.reason if trial.error is None else f"error {trial.error:.2%}"
    title = f"trial {trial.number}: {error}, {trial.flops:,} FLOPs, {trial.cost.params:,} parameters"
    return f"<p><b>{escape(title)}</b></p>{genotype_html(trial.genotype)}"


def run_html(run: Run) -> str:
    """The front as a plot and a table."""
    from nas.analysis.analyze import trial_table
    from nas.analysis.front import pareto_front
    from nas.visualization.plots.front import front_figure

    table = trial_table(run.study)
    title = f"<p><b>{escape(run.name)}</b>: {len(table)} of {run.config.trials} trials</p>"
    if not (table["state"] == "complete").any():
        return title
    rows: str = pareto_front(run).to_html(index=False)
    return title + _svg(front_figure(table)) + rows


def space_html(space: SearchSpace) -> str:
    """The decisions of a space and how many genotypes it holds."""
    rows = [
        {"decision": path, "options": ", ".join(map(str, options))}
        for path, options in space.domains().items()
    ]
    size = space.size()
    count = f"{'' if size.exact else 'up to '}{size.count:,} genotypes"
    return f"<p><b>{escape(space.name)}</b>: {escape(space.description)}<br>{count}</p>{_table(rows)}"


def _network_html(genotype: Genotype, shape: tuple[int, ...], classes: int) -> str:
    from nas.space.genotype import expand
    from nas.visualization.network import figure, layer_table

    graph = expand(genotype, shape, classes)
    rows = [layer.row() for layer in layer_table(graph)]
    layers = f"<details><summary>{len(rows)} layers</summary>{_table(rows)}</details>"
    return f"<p>{escape(str(genotype))}</p>{_svg(figure(graph))}{layers}"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg")
    text: str = file.getvalue()
    return text[text.index("<svg") :]
