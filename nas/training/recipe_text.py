"""A recipe in words: its fields, and how it augments images."""

from __future__ import annotations

from dataclasses import Field, fields
from math import isinf
from typing import Any

from nas.formatting import count
from nas.training.recipe import Recipe


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


def augmentation_line(recipe: Recipe) -> str:
    """Return the line on augmentation below those of `nas.data.summary.data_lines`.

    Mirroring is named with the field that turns it off, because it is wrong for text.
    """
    hint = "; not for text or left-right classes: --recipe flip=false" if recipe.flip else ""
    return f"{'augmented':<11} {augmentation(recipe)}{hint}"
