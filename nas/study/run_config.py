"""The settings of a run, as its config.json holds them.

The file may be a stranger's, or of another version of this program, so that what is read is checked here,
once; whoever holds a `RunConfig` can rely on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nas.errors import NasError, StorageError
from nas.graph.ops import MAX_SIZE
from nas.study.storage_url import without_password
from nas.training.recipe import Recipe

VERSION = 1
"""Version of the layout of a run folder. It grows when a program that reads the layout before could
misread the folder."""
UNBOUNDED = 1_000_000
"""Trials of a search that time alone limits, until it ends."""
MAX_IMAGES = 2**53
"""Most validation images: what a floating-point number counts exactly."""
RESTORE = "restore the file; no run wrote it so"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Epochs = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
Network = Annotated[str, Field(max_length=1 << 20), AfterValidator(_printable)]
Objective = Annotated[str, Field(pattern=r"^(python:[\w.]+:)?[\w.-]{1,64}$", max_length=256)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class RunConfig(BaseModel):
    """The settings of a run. To change one, write a copy: `config.model_copy(update={"trials": 48})`.

    layout: version of the run folder's layout; space, space_digest: name of the search space and digest of
    its YAML; data, data_fingerprint: the data set as it was named, and the fingerprint of its images and
    split; seed_with: networks to try first, a name of the zoo or NAME={genotype}; repeats: training seeds
    of each network of the paired design, None without it; fidelity: rungs of successive halving in epochs,
    () without; uniform_share: share of proposals drawn uniformly; mean, std: of the training images, per
    channel; val_images: validation images, guess_error: their error where each is given the class with
    most training images (None for masks); versions: of the programs that a result depends on; exhausted:
    True if the searcher had no further network before all trials were done, else None; networks: how many
    the space holds, None unless all were tried; storage, study: URL of the database, without password, and
    the name of the study in it, None for a study in the folder.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_by_name=True
    )

    layout: Annotated[int, Field(alias="schema", ge=1)] = VERSION
    space: Name
    space_digest: Text
    data: Text
    data_fingerprint: Text
    task: Text = "classification"
    searcher: Text
    objectives: tuple[Objective, ...]
    seed: Annotated[int, Field(ge=0)]
    trials: Annotated[int, Field(ge=1)]
    seed_with: tuple[Network, ...] = ()
    repeats: Annotated[int, Field(ge=1)] | None = None
    fidelity: tuple[Epochs, ...] = ()
    uniform_share: Annotated[float, Field(ge=0, le=1)]
    recipe: Recipe
    input_shape: tuple[Size, Size, Size]
    num_classes: Size
    val_images: Annotated[int, Field(ge=1, le=MAX_IMAGES)] | None = None
    guess_error: Annotated[float, Field(ge=0, le=1)] | None = None
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    versions: Mapping[Name, Text]
    exhausted: bool | None = None
    networks: Annotated[int, Field(ge=0)] | None = None
    storage: Annotated[Text, AfterValidator(without_password)] | None = None
    study: Name | None = None

    @property
    def counted_images(self) -> int | None:
        """Return the images that an error is a share of; None for masks, whose errors are means."""
        return self.val_images if self.task == "classification" else None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON data, without those that are None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> RunConfig:
        """Check JSON data from `where`. StorageError names the first value that no run could have
        written, NasError the version of `nas` that is needed."""
        check_version(data, where)
        try:
            return cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise StorageError(f"{place}: {first['msg']}", where=where, hint=RESTORE) from None
        except NasError as error:
            raise StorageError(error.message, where=f"{where}: {error.where}", hint=RESTORE) from None


def check_version(data: Mapping[str, Any], where: str) -> None:
    """Raise NasError, with the version that is needed, for a folder of a newer program."""
    version = data.get("schema")
    if type(version) is not int or version < 1:
        raise StorageError("says no version of its layout", where=where)
    if version > VERSION:
        versions = data.get("versions")
        written = versions.get("nas") if isinstance(versions, Mapping) else None
        message = f"has layout {version}, and this program reads layout {VERSION}"
        hint = f"it was written by nas {written}; install that or a newer one"
        raise NasError(message, where=where, hint=hint)
