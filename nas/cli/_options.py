"""Arguments, options and ways to read files that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from nas.cli import _completers as complete
from nas.errors import NasError, NotFoundError, did_you_mean

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout.")
results_dir: Decorator = click.option(
    "--results-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    metavar="PATH",
    help="Where the runs are.",
)
run: Decorator = click.argument("run", metavar="RUN", shell_complete=complete.runs)
trial: Decorator = click.option(
    "--trial", type=click.IntRange(min=0), metavar="N", help="The trial's number."
)
plot: Decorator = click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw it: .png, .svg, .pdf, .dot (Graphviz) or .mmd (Mermaid).",
)
closed: Decorator = click.option("--closed", is_flag=True, help="Draw modules without their layers.")
workers: Decorator = click.option(
    "--workers", type=click.IntRange(min=0), metavar="W", help="One per core by default; 0: no Ray."
)
gpus_per_worker: Decorator = click.option(
    "--gpus-per-worker",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="G",
    help="0.25 trains four candidates on each GPU.",
)
ray_address: Decorator = click.option("--ray-address", metavar="A", help="A running Ray cluster to join.")


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
    help="Module types of your own; the file is run.",
)
RUN_HELP = "RUN is a run folder, a name under the results folder, or `latest`."


class InputShape(click.ParamType[tuple[int, int, int]]):
    """CHANNELSxHEIGHTxWIDTH."""

    name = "CxHxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts = str(value).split("x")
        if len(parts) != 3 or not all(part.isdigit() and 0 < int(part) <= 4096 for part in parts):
            self.fail(f"{value!r} is no input size; write channels x height x width, such as 3x32x32")
        return tuple(map(int, parts))


class Choice(click.Choice[str]):
    """One of several words, with the closest where another is given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            self.fail(f"unknown {value!r}\n  {did_you_mean(value, self.choices)}", param, ctx)
        return str(value)


class Names(click.ParamType[tuple[str, ...]]):
    """Comma-separated names."""

    name = "A,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, tuple) else tuple(part.strip() for part in str(value).split(","))


class Rungs(click.ParamType[tuple[int, ...]]):
    """Comma-separated whole numbers."""

    name = "E,E"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdecimal() and len(part) < 10 for part in parts):
            self.fail(f"{value!r} are no numbers of epochs; write them as 1,3,9")
        return tuple(map(int, parts))


class Fields(click.ParamType[dict[str, Any]]):
    """Comma-separated NAME=VALUE pairs; values are numbers, true, false or words."""

    name = "K=V,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, dict):
            return value
        found: dict[str, Any] = {}
        for pair in str(value).split(","):
            name, equals, text = (part.strip() for part in pair.partition("="))
            if not (name and equals and text):
                self.fail(f"{pair!r} is no setting; write NAME=VALUE, such as lr=0.1")
            if name in found:
                self.fail(f"{name!r} is given twice")
            found[name] = _scalar(text)
        return found


def _scalar(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def read_text(path: Path, limit: int = 1 << 20) -> str:
    """The text of a file of at most `limit` bytes; NasError or NotFoundError names it."""
    try:
        if path.stat().st_size > limit:
            raise NasError(f"larger than {limit:,} bytes", where=str(path))
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError("there is no such file", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise NasError(f"cannot be read: {error}", where=str(path)) from None


def objectives(help: str) -> Decorator:
    """--objectives A,B, with the objectives there are in its help."""
    from nas.study.objectives import OBJECTIVES

    known = f"{', '.join(OBJECTIVES)}, or your own as python:module:function."
    return click.option(
        "--objectives",
        type=Names(),
        metavar="A,B",
        shell_complete=complete.objectives,
        help=f"{help} Known: {known}",
    )


def reseeding(help: str) -> Decorator:
    """--reseed K as `seeds`, and with it how it trains: settings of `nas.controller.reseed.reseed`."""
    several = (
        click.option("--reseed", "seeds", type=click.IntRange(min=1), metavar="K", help=help),
        click.option(
            "--epochs", type=click.IntRange(min=1), metavar="E", help="Of --reseed; else as the search."
        ),
        click.option("--data", metavar="D", help="Of --reseed; needed where the data of the run are code."),
        workers,
        gpus_per_worker,
        ray_address,
    )

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(several):
            function = option(function)
        return function

    return add


def check_reseed(training: Mapping[str, Any]) -> None:
    """NasError where settings of a training are given and nothing will be trained."""
    if any(value is not None and value != 0.0 for value in training.values()) or training["workers"] == 0:
        raise NasError(
            "--epochs, --data, --workers and the like say how --reseed trains", hint="add --reseed K"
        )
