"""Values of arguments and options that the Tab key offers (see `nas completion`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def spaces(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer search spaces, then files."""
    from nas.space.load import space_names

    return [*_starting(space_names(), incomplete), CompletionItem(incomplete, type="file")]


def data(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer data sets, and the kinds that take a path."""
    from nas.data.load import forms

    names = [f"{form.name}:" if form.place else form.name for form in forms().values()]
    return [*_starting(names, incomplete), CompletionItem(incomplete, type="file")]


def searchers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer searchers."""
    from nas.searchers import design_names, searcher_names

    return _starting([*searcher_names(), *design_names()], incomplete)


def networks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer networks of the zoo, one or a list with commas."""
    from nas.zoo import zoo

    return _last_of_list(zoo(), incomplete)


def objectives(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the objectives that need no code of the user, a list with commas."""
    from nas.study.objectives import OBJECTIVES

    return _last_of_list(OBJECTIVES, incomplete)


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer runs of the results folder, then files."""
    from nas.study.run_folder import LATEST, list_runs

    folder = ctx.params.get("results_dir") or Path("results")
    names = [LATEST, *(run.name for run in list_runs(folder) if run.name.isprintable())]
    return [*_starting(names, incomplete), CompletionItem(incomplete, type="file")]


def _starting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _last_of_list(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{item.value}") for item in _starting(names, last)]
