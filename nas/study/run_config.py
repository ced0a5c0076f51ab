"""What the config.json of a run must hold, so that whoever reads it may rely on it.

The file may be a stranger's, or of another version of this program: what is read from it is
checked here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nas.errors import NasError, StorageError
from nas.graph.ops import MAX_SIZE
from nas.study.storage_url import without_password

VERSION = 1
"""Of the layout of a run folder. It grows when a program that reads the layout before could
misread the folder."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Text = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
Objective = Annotated[str, Field(pattern=r"^(python:[\w.]+:)?[\w.-]{1,64}$", max_length=256)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class _Config(BaseModel):
    """What is read of config.json; other keys are left alone."""

    model_config = ConfigDict(strict=True, extra="allow")

    space: Name
    data: Text
    data_fingerprint: Text
    task: Text = "classification"
    searcher: Text
    objectives: list[Objective]
    seed: Annotated[int, Field(ge=0)]
    trials: Annotated[int, Field(ge=1)]
    seed_with: list[Text] = []
    repeats: Annotated[int, Field(ge=1)] = 1
    fidelity: list[Annotated[int, Field(ge=1)]] = []
    uniform_share: Annotated[float, Field(ge=0, le=1)]
    recipe: dict[Name, bool | int | float | str]
    input_shape: Annotated[list[Size], Field(min_length=3, max_length=3)]
    num_classes: Size
    classes: list[str]
    mean: list[float]
    std: list[float]
    versions: dict[Name, Text]
    storage: Annotated[Text, AfterValidator(without_password)] | None = None
    study: Name | None = None


def check_version(config: Mapping[str, Any], where: str) -> None:
    """NasError, with the version that is needed, for a folder of a newer program."""
    version = config.get("schema")
    if type(version) is not int or version < 1:
        raise StorageError("says no version of its layout", where=where)
    if version > VERSION:
        versions = config.get("versions")
        written = versions.get("nas") if isinstance(versions, Mapping) else None
        message = f"is of layout {version}, and this program reads layout {VERSION}"
        hint = f"it was written by nas {written}; install that or a newer one"
        raise NasError(message, where=where, hint=hint)


def check_config(config: Mapping[str, Any], where: str) -> None:
    """StorageError naming the first value that no run could have written."""
    from nas.training.recipe import Recipe, adjusted

    try:
        _Config.model_validate(config)
        adjusted(Recipe(config["recipe"]["epochs"]), config["recipe"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise StorageError(f"{place}: {first['msg']}", where=where, hint=_HINT) from None
    except KeyError as error:
        raise StorageError(f"recipe: lacks {error}", where=where, hint=_HINT) from None
    except NasError as error:
        raise StorageError(error.message, where=f"{where}: {error.where}", hint=_HINT) from None


_HINT = "restore the file; no run wrote it so"
