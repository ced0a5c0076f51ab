"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from nas.cli import _completers as complete
from nas.errors import NasError, did_you_mean

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout.")
results_dir: Decorator = click.option(
    "--results-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    metavar="PATH",
    help="Folder of the runs.",
)
run: Decorator = click.argument("run", metavar="RUN", shell_complete=complete.runs)
trial: Decorator = click.option("--trial", type=click.IntRange(min=0), metavar="N", help="Number of a trial.")
plot: Decorator = click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the network to a .png, .svg, .pdf, .dot (Graphviz) or .mmd (Mermaid) file.",
)
closed: Decorator = click.option("--closed", is_flag=True, help="Draw modules without their layers.")
workers: Decorator = click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="W",
    help="Number of workers. Default: one per usable core; 0 trains in this process, without Ray.",
)
gpus_per_worker: Decorator = click.option(
    "--gpus-per-worker",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="G",
    help="GPUs per worker: 0.25 trains four candidates on each GPU, 2 trains each candidate on two.",
)
ray_address: Decorator = click.option(
    "--ray-address", metavar="A", help="Address of a running Ray cluster to join."
)


def _load_plugin(context: click.Context, option: click.Parameter, files: tuple[str, ...]) -> None:
    from nas.plugins import load_plugin

    for file in files if not context.resilient_parsing else ():
        load_plugin(file)


plugin = click.Option(
    ["--plugin"],
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_load_plugin,
    metavar="FILE.py",
    help="Python file that defines module types and searchers of your own. It is run.",
)


class SearcherOption(click.Option):
    """An option whose help lists the searchers, which are imported only when it is printed."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from nas.searchers import design_names, searcher_names

        designs = " and ".join(design_names())
        self.help = f"Searcher: {', '.join(searcher_names())}; or {designs}, which compare module types and "
        self.help += "optimise nothing. Default: hypervolume."
        return super().get_help_record(ctx)


class InputShape(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """CHANNELSxHEIGHTxWIDTH."""

    name = "CxHxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts = str(value).split("x")
        if len(parts) != 3 or not all(_is_side(part) for part in parts):
            self.fail(f"{value!r:.80} is not an input size; write channels x height x width, such as 3x32x32")
        return tuple(map(int, parts))


def _is_side(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9 and 0 < int(text) <= 4096


class Choice(click.Choice):  # type: ignore[type-arg]
    """One of several words; an unknown one is answered with the closest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            self.fail(f"unknown {value!r}\n  {did_you_mean(value, self.choices)}", param, ctx)
        return str(value)


class Names(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Comma-separated names."""

    name = "A,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, tuple) else tuple(part.strip() for part in str(value).split(","))


class Networks(Names):
    """Comma-separated networks; a comma inside braces, of a genotype, separates nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts = [""]
        for character in str(value):
            if character == "," and parts[-1].count("{") == parts[-1].count("}"):
                parts.append("")
            else:
                parts[-1] += character
        return tuple(part.strip() for part in parts)


class Objectives(Names):
    """Comma-separated names of objectives; the word help lists them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "help" and ctx is not None:
            _list_objectives()
            ctx.exit()
        return super().convert(value, param, ctx)


class Rungs(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Comma-separated whole numbers."""

    name = "E,E"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdecimal() and len(part) < 10 for part in parts):
            self.fail(f"{value!r} are not numbers of epochs; write them as 1,3,9")
        return tuple(map(int, parts))


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Hours, minutes and seconds, such as 2h or 1h30m; seconds in all."""

    name = "2h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, float):
            return value
        parts = re.fullmatch(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?", str(value), re.ASCII)
        hours, minutes, seconds = (int(number or 0) for number in parts.groups()) if parts else (0, 0, 0)
        if not hours + minutes + seconds:
            self.fail(f"{value!r} is not a time; write it as 2h, 90m or 1h30m")
        return float(3600 * hours + 60 * minutes + seconds)


class Fields(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Comma-separated NAME=VALUE pairs; values are numbers, true, false or words.

    NAME.KEY=VALUE sets an entry of a field that is a mapping; a comma in a key is written `\\,`. The word
    help lists the fields of a recipe.
    """

    name = "K=V,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, dict):
            return value
        if value == "help" and ctx is not None:
            _list_fields()
            ctx.exit()
        fields: dict[str, Any] = {}
        for pair in re.split(r"(?<!\\),", str(value)):
            path, equals, text = (part.strip() for part in pair.replace("\\,", ",").rpartition("="))
            if not (path and equals and text) or path.endswith("."):
                self.fail(f"{pair!r} is not a setting; write NAME=VALUE, such as lr=0.1")
            name, dot, key = path.partition(".")
            into = fields.setdefault(name, {}) if dot else fields
            if not isinstance(into, dict) or (key or name) in into:
                self.fail(f"{path!r} is given twice")
            into[key or name] = _scalar(text)
        return fields


def _list_objectives() -> None:
    from nas.cli._output import echo, table
    from nas.study.objectives import OBJECTIVES

    table(
        [
            {
                "objective": entry.name,
                "unit": entry.unit,
                "known": "before training" if entry.before_training else "after training",
                "meaning": entry.meaning,
            }
            for entry in OBJECTIVES.values()
        ]
    )
    echo("\nYour own: python:module:function, which gets a trained network and the data set.")


def _list_fields() -> None:
    from nas.cli._output import table
    from nas.training.recipe_text import field_rows

    table(field_rows())


def _scalar(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def objectives(help: str) -> Decorator:
    """Add --objectives A,B, whose help lists the objectives there are."""
    from nas.study.objectives import OBJECTIVES

    known = f"{', '.join(OBJECTIVES)}, or your own as python:module:function; help lists them."
    return click.option(
        "--objectives",
        type=Objectives(),
        metavar="A,B",
        shell_complete=complete.objectives,
        help=f"{help} Known: {known}",
    )


def reseeding(help: str) -> Decorator:
    """Add --reseed K as `seeds`, and the settings of its training (see `nas.controller.reseed.reseed`)."""
    several = (
        click.option("--reseed", "seeds", type=click.IntRange(min=1), metavar="K", help=help),
        click.option(
            "--epochs",
            type=click.IntRange(min=1),
            metavar="E",
            help="Epochs of --reseed. Default: as the search.",
        ),
        click.option(
            "--data",
            metavar="D",
            help="Data for --reseed; needed where the run read them by your own function.",
        ),
        workers,
        gpus_per_worker,
        ray_address,
    )

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(several):
            function = option(function)
        return function

    return add


def check_one_format(as_csv: bool, as_json: bool) -> None:
    """Raise NasError where both formats of stdout are asked for."""
    if as_csv and as_json:
        raise NasError("choose one of --csv and --json")


def check_reseed(training: Mapping[str, Any]) -> None:
    """Raise NasError if settings of a training are given without --reseed."""
    if any(value is not None and value != 0.0 for value in training.values()) or training["workers"] == 0:
        raise NasError(
            "--epochs, --data and --workers are settings of --reseed, which is not given",
            hint="add --reseed K",
        )
