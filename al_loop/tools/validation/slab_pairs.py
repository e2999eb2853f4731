"""Two slabs that face each other: which planes, repeated how often, and shifted how."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from al_loop.errors import InputError, NoAnswerError
from al_loop.structures.generators.slabs import join
from al_loop.tools.validation.slabs import NO_EQUAL_FACES, Facet, conventional, facets, slab

HALVES = ((0.0, 0.0), (1 / 2, 0.0), (0.0, 1 / 2), (1 / 2, 1 / 2))  # of the lattice vectors: tops, bridges, hollows
THIRDS = ((1 / 3, 2 / 3), (2 / 3, 1 / 3))  # the hollows of a hexagonal plane
HEXAGONAL_DEG = 120.0
SEEN_A = 7.0  # shifts with the same distances across the interface up to here are one
SAME_A = 0.01
IMAGES = np.array(list(product(range(-4, 5), repeat=2)))
MOST_REPEATS = 4
GAP_A = 2.5  # before the slabs are brought into touch

Array = NDArray[np.float64]
Shift = tuple[float, float]
Repeats = tuple[int, int]


@dataclass(frozen=True)
class Pair:
    """Two crystals and the planes that face each other.

    Attributes:
        crystals: conventional cells, lower and upper.
        planes: of both.
        repeats: of both in the plane, so that they match.
        vacuum_A: above the upper slab.
        max_mismatch: of the lattices in the plane.
        same: the two are one crystal.
    """

    crystals: tuple[Atoms, Atoms]
    planes: tuple[Facet, Facet]
    repeats: tuple[Repeats, Repeats]
    vacuum_A: float
    max_mismatch: float
    same: bool

    @property
    def name(self) -> str:
        """The planes."""
        lower, upper = self.planes
        if self.same:
            return f"{lower.name} on itself"
        return f"{self.crystals[1].symbols.formula.reduce()[0]} {upper.name} on {lower.name}"

    @property
    def strained(self) -> str:
        """What the upper slab has to bear, for a note."""
        if self.same:
            return ""
        lower, upper = (self._slab(i, crystal) for i, crystal in enumerate(self.crystals))
        return f", the upper slab strained by {mismatch(lower, upper):.1%}"

    def joined(self, lower: Atoms, upper: Atoms) -> Atoms:
        """Both slabs, cut of crystals that may be relaxed, the lower one's atoms first, not yet in touch.

        Raises:
            NoAnswerError: their lattices do not match.
        """
        try:
            return join(
                self._slab(0, lower),
                self._slab(1, upper),
                names=("the lower slab", "the upper slab"),
                gap_A=GAP_A,
                vacuum_A=self.vacuum_A,
                max_mismatch=2 * self.max_mismatch,  # relaxed lattices may match a little less than those given
            )
        except InputError as error:
            raise NoAnswerError(str(error)) from error

    @property
    def count(self) -> int:
        """How many atoms the lower slab has."""
        return len(self._slab(0, self.crystals[0]))

    def _slab(self, which: int, crystal: Atoms) -> Atoms:
        plane = self.planes[which]
        return slab(crystal, plane, plane.shifts[0], self.vacuum_A).repeat((*self.repeats[which], 1))


def pair_of(lower: Atoms, upper: Atoms | None, *, thickness_A: float, vacuum_A: float, max_mismatch: float) -> Pair:
    """Choose planes and repeats: of one crystal its first plane, of two the pair with the fewest atoms that matches.

    Raises:
        NoAnswerError: no plane with equal faces, or none that match.
    """
    crystals = conventional(lower), conventional(lower if upper is None else upper)
    planes = [_planes(crystal, thickness_A) for crystal in crystals]
    if not all(planes):
        raise NoAnswerError(NO_EQUAL_FACES)
    if upper is None:
        return Pair(crystals, (planes[0][0], planes[0][0]), ((1, 1), (1, 1)), vacuum_A, max_mismatch, same=True)
    tried = [
        Pair(crystals, both, repeats, vacuum_A, max_mismatch, same=False)
        for both in product(planes[0][:1], planes[1])
        for repeats in _matching(crystals, both, max_mismatch)
    ]
    if not tried:
        raise NoAnswerError(
            f"no plane of the upper crystal matches {planes[0][0].name} of the lower one within {max_mismatch:.0%} and"
            f" {MOST_REPEATS} repeats"
        )
    return min(tried, key=lambda pair: len(pair.joined(*crystals)))


def mismatch(lower: Atoms, upper: Atoms) -> float:
    """Largest deformation of the upper slab's vectors in the plane, a fraction."""
    wanted, given = lower.cell.array[:2], upper.cell.array[:2]
    return float((np.linalg.norm(given - wanted, axis=1) / np.linalg.norm(given, axis=1)).max())


