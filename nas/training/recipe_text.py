"""A recipe in words: its fields, how it augments images, and how it treats classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import Field, fields, replace
from math import isinf
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.formatting import count
from nas.training.recipe import BALANCED, Recipe

if TYPE_CHECKING:
    from nas.data import Dataset

AUGMENTS = ("pad", "flip", "color_jitter", "rand_augment", "cutout", "mixup")
"""Fields of a recipe that change images, in the order of `augmentation`."""
CLASS_FIELDS = ("class_weights", "sampling")
"""Fields of a recipe that treat classes apart."""

UNEQUAL = 3
"""Ratio of the numbers of images of two classes from which balancing them is suggested."""


def field_rows() -> list[dict[str, str]]:
    """Return one row per field of a recipe: its name, default and meaning, with the values that it takes."""
    return [
        {"field": f.name, "default": "by data" if _by_data(f) else _shown(f.default), "meaning": _meaning(f)}
        for f in fields(Recipe)
    ]


def _meaning(setting: Field[Any]) -> str:
    default = f" By default {_by_data(setting)}." if _by_data(setting) else ""
    return f"{setting.metadata['about']} ({_values(setting)}).{default}"


def _by_data(setting: Field[Any]) -> str:
    return str(setting.metadata["by_data"])


def _values(setting: Field[Any]) -> str:
    if setting.metadata["words"]:
        return ", ".join(setting.metadata["words"])
    if isinstance(setting.default, bool):
        return "true or false"
    low, high = setting.metadata["bounds"]
    return f"from {low:g}" if isinf(high) else f"{low:,} to {high:,}"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def augmentation(recipe: Recipe) -> str:
    """Return how a recipe augments images, in words; none if it does not."""
    steps = [f"shifted by up to {count(recipe.pad, 'pixel')}"] if recipe.pad else []
    steps += ["mirrored left-right at random"] if recipe.flip else []
    steps += [f"colours changed by up to {recipe.color_jitter:.0%}"] if recipe.color_jitter else []
    steps += [f"two random operations of magnitude {recipe.rand_augment}"] if recipe.rand_augment else []
    steps += [f"a square of {count(recipe.cutout, 'pixel')} cut out"] if recipe.cutout else []
    steps += [f"mixed in pairs (alpha {recipe.mixup:g})"] if recipe.mixup else []
    return ", ".join(steps) or "none"


def recipe_lines(recipe: Recipe, dataset: Dataset, searched: Collection[str] = ()) -> list[str]:
    """Return the lines on augmentation and classes below those of `nas.data.summary.data_lines`.

    Mirroring is named with what turns it off, because it is wrong for text. Classes are named where the
    recipe treats them apart, or where they differ much in number and it does not.

    searched: fields that each candidate has its own value of; the recipe's value is not in use.
    """
    own = [field for field in AUGMENTS if field in searched]
    fixed = replace(recipe, **{field: type(getattr(recipe, field))(0) for field in own})
    text = augmentation(fixed)
    if own:
        text += f"; searched: {', '.join(own)}"
    if "flip" in own or fixed.flip:
        remedy = "leave flip out of the space" if "flip" in own else "--recipe flip=false"
        text += f"; {'flip is ' * ('flip' in own)}not for text or left-right classes: {remedy}"
    lines = [("augmented", text), ("classes", classes(recipe, dataset, searched))]
    return [f"{label:<11} {text}" for label, text in lines if text]


def classes(recipe: Recipe, dataset: Dataset, searched: Collection[str] = ()) -> str:
    """Return how a recipe treats classes of unequal size, or what could be done; "" where there is nothing
    to say. Candidates have their own values of the fields that are searched."""
    own = [field for field in CLASS_FIELDS if field in searched]
    weights, sampling = (None if name in own else getattr(recipe, name) for name in CLASS_FIELDS)
    steps = [f"searched: {', '.join(own)}"] if own else []
    if isinstance(weights, Mapping):
        named = (f"{name} {weight:g}" for name, weight in weights.items())
        steps.append(f"weights in the loss: {', '.join(named)}, all others 1")
    elif weights == BALANCED:
        steps.append("weighted in inverse proportion to their number of labels")
    if sampling == BALANCED:
        steps.append("shown equally often")
    if steps or dataset.task != "classification":
        return "; ".join(steps)
    counts = np.bincount(dataset.train_labels)
    ratio = counts.max() / counts[counts > 0].min()
    if ratio < UNEQUAL:
        return ""
    return (
        f"one has {ratio:.3g} times as many training images as another: see "
        f"--objectives balanced_error,flops and --recipe class_weights={BALANCED}"
    )
