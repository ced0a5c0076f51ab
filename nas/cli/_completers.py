"""What the Tab key offers for the values of arguments and options (see `nas completion`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def spaces(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Search spaces, then files."""
    from nas.space.space import space_names

    return [*_starting(space_names(), incomplete), CompletionItem(incomplete, type="file")]


def data(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from nas.data.load import AT_PATH, BUILT_IN

    return _starting([*BUILT_IN, *(f"{kind}:" for kind in AT_PATH)], incomplete)


def searchers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
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
    """Runs of the results folder, then files."""
    from nas.study.run_folder import LATEST, list_runs

    folder = ctx.params.get("results_dir") or Path("results")
    found = [LATEST, *(run.name for run in list_runs(folder))]
    return [*_starting(found, incomplete), CompletionItem(incomplete, type="file")]


def _starting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _last_of_list(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{item.value}") for item in _starting(names, last)]
