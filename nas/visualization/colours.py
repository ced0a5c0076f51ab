"""The colour of each module type, the same in plots, drawings, pages and the terminal, in every run.

The first seven are those of Okabe and Ito (2008), which colour-blind readers can tell apart, with a yellow
that is legible on white; markers repeat the distinction. The last ten were chosen one by one, each as far
from the others as CIELAB allows. Terminals show marks on black and on white.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nas.analysis.table import MIXED


class Shades(NamedTuple):
    """One colour: of marks on light and dark pages, and of areas behind text on both."""

    mark: str
    mark_dark: str
    area: str
    area_dark: str


PALETTE = (
    Shades("#0072b2", "#3f9fdc", "#cfe2f3", "#22405c"),
    Shades("#e69f00", "#e69f00", "#fde7c3", "#5a4417"),
    Shades("#009e73", "#1fb88c", "#cdeade", "#1d4b3b"),
    Shades("#cc79a7", "#d98bb6", "#f3d9e8", "#56314a"),
    Shades("#d55e00", "#e8743b", "#f8d5c2", "#5c331f"),
    Shades("#56b4e9", "#8ccdf2", "#dbeefb", "#244a5f"),
    Shades("#b3a400", "#f0e442", "#f7f3c4", "#504c16"),
    Shades("#7b52ab", "#a98bd6", "#e2d8ef", "#3d2b57"),
    Shades("#8c5a3c", "#c08a68", "#ead9cc", "#4a3224"),
    Shades("#2f6f6f", "#5fa8a8", "#cfe3e3", "#1f4444"),
    Shades("#a3123f", "#e0557f", "#f2cdd8", "#571428"),
    Shades("#fa01d2", "#f536ea", "#f9d1ed", "#6b1d5a"),
    Shades("#4153ff", "#b56ffb", "#d8cefd", "#413b81"),
    Shades("#3fa50d", "#34e83b", "#bad4aa", "#30541f"),
    Shades("#f30032", "#f95a57", "#f8d5d0", "#712121"),
    Shades("#4e6d11", "#86993b", "#d0d8bc", "#3d4825"),
    Shades("#e80d8a", "#ff41b0", "#f6bcd1", "#7b3152"),
    Shades("#d06ff9", "#fd83f1", "#f1d2fb", "#532f62"),
    Shades("#e9776e", "#fd8586", "#f2cbc7", "#653834"),
    Shades("#4b83fe", "#4d8ff8", "#c5caf1", "#3b497a"),
    Shades("#a09a64", "#e3dca2", "#e0ddcc", "#413e29"),
)
GREY = Shades("#777777", "#9a9a9a", "#e4e4e4", "#3c3f43")
"""Colour of mixed networks, stems and heads."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

ORDER = (
    *("residual", "fractal", "plain", "bottleneck", "resnext", "inception", "dense"),
    *("separable", "inverted_bottleneck", "activated_conv", "max_pool", "convnext", "attention", "cell"),
    *("factorized_inception", "fire", "grammar", "inverted_bottleneck_v3", "inception_reduction", "regnet"),
    "shuffle",
)
"""Our module types in the order of their colours. Types of plug-ins follow as they were loaded."""


def places(types: Iterable[str]) -> dict[str, int]:
    """Return the place of each type in the palette.

    Types that are not registered, such as those of another trainer's table, follow in the order of names.
    """
    from nas.modules import MODULE_TYPES

    names = set(types) - {MIXED}
    known = [*ORDER, *(name for name in MODULE_TYPES if name not in ORDER)]
    return {name: i for i, name in enumerate([*known, *sorted(names - set(known))]) if name in names}


def in_order(types: Iterable[str]) -> list[str]:
    """Return the types in the order of legends and lists: by name, the mixed last."""
    return sorted(set(types), key=lambda name: (name == MIXED, name))


def shades(name: str, among: Iterable[str] = ()) -> Shades:
    """Return the colour of a type; `among` holds the unregistered types of the same picture."""
    return GREY if name == MIXED else PALETTE[places({name, *among})[name] % len(PALETTE)]


def marker(name: str, among: Iterable[str] = ()) -> str:
    """Return the marker of a type, as matplotlib names it."""
    return "." if name == MIXED else MARKERS[places({name, *among})[name] % len(MARKERS)]


def type_of_kind(kind: str) -> str:
    """Return the module type of a class in the generated code; "" for stems, heads and others."""
    from nas.modules import MODULE_TYPES

    return next((name for name, cls in MODULE_TYPES.items() if cls.__name__ == kind), "")


def css_class(name: str, among: Iterable[str] = ()) -> str:
    """Return the CSS class of marks of a type."""
    return "mixed" if name == MIXED else f"c{places({name, *among})[name] % len(PALETTE)}"


def stylesheet() -> str:
    """Return the colours as CSS: variables for light and dark pages, and classes for marks and areas."""
    rows = [*((str(i), colour) for i, colour in enumerate(PALETTE)), ("mixed", GREY)]
    light = " ".join(f"{_mark(i)}: {c.mark}; --k{i}: {c.area};" for i, c in rows)
    dark = " ".join(f"{_mark(i)}: {c.mark_dark}; --k{i}: {c.area_dark};" for i, c in rows)
    classes = [f".{_mark(i)[2:]} {{ fill: var({_mark(i)}); }}" for i, _ in rows]
    classes += [f".k{i} {{ fill: var(--k{i}) !important; }}" for i, _ in rows]
    on_dark = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return "\n".join((f":root {{ {light} }}", on_dark, *classes, ""))


def _mark(place: str) -> str:
    return "--mixed" if place == "mixed" else f"--c{place}"


def colour_words(text: str, types: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return (start, end, colour) of each name of a type in a text."""
    import re

    if not types:
        return []
    words = "|".join(sorted(map(re.escape, types), key=len, reverse=True))
    found = re.finditer(rf"(?<![\w.-])(?:{words})(?![\w-])", text)
    return [(match.start(), match.end(), shades(match[0], types).mark) for match in found]