def _planes(crystal: Atoms, thickness_A: float) -> list[Facet]:
    found = facets(crystal, max_index=1, thickness_A=thickness_A, most_terminations=1)
    return [facet for facet in found if facet.shifts]


def _matching(
    crystals: tuple[Atoms, Atoms], planes: tuple[Facet, Facet], max_mismatch: float
) -> Iterator[tuple[Repeats, Repeats]]:
    """The smallest repeats of both at which the lattices in the plane match, if any do."""
    slabs = [slab(crystal, plane, plane.shifts[0], GAP_A) for crystal, plane in zip(crystals, planes, strict=True)]
    once_and_more = range(1, MOST_REPEATS + 1)
    counts = list(product(once_and_more, once_and_more))
    pairs = sorted(product(counts, counts), key=lambda pair: (np.prod(pair[0]) + np.prod(pair[1]), pair))
    for lower, upper in pairs:
        cells = [Atoms(cell=s.cell.array * [[n], [m], [1]]) for s, (n, m) in zip(slabs, (lower, upper), strict=True)]
        if mismatch(*cells) <= max_mismatch:
            yield lower, upper
            return


def shifted(joined: Atoms, count: int, shift: Shift) -> Atoms:
    """Move the upper slab along the lower one, and then down until two atoms touch.

    They touch at the mean of the shortest distances inside the two slabs. The lower slab's ``count`` atoms come first;
    the shift is in fractions of the two lattice vectors.
    """
    moved = joined.copy()
    moved.positions[count:] += np.array(shift) @ moved.cell.array[:2]
    apart = _across(moved, count)
    along = np.einsum("...x,...x", apart[..., :2], apart[..., :2])
    touching = _touching_A(moved, count)
    near = along < touching**2
    moved.positions[count:, 2] += (np.sqrt(touching**2 - along[near]) - apart[..., 2][near]).max()
    return moved


def distinct_shifts(joined: Atoms, count: int) -> list[Shift]:
    """Shifts to tops, bridges and hollows that set the atoms across the interface at different distances."""
    found: list[Shift] = []
    seen: list[list[Array]] = []
    a, b, *_, angle = joined.cell.cellpar()
    hexagonal = abs(a - b) < SAME_A and abs(angle - HEXAGONAL_DEG) < 1
    for shift in (*HALVES, *THIRDS) if hexagonal else HALVES:
        distances = _distances(shifted(joined, count, shift), count)
        if not any(_equal(distances, other) for other in seen):
            found.append(shift)
            seen.append(distances)
    return found


def _distances(joined: Atoms, count: int) -> list[Array]:
    """All distances across the interface, ascending, for each pair of elements."""
    lengths = np.linalg.norm(_across(joined, count), axis=-1)
    below, above = joined.numbers[:count], joined.numbers[count:]
    return [
        np.sort(lengths[np.ix_(below == first, above == second)].ravel())
        for first in np.unique(below)
        for second in np.unique(above)
    ]


def _equal(first: list[Array], second: list[Array]) -> bool:
    near = [np.searchsorted(distances, SEEN_A) for distances in first]
    return all(np.allclose(a[:n], b[:n], atol=SAME_A) for a, b, n in zip(first, second, near, strict=True))


def _across(joined: Atoms, count: int) -> Array:
    """Vectors from each lower atom to each upper one and its images in the plane (lower, upper, images, 3)."""
    images = IMAGES @ joined.cell.array[:2]
    vectors: Array = joined.positions[None, count:] - joined.positions[:count, None]
    return np.asarray(vectors[:, :, None] + images)


def _touching_A(joined: Atoms, count: int) -> float:
    shortest = []
    for part in (joined[:count], joined[count:]):
        reach = 1.0
        while not (found := neighbor_list("d", part, reach)).size:
            reach += 1.0
        shortest.append(float(found.min()))
    return float(np.mean(shortest))
