"""Schema of search-space files, checked before anything is built from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from nas.graph.graph import shape_text
from nas.graph.ops import MAX_SIZE
from nas.modules import Component
from nas.modules.structure import Bounds
from nas.recipe import canonical

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
AUTO = "auto"
"""Stride of a stem that follows from the size of the images."""
FIRST_SKIP = 3
"""First block of a stage that may take a second input."""


def listed(value: Any) -> Any:
    """Return a value of a file as the list of its options."""
    return value if isinstance(value, list) else [value]


def _number(value: Any) -> Any:
    """`40M` is 40,000,000, as are `4e7` and `4.0e+7`."""
    form = r"(\d{1,18}(?:\.\d{1,18})?(?:[eE]\+?\d\d?)?)([kMGT]?)"
    match = re.fullmatch(form, str(value)) if type(value) is not bool else None
    if not match:
        raise ValueError("must be a number, as in 250k, 40M or 1.5G")
    number = round(float(match[1]) * UNITS[match[2]])
    if number >= 2**63:
        raise ValueError("must be less than 2^63")
    return number


def _shape(value: Any) -> Any:
    match = re.fullmatch(r"(\d{1,18})x(\d{1,18})x(\d{1,18})", str(value))
    if not match:
        raise ValueError("must be CHANNELSxHEIGHTxWIDTH, as in 3x32x32")
    return tuple(map(int, match.groups()))


def _area(value: Any) -> Any:
    match = re.fullmatch(r"(\d{1,18})x(\d{1,18})", str(value))
    if not match:
        raise ValueError("must be HEIGHTxWIDTH, as in 32x32")
    return tuple(map(int, match.groups()))


Size = Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)]
Sizes = Annotated[list[Size], BeforeValidator(listed), Field(min_length=1, max_length=64)]
Depths = Annotated[
    list[Annotated[int, Field(strict=True, ge=1, le=64)]], BeforeValidator(listed), Field(min_length=1)
]
Number = Annotated[int, BeforeValidator(_number)]
Shape = Annotated[tuple[Size, Size, Size], BeforeValidator(_shape), PlainSerializer(shape_text)]
Area = Annotated[tuple[Size, Size], BeforeValidator(_area), PlainSerializer(shape_text)]
Modules = dict[str, dict[str, Any]]


def _canonical(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the options of recipe fields in the types of the fields."""

    def each(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: option if key == "by" else each(name, option) for key, option in value.items()}
        return [canonical(name, o) for o in value] if isinstance(value, list) else canonical(name, value)

    return {name: each(name, value) for name, value in recipe.items()}


RecipeOptions = Annotated[dict[str, Any], AfterValidator(_canonical)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Spec):
    """Bounds of a figure. at: height and width of the images for which they are given; for larger ones they
    grow with the pixels that stage 1 takes."""

    min: Number | None = None
    max: Number | None = None
    at: Area | None = None

    def bounds(self) -> dict[str, int]:
        """Return the bounds that are given, by `min` and `max`."""
        given = {"min": self.min, "max": self.max}
        return {kind: figure for kind, figure in given.items() if figure is not None}

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


def _stem(value: Any) -> Any:
    if value == {}:
        raise ValueError("has no type; write none for networks whose first module takes the image")
    return {} if value == "none" else value


StemSettings = Annotated[dict[str, Any], BeforeValidator(_stem), PlainSerializer(lambda stem: stem or "none")]


class Skips(_Spec):
    join: Annotated[list[str], BeforeValidator(listed), Field(min_length=1)]


class Stage(_Spec):
    depth: Depths
    width: Sizes
    stride: Sizes = [1]
    modules: Modules | list[str] | None = None
    skips: Skips | None = None


class SpaceSpec(_Spec):
    """Search-space file. A single value is fixed, a list is searched.

    vary: scope in which one module type is chosen: every block, every stage, or the network. stem: {} where
    the first module takes the image, which a file has as `none`. recipe: fields
    of the training recipe, whose options may depend on the module type of the network.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    description: str = ""
    input: Shape = (3, 32, 32)
    classes: Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)] = 10
    vary: Literal["block", "stage", "network"] = "block"
    stem: StemSettings = {"type": "conv", "width": 16}
    modules: Modules | list[str] = []
    stages: Annotated[list[Stage], Field(min_length=1, max_length=16)]
    head: dict[str, Any] = {"type": "pool"}
    constraints: dict[str, Limits] = {}
    recipe: RecipeOptions = {}

    @property
    def recipe_decisions(self) -> dict[str, Any]:
        """The fields of the recipe that are decisions or differ between module types."""
        return {
            name: value
            for name, value in self.recipe.items()
            if isinstance(value, Mapping) or len(options_of(value, {})) > 1
        }

    @property
    def recipe_by_type(self) -> list[str]:
        """The fields of the recipe whose options depend on the module type."""
        return [name for name, value in self.recipe.items() if isinstance(value, Mapping)]

    @property
    def usual_recipe(self) -> dict[str, Any]:
        """The usual option of each field of the recipe that does not depend on the module type."""
        by_type = self.recipe_by_type
        names = (name for name in self.recipe if name not in by_type)
        return {name: usual_option(options_of(self.recipe[name], {})) for name in names}

    def stage_modules(self, at: int) -> Modules:
        """Return the settings of each module type that stage `at` may use."""
        return as_mapping(self.stages[at].modules or self.modules)


def spec_text(spec: SpaceSpec) -> str:
    """Return a file that `parse_spec` reads as this specification."""
    data = {
        **spec.model_dump(exclude_defaults=True),
        "input": shape_text(spec.input),
        "classes": spec.classes,
    }
    return str(yaml.safe_dump(data, sort_keys=False))


def restricted(spec: SpaceSpec, kind: str) -> SpaceSpec:
    """Return a specification whose blocks are all of one module type, which every stage may use."""

    def only(modules: Modules | list[str]) -> Modules:
        settings = as_mapping(modules)
        return {kind: settings[kind]} if kind in settings else {}

    own = [stage.modules and only(stage.modules) for stage in spec.stages]
    pairs = zip(spec.stages, own, strict=True)
    stages = [stage.model_copy(update={"modules": modules}) for stage, modules in pairs]
    return spec.model_copy(update={"modules": only(spec.modules), "stages": stages})


def options_of(value: Any, chosen: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the options of a setting: a value, a list, or `{by: FIELD, VALUE: options, …}`."""
    if isinstance(value, Mapping):
        value = value[chosen[value["by"]]]
    return tuple(value) if isinstance(value, list) else (value,)


def usual_option(options: Sequence[Any]) -> Any:
    """Return the option that stands for all: of numbers the middle one, the lower of two, else the first."""
    if any(isinstance(option, bool | str) for option in options):
        return options[0]
    return sorted(options)[(len(options) - 1) // 2]


def bounds_of(cls: type[Component], key: str, value: Any) -> Bounds | None:
    """Return the options by key that a file gives for a structured field; None for any other setting."""
    if not isinstance(value, Mapping) or key not in dict(cls.structures()):
        return None
    return {name: tuple(listed(options)) for name, options in value.items()}


def as_mapping(modules: Modules | list[str]) -> Modules:
    """Return the settings of each module type, {} for those that a file only names."""
    return {name: {} for name in modules} if isinstance(modules, list) else modules
