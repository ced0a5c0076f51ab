"""The sentence that a contrast of paired blocks allows."""

from __future__ import annotations

from math import isfinite

from nas.analysis.claims.grades import ALLOWED, LEVEL
from nas.analysis.paired.heterogeneity import Heterogeneity
from nas.stats.estimate import Estimate, percent

BOTH_TRAIN = "among contexts where both train"
"""Scope of a sentence where lost trainings may have made the effect."""


def paired_sentence(
    letter: str,
    pair: tuple[str, str],
    effect: Estimate,
    tests: tuple[float, float],
    *,
    where: str,
    epochs: int,
    smallest_effect: float,
) -> str:
    """Say what a grade allows of replacing type a by type b.

    Args:
        letter: The grade.
        pair: Names of the types a and b.
        effect: Change of error, a fraction.
        tests: p of no effect and p of an effect beyond the smallest of interest, both after Holm.
        where: The estimand in words, as in "at equal FLOPs".
        epochs: Those of the trainings.
        smallest_effect: Smallest effect of interest, a fraction.
    """
    a, b = pair
    if letter == "X":
        return f"{a} and {b}: {ALLOWED['X']} {where}"
    among = f"{BOTH_TRAIN}, " if letter == "D" else ""
    p, p_equivalent = tests
    if p < LEVEL:
        return among + _difference(letter, pair, effect, where, epochs) + _size(effect, smallest_effect)
    change = f"the change of error from {a} to {b} is {percent(effect)} points"
    if p_equivalent < LEVEL:
        margin = f"{100 * smallest_effect:.2f} points"
        return f"{among}{a} and {b} are practically equal {where}: {change}, within ±{margin}"
    return f"{among}{a} and {b} are not separated {where}: {change} (p = {p:.3f})"


def _difference(letter: str, pair: tuple[str, str], effect: Estimate, where: str, epochs: int) -> str:
    better, worse = pair[::-1] if effect.value < 0 else pair
    low, high = sorted((abs(effect.low), abs(effect.high)))
    size = percent(Estimate(abs(effect.value), low, high))
    if letter in "AB":
        scope = ALLOWED[letter].format(epochs=epochs)
        comma = "," if letter == "B" else ""
        return f"replacing {worse} by {better} lowers error by {size} points {where}{comma} {scope}"
    if letter == "C":
        return f"{better} {ALLOWED['C']} an error lower than that of {worse} by {size} points {where}"
    return f"{better} had an error lower than that of {worse} by {size} points {where}"


def _size(effect: Estimate, smallest_effect: float) -> str:
    """A warning where the interval holds effects below the smallest of interest."""
    nearest = min(abs(effect.low), abs(effect.high))
    if not isfinite(nearest) or nearest >= smallest_effect:
        return ""
    return f"; an effect below {100 * smallest_effect:.2f} points is not excluded"


def on_average(
    found: Heterogeneity, pair: tuple[str, str], effect: Estimate, p: float, share: float, contexts: int
) -> str:
    """The end of a sentence where the effect differs between contexts; "" where that is not shown.

    Args:
        share: Share of the contexts in which type b has the lower error.
    """
    if not found.significant:
        return ""
    parts = changes(found, effect, p)
    if p < LEVEL:
        better = pair[1] if effect.value < 0 else pair[0]
        wins = round((share if effect.value < 0 else 1 - share) * contexts)
        parts.insert(0, f"{better} was better in {wins} of {contexts}")
    listed = "; ".join(parts)
    return (
        f", on average over contexts: {listed}"
        if listed
        else ", on average over contexts, between which it differs"
    )


def changes(found: Heterogeneity, effect: Estimate, p: float) -> list[str]:
    """Say with which properties an effect changes, and how large it is where each is low and high."""
    sign = (-1 if effect.value < 0 else 1) if p < LEVEL else 0
    return [
        _interaction(change.name, [(s.name, s.effect.value) for s in change.strata], sign)
        for change in found.interactions
        if change.p < LEVEL
    ]


def _interaction(covariate: str, strata: list[tuple[str, float]], sign: int) -> str:
    """The effects in strata, as reductions of the error where the sentence speaks of one (`sign` not 0)."""
    form, scale = (".2f", 100 * sign) if sign else ("+.2f", 100)
    figures = [(name, format(scale * value, form)) for name, value in strata]
    changes = ", ".join(f"{figure} points at {name}" for name, figure in figures)
    return f"the effect changes with {covariate}" + (f" ({changes})" if changes else "")
