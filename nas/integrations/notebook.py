"""Show runs, trials, genotypes and spaces in Jupyter, and the progress of a search.

`register` is called by `import nas` where IPython runs. Nothing below depends on this module.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from nas.formatting import duration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nas.controller.progress import Progress
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace
    from nas.study.run import Run
    from nas.study.trial import Trial

INPUT, CLASSES = (3, 32, 32), 10
"""Input shape and number of classes of a genotype that comes without data."""
LAST = 8
"""Candidates that stay in view while a search runs."""


def active() -> bool:
    """Return whether this process runs IPython."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def register() -> None:
    """Tell IPython how to show the types of `nas`, by name, so that none is imported yet."""
    html = sys.modules["IPython"].get_ipython().display_formatter.formatters["text/html"]
    for module, name, show in (
        ("nas.space.genotype", "Genotype", genotype_html),
        ("nas.study.run", "Run", run_html),
        ("nas.space.space", "SearchSpace", space_html),
        ("nas.study.trial", "Trial", trial_html),
    ):
        html.for_type_by_name(module, name, show)


def search(*args: Any, **settings: Any) -> Run:
    """Call `nas.controller.search.search` with its progress in the notebook, unless callbacks are given."""
    from nas.controller.search import search as run_search

    if "on_trial" in settings:
        return run_search(*args, **settings)
    from IPython.display import HTML, display

    view = display(HTML("starting the workers"), display_id=True)
    seen: list[Trial] = []

    def show(trial: Trial, progress: Progress) -> None:
        seen.append(trial)
        view.update(HTML(progress_html(seen, progress)))

    return run_search(*args, **settings, on_trial=show)


def progress_html(seen: Sequence[Trial], progress: Progress) -> str:
    """Return a progress bar, the best error, and the last candidates."""
    errors = [trial.error for trial in seen if trial.error is not None]
    best = f"best error {min(errors):.2%}" if errors else "no result yet"
    left = "" if progress.remaining is None else f", {duration(progress.remaining)} left"
    rows = [
        (
            trial.number,
            "+".join(sorted(set(trial.module_types))),
            f"{trial.flops:,}",
            trial.reason if trial.error is None else f"{trial.error:.2%}",
        )
        for trial in reversed(seen[-LAST:])
    ]
    head = Markup('<p><progress value="{0}" max="{1}"></progress> {0} of {1}, {2}{3}</p>')
    table = _table(("trial>", "module types", "FLOPs>", "error>"), rows)
    return head.format(progress.done, progress.total, best, left) + table


def genotype_html(genotype: Genotype) -> str:
    """Return the drawing and the layer table, for images of 3x32x32 and 10 classes."""
    return _network_html(genotype, INPUT, CLASSES)


def trial_html(trial: Trial) -> str:
    """Return the figures of a trial and its network."""
    error = trial.reason if trial.error is None else f"error {trial.error:.2%}"
    title = f"trial {trial.number}: {error}, {trial.flops:,} FLOPs, {trial.cost.params:,} parameters"
    return Markup("<p><b>{}</b></p>").format(title) + genotype_html(trial.genotype)


def run_html(run: Run) -> str:
    """Return the front as a plot and a table."""
    from nas.analysis.analyze import trial_table
    from nas.analysis.front import pareto_front
    from nas.visualization.plots.front import front_figure

    table = trial_table(run.study)
    title = Markup("<p><b>{}</b>: {} of {} trials</p>").format(run.name, len(table), run.config.trials)
    if not (table["state"] == "complete").any():
        return title
    return title + _svg(front_figure(table)) + Markup(pareto_front(run).to_html(index=False))


def space_html(space: SearchSpace) -> str:
    """Return the decisions of a space and the number of its genotypes."""
    size = space.size()
    count = f"{'' if size.exact else 'up to '}{size.count:,} genotypes"
    head = Markup("<p><b>{}</b>: {}<br>{}</p>").format(space.name, space.description, count)
    rows = ((path, ", ".join(map(str, options))) for path, options in space.domains().items())
    return head + _table(("decision", "options"), rows)


def _network_html(genotype: Genotype, shape: tuple[int, ...], classes: int) -> Markup:
    from nas.space.genotype import expand
    from nas.visualization.network import figure, layer_table

    graph = expand(genotype, shape, classes)
    rows = [layer.row() for layer in layer_table(graph)]
    table = _table(list(rows[0]), (tuple(row.values()) for row in rows))
    layers = Markup("<details><summary>{} layers</summary>{}</details>").format(len(rows), table)
    return Markup("<p>{}</p>{}{}").format(str(genotype), _svg(figure(graph)), layers)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    from nas.reports.render import render_table

    return render_table(columns, rows)


def _svg(figure: Figure) -> Markup:
    file = io.StringIO()
    figure.savefig(file, format="svg")
    text: str = file.getvalue()
    return Markup(text[text.index("<svg") :])
