"""nas search --config FILE: options of a search from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from click.core import ParameterSource

from nas.errors import NasError, did_you_mean
from nas.files import read_text

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

NOT_IN_A_FILE = ("config", "resume", "dry_run", "as_json", "plugin", "help")
"""Parameters that belong to one call, or that run code."""


def read_options(ctx: click.Context, option: click.Parameter, file: str | None) -> None:
    """Take the options of a file as defaults of the command; called by click."""
    if file is None or ctx.resilient_parsing:
        return
    from nas.space.yaml_loader import load_yaml

    document = load_yaml(read_text(Path(file)), file)
    if not isinstance(document.data, Mapping):
        raise NasError("holds no options", where=file, hint="write one per line, such as trials: 48")
    names = {
        name.removeprefix("--"): parameter.name
        for parameter in ctx.command.params
        for name in parameter.opts
        if parameter.name not in NOT_IN_A_FILE
    }
    values = {}
    for key, value in document.data.items():
        where = f"{file}:{document.line((key,))}"
        if key not in names:
            raise NasError(f"no option {key!r}", where=where, hint=did_you_mean(str(key), names))
        block = key == "space" and isinstance(value, Mapping)
        values[names[key]] = yaml.safe_dump(value, sort_keys=False) if block else _value(value, where)
    ctx.default_map = values


def _value(value: Any, where: str) -> Any:
    """Return a value as the option of the command line reads it; a mapping is that of a recipe."""
    if isinstance(value, Mapping | bool):
        return value
    if isinstance(value, list):
        return ",".join(map(str, value))
    if value is None:
        raise NasError("has no value", where=where)
    return str(value)


def add_recipe(ctx: click.Context, option: click.Parameter, fields: Any) -> Any:
    """Return the fields of a recipe with those that the file has beside them; called by click."""
    file = (ctx.default_map or {}).get(str(option.name))
    if fields is None or file is None:
        return fields
    return {**option.type.convert(file, option, ctx), **fields}


def inline_space(space: Any) -> SearchSpace | Any:
    """Return the space that a file holds as a block of YAML; a name or path is left as it is."""
    if not isinstance(space, str) or "\n" not in space:
        return space
    from nas.space.load import parse_space

    return parse_space(space, "space of --config")


def refuse_code(ctx: click.Context, settings: Mapping[str, Any]) -> None:
    """Raise NasError for functions of Python that only the file names: it may be a stranger's."""
    from nas.data import check_recorded, check_recorded_objectives

    def from_file(name: str) -> bool:
        return ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP

    if from_file("data"):
        check_recorded(settings["data"])
    if from_file("objectives"):
        check_recorded_objectives(settings["objectives"])
