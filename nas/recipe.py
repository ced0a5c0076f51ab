"""Training recipe: its fields, with their meaning, bounds and checks.

Spaces may search some of these fields, and trainings read all, so the declarations stand below both.
`nas.training.recipe` chooses the values that suit a data set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from nas.errors import NasError, did_you_mean

CLASSES_EQUAL, BALANCED = "equal", "balanced"
SHUFFLED = "shuffled"
PRECISIONS = ("auto", "float32", "bfloat16")
MOST_WEIGHT = 1e6
"""Largest weight of a class."""


def _setting(
    default: Any,
    about: str,
    low: float = 0,
    high: float = 1,
    *,
    words: Sequence[str] = (),
    by_data: str = "",
    shared: str = "",
) -> Any:
    """Return a dataclass field with its meaning, its bounds or words, and how data decide its default.

    shared: why all trainings of a search must have one value, "" where a space may search the field.
    """
    metadata = {"about": about, "bounds": (low, high), "words": tuple(words), "by_data": by_data}
    return field(default=default, metadata=metadata | {"shared": shared})


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum and a one-cycle learning rate, with augmentation as its fields say.

    `nas search --recipe help` lists each field with its default, its values and its meaning, from the
    declarations below. `default_recipe` chooses the values that suit a data set.

    Raises:
        NasError: A value has the wrong type or is out of bounds.
    """

    epochs: int = _setting(
        10,
        "passes over the training images, each without the last images that fill no batch",
        1,
        100_000,
        shared="errors after unequal epochs are not compared; --epochs sets them for all trainings",
    )
    batch_size: int = _setting(
        128, "images per step", 1, 65_536, by_data="16 for masks, 64 below 20,000 images, else 128"
    )
    lr: float = _setting(0.2, "peak of the learning rate", 0.0, math.inf)
    warm_up: float = _setting(0.3, "share of the epochs in which the learning rate rises to its peak", 0, 0.9)
    momentum: float = _setting(0.9, "Nesterov momentum; 0 for none")
    weight_decay: float = _setting(5e-4, "L2 penalty of weights; norms and biases do not decay")
    label_smoothing: float = _setting(0.1, "share of a label that is spread over all classes")
    class_weights: str | Mapping[str, float] = _setting(
        CLASSES_EQUAL,
        "weights of the classes in the loss; balanced: in inverse proportion to their number of labels; "
        "class_weights.NAME=W sets that of one class, and the others keep 1",
        words=(CLASSES_EQUAL, BALANCED),
    )
    sampling: str = _setting(
        SHUFFLED,
        "shuffled: each image at most once per epoch; balanced: as many images of each class, those of small "
        "classes several times",
        words=(SHUFFLED, BALANCED),
    )
    pad: int = _setting(
        4, "largest shift of a random crop, in pixels", 0, 1024, by_data="an eighth of the shorter side"
    )
    flip: bool = _setting(
        True,
        "whether images are mirrored left-right at random; set it to false for text and for classes that "
        "differ in left and right",
        by_data="true for colour images, false for grey ones",
    )
    color_jitter: float = _setting(0.0, "largest relative change of brightness, contrast and saturation")
    rand_augment: int = _setting(
        0,
        "magnitude of two random operations per image (rotation, shear, shift, brightness, contrast, "
        "saturation, posterize, solarize; after RandAugment, Cubuk et al., 2020); 0 for none",
        0,
        10,
    )
    cutout: int = _setting(
        0,
        "side of the blanked square in pixels (DeVries and Taylor, 2017); 0 for none",
        0,
        1024,
        by_data="a quarter of the shorter side for colour images and at least 30 epochs, else 0",
    )
    mixup: float = _setting(
        0.0,
        "alpha of the Beta distribution by which pairs of images are mixed (Zhang et al., 2018); 0 for none",
        0,
        10,
    )
    ema: float = _setting(
        0.0,
        "decay per step of the moving average of the weights that is validated and kept; 0 for none",
        0,
        0.999999,
    )
    patience: int = _setting(
        0,
        "epochs without a lower validation error, after the warm-up, after which a full training stops and "
        "keeps its best epoch; 0 for never",
        0,
        100_000,
        shared="errors after unequal epochs are not compared; halving (--fidelity) ends trainings early",
    )
    precision: str = _setting(
        "auto",
        "number format of the forward and backward pass; auto: bfloat16 if the hardware multiplies in it, "
        "else float32",
        words=PRECISIONS,
        shared="all trainings of a run share the precision that its first worker suits; --recipe sets it",
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            if setting.metadata:
                _check(setting, getattr(self, setting.name))
        if isinstance(self.class_weights, Mapping):
            weights = {name: float(weight) for name, weight in self.class_weights.items()}
            object.__setattr__(self, "class_weights", weights)

    def cycle(self, epoch: int) -> tuple[int, int]:
        """Return the first epoch and the end of the learning rate's cycle around an epoch, counted from 0."""
        return 0, self.epochs


def _check(setting: Field[Any], value: Any) -> None:
    """Raise NasError if a value of a field has the wrong type or is out of bounds."""
    where, words = f"recipe: {setting.name}", setting.metadata["words"]
    if setting.name == "class_weights" and isinstance(value, Mapping):
        _check_weights(value)
    elif isinstance(setting.default, bool):
        if not isinstance(value, bool):
            raise NasError(f"must be true or false, not {value!r}", where=where)
    elif words:
        if not isinstance(value, str) or value not in words:
            raise NasError(f"unknown {setting.name} {value!r}", where=where, hint=did_you_mean(value, words))
    else:
        whole, (low, high) = isinstance(setting.default, int), setting.metadata["bounds"]
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise NasError(f"must be a {'whole ' * whole}number, not {value!r}", where=where)
        if not low <= value <= high or value == math.inf:
            raise NasError(f"must be from {low} to {high}, not {value!r}", where=where)


def _check_weights(weights: Mapping[Any, Any]) -> None:
    where = "recipe: class_weights"
    if not weights:
        raise NasError("names no class", where=where, hint=f"leave it out, or write {BALANCED}")
    for name, weight in weights.items():
        if not isinstance(name, str):
            raise NasError(f"names of classes are text, not {name!r}", where=where)
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise NasError(f"the weight of {name!r} must be a number, not {weight!r}", where=where)
        if not 0 < weight <= MOST_WEIGHT:
            message = f"the weight of {name!r} must be above 0 and at most {MOST_WEIGHT:g}, not {weight!r}"
            raise NasError(message, where=where)


def adjusted(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields changed. Raises NasError if one is unknown or out of bounds."""
    known = [setting.name for setting in fields(Recipe)]
    for name in changes:
        if name not in known:
            hint = did_you_mean(name, known)
            raise NasError(f"unknown field {name!r}", where="recipe", hint=hint)
    return replace(recipe, **changes)


def with_epochs(recipe: Mapping[str, Any] | None, epochs: int | None) -> dict[str, Any]:
    """Return the fields of a recipe with the epochs that are given beside it. NasError for two numbers."""
    fields = dict(recipe or {})
    if epochs is not None and fields.setdefault("epochs", epochs) != epochs:
        raise NasError(f"{fields['epochs']} in the recipe, and {epochs} beside it", where="epochs")
    return fields


def check_option(name: str, value: Any) -> None:
    """Raise NasError unless a space may try this value of a field."""
    setting = next((setting for setting in fields(Recipe) if setting.name == name), None)
    if setting is None:
        known = [setting.name for setting in fields(Recipe) if not setting.metadata["shared"]]
        raise NasError(f"unknown field {name!r} of the recipe", hint=did_you_mean(name, known))
    if setting.metadata["shared"]:
        raise NasError(f"{name} is no decision", hint=setting.metadata["shared"])
    _check(setting, value)


def canonical(name: str, value: Any) -> Any:
    """Return a value in the type of its field: 1 and the text 1e-4, as YAML reads it, are floats of one."""
    default = {setting.name: setting.default for setting in fields(Recipe)}.get(name)
    if not isinstance(default, float) or isinstance(value, bool) or not isinstance(value, int | str):
        return value
    try:
        return float(value)
    except (ValueError, OverflowError):
        return value


def fields_text(recipe: Mapping[str, Any]) -> str:
    """Return fields in the form of `--recipe`, such as `lr=0.1,flip=false`."""
    return ",".join(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in recipe.items()
    )
