"""Claims of an analysis, each once: the sentence, its grade, and what would strengthen it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.analysis.claims.grades import LETTERS, MEANINGS
from nas.analysis.text.statements import AnyContrast, listing, pair_name

if TYPE_CHECKING:
    from nas.analysis.analyze import Analysis


@dataclass(frozen=True)
class Claim:
    """A sentence with its grade; `needs` are the conditions of a better grade that are not met."""

    sentence: str
    grade: str
    needs: tuple[str, ...]


def claims_of(analysis: Analysis) -> list[Claim]:
    """Return the claims, best grade first: one per contrast and estimand, from the sample that supports most.

    Contrasts without a ranking are one claim for each set of conditions that they miss.
    """
    contrasts = list(_contrasts(analysis))
    supported = [
        Claim(_sentence(c), c.grade, tuple(map(str, c.refused))) for c in contrasts if c.grade != "X"
    ]
    claims = sorted(supported, key=lambda claim: LETTERS.index(claim.grade))
    return [*claims, *_unranked(contrasts)] or [Claim("Nothing: the networks hold one module type.", "X", ())]


def claim_lines(analysis: Analysis) -> list[str]:
    """Return one line per claim, and the meaning of each grade that occurs. Claims without a ranking name the
    first condition that they miss."""
    claims = claims_of(analysis)
    lines = []
    for claim in claims:
        missing = f" Missing: {claim.needs[0]}." if claim.grade == "X" and claim.needs else ""
        lines.append(f"{claim.grade}  {claim.sentence}{missing}")
    return [*lines, *legend(claim.grade for claim in claims)]


def legend(grades: Iterator[str]) -> list[str]:
    """Return `D = descriptive: …`, one line per grade that occurs."""
    occur = set(grades)
    return [f"{letter} = {MEANINGS[letter]}." for letter in LETTERS if letter in occur]


def _contrasts(analysis: Analysis) -> Iterator[AnyContrast]:
    """Yield each contrast once: of paired contexts by estimand, else from the sample with the best grade."""
    if analysis.paired:
        same = [c for c in analysis.paired.contrasts if c.same_trainings and c.estimand == "E1"]
        yield from (c for c in analysis.paired.contrasts if c not in same)
    best: dict[tuple[str, str], AnyContrast] = {}
    unpaired: list[AnyContrast] = [c for sample in analysis.comparisons for c in sample.contrasts]
    for c in (*unpaired, *analysis.unpaired):
        known = best.get((c.a, c.b))
        if known is None or LETTERS.index(c.grade) < LETTERS.index(known.grade):
            best[c.a, c.b] = c
    yield from best.values()


def _sentence(contrast: AnyContrast) -> str:
    """Return the claim as a sentence; the name of a type keeps its small letter."""
    claim = contrast.claim
    named = claim.startswith((contrast.a, contrast.b))
    return f"{claim}." if named else f"{claim[0].upper()}{claim[1:]}."


def _unranked(contrasts: Sequence[AnyContrast]) -> Iterator[Claim]:
    groups: dict[tuple[str, ...], list[AnyContrast]] = {}
    for c in contrasts:
        if c.grade == "X":
            groups.setdefault(tuple(gate.name for gate in c.refused), []).append(c)
    names = [pair_name(c) for c in contrasts]
    for own in groups.values():
        alike = zip(*(c.refused for c in own), strict=True)
        worst = [max(gates, key=lambda gate: gate.missing) for gates in alike]
        pairs = listing(list(dict.fromkeys(map(pair_name, own))), list(dict.fromkeys(names)))
        yield Claim(f"No ranking is supported of {pairs}.", "X", tuple(map(str, worst)))
