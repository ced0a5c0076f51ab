"""Sentences that contrasts allow, one per line, and the gates that keep them from more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.analysis.claims.grades import Gate
from nas.analysis.comparison import Contrast
from nas.analysis.paired.contrast import PairedContrast
from nas.analysis.unpaired import UnpairedContrast

AnyContrast = Contrast | PairedContrast | UnpairedContrast


def statements(contrasts: Sequence[AnyContrast]) -> list[str]:
    """Sentences of the contrasts; then each gate that stops some, with what the worst of them lacks."""
    lines = [f"  {c.grade}  {c.claim}" for c in contrasts if c.grade != "X"]
    if silent := unsupported(contrasts):
        lines.append(f"  X  no ranking is supported: {silent}")
    return [*lines, *(f"  no better grade for {stop}" for stop in stopped(contrasts))]


def unsupported(contrasts: Sequence[AnyContrast]) -> str:
    """The contrasts of which nothing may be said; "" where there are none."""
    if not contrasts:
        return "one module type"
    return listing([pair_name(c) for c in contrasts if c.grade == "X"], [pair_name(c) for c in contrasts])


def stopped(contrasts: Sequence[AnyContrast]) -> list[str]:
    """The contrasts that each gate keeps from a better grade, and what is missing where most is."""
    found: dict[str, list[tuple[Gate, str]]] = {}
    for c in contrasts:
        for gate in c.refused:
            found.setdefault(gate.name, []).append((gate, pair_name(c)))
    lines = []
    for stops in found.values():
        pairs = listing([pair for _, pair in stops], [pair_name(c) for c in contrasts])
        gate, pair = max(stops, key=lambda stop: stop[0].missing)
        of_one = f" (of {pair}, which lacks most)" if len({str(gate) for gate, _ in stops}) > 1 else ""
        lines.append(f"{pairs}: {gate}{of_one}")
    return lines


def pair_name(contrast: AnyContrast) -> str:
    return f"{contrast.a} -> {contrast.b}"


def listing(pairs: Sequence[str], among: Sequence[str]) -> str:
    """Name some contrasts among all of them, by those that are left out where these are few."""
    rest = [pair for pair in among if pair not in pairs]
    if not rest and len(pairs) > 1:
        return "all contrasts"
    if len(rest) < len(pairs) / 3:
        return f"all contrasts but {', '.join(rest)}" if rest else pairs[0]
    return ", ".join(pairs)


def grades_line(counts: Mapping[str, int]) -> str:
    """`Grades: 3 B, 7 C.`"""
    if not counts:
        return "No contrast."
    return f"Grades: {', '.join(f'{number} {letter}' for letter, number in counts.items())}."


def order_line(groups: Sequence[Sequence[str]], where: str = "at equal FLOPs") -> str:
    """The groups as a line; `~` joins types that are not separated, which does not make them equal."""
    ties = [" ~ ".join(group) for group in groups]
    if sum(map(len, groups)) == len(set().union(*groups)):
        return f"Order of error {where}, '~' where not separated: {'  <  '.join(ties)}"
    return (
        f"Types not separated {where}, the lowest errors first: {';  '.join(ties)}. Two types that "
        "share no group are separated"
    )
