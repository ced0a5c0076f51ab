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

    from nas.analysis.analyze import Analysis
    from nas.controller.progress import Progress
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace
    from nas.study.run import Run
    from nas.study.study import Study
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
        ("nas.study.study", "Study", study_html),
        ("nas.analysis.analyze", "Analysis", analysis_html),
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
    from nas.analysis.table import trial_table
    from nas.study.objectives import plot_axes
    from nas.visualization.plots.front import front_figure

    table = trial_table(run.study)
    title = Markup("<p><b>{}</b>: {} of {} trials</p>").format(run.name, len(table), run.config.trials)
    if not (table["state"] == "complete").any():
        return title
    axes = plot_axes(run.study.objectives)
    front = front_figure(table, axes, expected=run.expected(axes))
    return title + _svg(front) + Markup(run.pareto_front()._repr_html_())


def study_html(study: Study) -> str:
    """Return the counts of a study and its front of measured errors as a table."""
    from nas.study.front import front_table
    from nas.study.front_frame import Front

    title = Markup("<p>{}</p>").format(repr(study).strip("<>"))
    if not study.complete:
        return title
    front = Front(front_table(study, study.objectives))
    return title + Markup("<p>front of measured errors:</p>") + Markup(front._repr_html_())


def analysis_html(analysis: Analysis) -> str:
    """Return the claims of an analysis with their grades, and what the grades mean."""
    from nas.analysis.text.claims import claims_of, legend

    claims = claims_of(analysis)
    rows = [(claim.sentence, claim.grade, "; ".join(claim.needs)) for claim in claims]
    grades = legend(claim.grade for claim in claims)
    lines = Markup("").join(Markup("<p>{}</p>").format(line) for line in grades)
    return _table(("claim", "grade", "what would strengthen it"), rows) + lines


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
