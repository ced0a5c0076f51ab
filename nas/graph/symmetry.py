"""Certificates of coloured graphs in which colours alone leave vertices that cannot be told apart.

Colours are refined until the vertices of a cell have equally many neighbours of each kind in every cell.
Two cells are then described by the kind of edge that most of their pairs have, and by the pairs that
differ. Such pairs hold components together, which are certified one by one. If a component has several
vertices in a cell, one of them is individualised and the colours are refined again (McKay and Piperno,
2014). The least certificate over the choices counts; a choice is left out if an automorphism maps it to
an earlier one.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.errors import NasError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABEL_BITS = 16
"""Bits for the number of equal edges from one vertex to another."""
PRIME = 2_097_143
MAX_WALKED = 1024
"""Most vertices of a part whose walks are counted. Sums of products are then exact in double precision."""
DOUBLINGS = 4
"""Doublings of the length of walks, which end at 16 steps."""
MAX_WORK = 500_000
"""Most vertices refined for one graph, summed over its choices, which takes some seconds. Only graphs of
more than a thousand vertices that all look alike need more; they are refused."""

TOO_SYMMETRIC = "its graph is too symmetric to be identified"

Colours = Mapping[int, int]
Members = Mapping[int, Sequence[int]]
Automorphism = Mapping[int, int]


class Certified(NamedTuple):
    """Certificate of a part of the graph.

    order: its vertices, so that for two parts with one certificate order[i] -> other.order[i] is an
        isomorphism.
    automorphisms: some that were found on the way, each as the vertices that it moves.
    """

    certificate: bytes
    order: list[int]
    automorphisms: list[Automorphism]


def certificate(colours: Sequence[int], edges: Iterable[tuple[int, int, int]]) -> bytes:
    """Return bytes that are equal exactly for isomorphic graphs, among graphs with the same multiset of
    colours.

    colours: colour of each vertex; no edge may join vertices of one colour.
    edges: source, target and label of each edge. Labels are small integers, and edges may repeat.

    Raises NasError if the graph is so symmetric that its certificate takes more than `MAX_WORK`.
    """
    labels: Counter[tuple[int, int]] = Counter()  # of all edges from one vertex to another, as one number
    for source, target, label in edges:
        labels[source, target] += 1 << (LABEL_BITS * label)
    neighbours: list[list[tuple[int, int]]] = [[] for _ in colours]
    for (source, target), label in labels.items():
        neighbours[source].append((target, 2 * label))
        neighbours[target].append((source, 2 * label + 1))
    search = _Search(neighbours)
    start = _ranked(dict(enumerate(colours)))
    refined = search.refine(start, list(start))
    parts = search.components(refined, _members(refined))
    walks = {vertex: walk for part in parts for vertex, walk in search.count_walks(part).items()}
    walked = _ranked({vertex: (colour, walks.get(vertex, ())) for vertex, colour in refined.items()})
    try:
        return search.certify_refined(start, search.refine(walked, list(walked))).certificate
    except RecursionError:
        raise NasError(TOO_SYMMETRIC, where="network") from None


class _Search:
    """The search for one graph.

    known: by the certificate of a choice in a part, the order of that choice and the part as certified.
    """

    def __init__(self, neighbours: Sequence[Sequence[tuple[int, int]]]) -> None:
        self.neighbours = neighbours
        self.known: dict[bytes, tuple[list[int], Certified]] = {}
        self.work = 0

    def refine(self, colours: Colours, changed: list[int]) -> dict[int, int]:
        """Return the coarsest equitable colouring finer than `colours`, which is equitable but for the
        vertices `changed`."""
        cell, members = dict(colours), _members(colours)
        fresh = max(members, default=0) + 1
        while changed:
            seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
            for vertex in changed:
                for other, kind in self.neighbours[vertex]:
                    if other in cell:
                        seen[other].append((cell[vertex], kind))
            touched: dict[int, dict[tuple[tuple[int, int], ...], list[int]]] = {}
            for vertex, pairs in seen.items():
                if len(members[cell[vertex]]) > 1:
                    fragments = touched.setdefault(cell[vertex], {})
                    fragments.setdefault(tuple(sorted(pairs)), []).append(vertex)
            changed = []
            for at in sorted(touched):
                fragments = touched[at]
                rest = len(members[at]) - sum(map(len, fragments.values()))
                if not rest:  # one fragment keeps the colour: the largest, of several the first
                    del fragments[min(fragments, key=lambda key: (-len(fragments[key]), key))]
                for key in sorted(fragments):
                    for vertex in fragments[key]:
                        cell[vertex] = fresh
                    members[fresh] = fragments[key]
                    changed += fragments[key]
                    fresh += 1
                if fragments:
                    members[at] = [vertex for vertex in members[at] if cell[vertex] == at]
        return cell

    def components(self, colours: Colours, members: Members) -> list[dict[int, int]]:
        """Return the parts, each with its colours, that are held together by pairs that differ from most
        pairs of their two cells. Vertices that are alone in their cell are in none."""
        todo = {vertex for cell in members.values() if len(cell) > 1 for vertex in cell}
        usual = {
            colour: self._usual(cell[0], colours, members)
            for colour, cell in members.items()
            if len(cell) > 1
        }
        components = []
        for start in colours:
            if start not in todo:
                continue
            todo.remove(start)
            reached = [start]
            for vertex in reached:  # grows meanwhile
                kinds = usual[colours[vertex]]
                usually = set()
                for other, kind in self.neighbours[vertex]:
                    if other in colours and kinds.get(colours[other]) == kind:
                        usually.add(other)
                    elif other in todo:
                        todo.remove(other)
                        reached.append(other)
                for colour, most in kinds.items():
                    if most is not None:
                        rest = [other for other in members[colour] if other in todo and other not in usually]
                        reached += rest
                        todo.difference_update(rest)
            components.append({vertex: colours[vertex] for vertex in reached})
        return components

    def _usual(self, vertex: int, colours: Colours, members: Members) -> dict[int, int | None]:
        """Return the kind of edge (None for no edge) from the vertex to most vertices of each cell of
        several in which it has neighbours."""
        usual: dict[int, int | None] = {}
        most: dict[int, tuple[int, int]] = {}
        left: dict[int, int] = {}
        for (colour, kind), count in self._row(vertex, colours).items():
            if (size := len(members[colour])) == 1:
                continue
            left[colour] = left.get(colour, size) - count
            if (count, kind >> 1) > most.get(colour, (0, 0)):  # of equal numbers, alike from both ends
                most[colour], usual[colour] = (count, kind >> 1), kind
        return {colour: None if left[colour] >= most[colour][0] else kind for colour, kind in usual.items()}

    def count_walks(self, part: Colours) -> dict[int, tuple[float, ...]]:
        """Return an invariant of each vertex: the numbers, modulo a prime, of walks from it to every other.
        It tells most vertices apart that refined colours do not, except where a symmetry maps one to
        the other, so that few choices are left to try."""
        if _is_transversal(part) or len(part) > MAX_WALKED:
            return {}
        import numpy as np

        index = {vertex: i for i, vertex in enumerate(part)}
        walks = np.diag([colour + 1.0 for colour in part.values()])
        for vertex, i in index.items():
            for other, kind in self.neighbours[vertex]:
                if other in index:
                    walks[i, index[other]] = (kind >> 1) % PRIME
        for _ in range(DOUBLINGS):
            walks = _modulo(walks @ walks)
        squares = _modulo(walks * walks)
        invariants = np.stack([walks.diagonal(), squares.sum(axis=1), _modulo(squares * walks).sum(axis=1)])
        return dict(zip(part, map(tuple, invariants.T.tolist()), strict=True))

    def certify_refined(self, before: Colours, colours: Colours) -> Certified:
        """Certify a part whose `colours`, refined from those `before`, are equitable."""
        members = _members(colours)
        rows = [
            (colour, before[cell[0]], len(cell), sorted(self._row(cell[0], colours).items()))
            for colour, cell in sorted(members.items())
        ]
        parts = sorted(
            map(self.certify, self.components(colours, members)), key=lambda part: part.certificate
        )
        order = [members[colour][0] for colour in sorted(members) if len(members[colour]) == 1]
        automorphisms: list[Automorphism] = []
        for i, part in enumerate(parts):
            order += part.order
            automorphisms += part.automorphisms
            if i and parts[i - 1].certificate == part.certificate:
                there = zip(parts[i - 1].order, part.order, strict=True)
                back = zip(part.order, parts[i - 1].order, strict=True)
                automorphisms.append(dict((*there, *back)))
        return Certified(_hash(rows, [part.certificate for part in parts]), order, automorphisms)

    def certify(self, part: Colours) -> Certified:
        """Certify a component whose colours are equitable."""
        if _is_transversal(part):
            order = sorted(part, key=lambda vertex: part[vertex])
            return Certified(_hash([part[vertex] for vertex in order]), order, [])
        cells = [(len(cell), colour, cell) for colour, cell in _members(part).items() if len(cell) > 1]
        _, _, candidates = max(cells)
        orbit = {vertex: vertex for vertex in candidates}
        tried: dict[bytes, Certified] = {}
        automorphisms: list[Automorphism] = []
        explored: list[int] = []
        for vertex in candidates:
            if any(_find(orbit, vertex) == _find(orbit, other) for other in explored):
                continue
            choice = self._individualise(part, vertex)
            if choice.certificate in self.known:  # then the part is isomorphic to that of the known choice
                order, whole = self.known[choice.certificate]
                image = dict(zip(order, choice.order, strict=True))
                return Certified(whole.certificate, [image[other] for other in whole.order], [])
            explored.append(vertex)
            found = choice.automorphisms
            if choice.certificate in tried:
                image = dict(zip(tried[choice.certificate].order, choice.order, strict=True))
                found = [*found, image]
            else:
                tried[choice.certificate] = choice
            for mapping in found:
                for source in candidates:
                    _join(orbit, source, mapping.get(source, source))
            automorphisms += found
        best = min(tried)
        whole = Certified(_hash("part", best), tried[best].order, automorphisms)
        self.known |= {key: (choice.order, whole) for key, choice in tried.items()}
        return whole

    def _individualise(self, part: Colours, vertex: int) -> Certified:
        self.work += len(part)
        if self.work > MAX_WORK:
            raise NasError(TOO_SYMMETRIC, where="network")
        alone = {**part, vertex: max(part.values()) + 1}
        return self.certify_refined(part, self.refine(alone, [vertex]))

    def _row(self, vertex: int, colours: Colours) -> Counter[tuple[int, int]]:
        """Count the neighbours of a vertex by colour and kind of edge."""
        return Counter(
            [(colours[other], kind) for other, kind in self.neighbours[vertex] if other in colours]
        )


def _modulo(numbers: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers modulo `PRIME`, exact as `%` is but quicker."""
    import numpy as np

    remainder: NDArray[Any] = numbers - PRIME * np.floor(numbers / PRIME)
    return remainder


def _ranked(keys: Mapping[int, Any]) -> dict[int, int]:
    """Number the keys of vertices in their order."""
    ranks = {key: rank for rank, key in enumerate(sorted(set(keys.values())))}
    return {vertex: ranks[key] for vertex, key in keys.items()}


def _members(colours: Colours) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for vertex, colour in colours.items():
        members.setdefault(colour, []).append(vertex)
    return members


def _is_transversal(part: Colours) -> bool:
    """Tell whether no two vertices share a colour, so that the colours determine the part."""
    return len(set(part.values())) == len(part)


def _find(parents: dict[int, int], vertex: int) -> int:
    while parents[vertex] != vertex:
        parents[vertex] = vertex = parents[parents[vertex]]
    return vertex


def _join(parents: dict[int, int], a: int, b: int) -> None:
    parents[_find(parents, a)] = _find(parents, b)


def _hash(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
