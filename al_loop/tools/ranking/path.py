"""The ends of a path, refused before any computing starts if they do not fit, and the band between them."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import FIRE
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from al_loop.errors import GuardStop, InputError
from al_loop.files.structures import choose_frames
from al_loop.frames.constraints.degrees_of_freedom import effective, held_projectors
from al_loop.frames.constraints.policy import Motion, check_followed, followed
from al_loop.gate.watched_relaxation import without_calculator
from al_loop.tools.ranking.settings import BarrierOptions
from committee.errors import RefusedFrameError
from committee.potential import CommitteePotential

SAME_CELL_A = 1e-3
FIXED_A = 1e-3
SAME_DIRECTION = 1e-6
TRADED = 0.5  # another pairing of equal atoms that needs less than this share of the way is what was meant
ROUGH = 3.0  # the saddle is climbed from a band that is relaxed to so many tolerances


def check_known(frames: Sequence[Atoms], elements: Set[int], who: str) -> None:
    """Refuse structures with elements (atomic numbers) that ``who`` does not know.

    Raises:
        InputError: naming the elements.
    """
    unknown = sorted({int(z) for atoms in frames for z in atoms.numbers} - set(elements))
    if unknown:
        symbols = ", ".join(chemical_symbols[z] for z in unknown)
        raise InputError(f"the structures hold {symbols}, which {who} does not know; remove them or choose another")


def read_ends(initial: Path, final: Path) -> tuple[Atoms, Atoms]:
    """Read the two ends of a path.

    Raises:
        InputError: see ``choose_frames`` and ``check_ends``.
    """
    ends = choose_frames(initial).frames[0], choose_frames(final).frames[0]
    check_ends(*ends)
    return ends


def end_notes(initial: Path, final: Path) -> list[str]:
    """Say of which end's file, if it holds several structures, the last one is taken.

    Raises:
        InputError: see ``choose_frames``.
    """
    notes = dict.fromkeys(choose_frames(path).note for path in (initial, final))
    return [f"{note}; write the one that is meant to a file of its own." for note in notes if note]


def check_ends(initial: Atoms, final: Atoms) -> None:
    """Make sure that both ends hold the same atoms in the same order in the same cell, held in the same way.

    Raises:
        InputError: what differs, and where first.
    """
    if sorted(initial.numbers) != sorted(final.numbers):
        raise InputError(
            f"INITIAL is {initial.symbols.get_chemical_formula()} and FINAL {final.symbols.get_chemical_formula()}: "
            "both ends of a path hold the same atoms; check that they are of the same reaction"
        )
    other = np.flatnonzero(initial.numbers != final.numbers)
    if len(other):
        index = int(other[0])
        raise InputError(
            f"INITIAL and FINAL hold the same atoms in another order: atom {index} is {initial.symbols[index]} in "
            f"INITIAL and {final.symbols[index]} in FINAL; sort FINAL like INITIAL, atom by atom"
        )
    if not np.array_equal(initial.pbc, final.pbc) or not np.allclose(
        initial.cell.array, final.cell.array, atol=SAME_CELL_A
    ):
        raise InputError(
            f"INITIAL and FINAL have different cells: {_cell(initial)} and {_cell(final)}; a path is followed in a "
            "fixed cell: relax both ends in the same one"
        )
    for key in ("charge", "spin"):
        if initial.info.get(key) != final.info.get(key):
            raise InputError(
                f"INITIAL has {key} {initial.info.get(key)} and FINAL {final.info.get(key)}; one surface has one {key}"
            )
    for name, atoms in (("INITIAL", initial), ("FINAL", final)):
        check_followed(atoms, Motion.PATH, name)
    _check_fixed(initial, final)
    _check_traded(initial, aligned(final, initial))


def is_free(atoms: Atoms) -> bool:
    """Whether a structure may turn and drift without changing: a molecule without cell and constraints."""
    return not atoms.pbc.any() and not effective(atoms)


def aligned(atoms: Atoms, reference: Atoms) -> Atoms:
    """Return a copy, rotated and moved onto a reference of the same atoms if it is free to."""
    copied = atoms.copy()
    if is_free(atoms) and is_free(reference):
        minimize_rotation_and_translation(reference, copied)
    return copied


def _check_fixed(initial: Atoms, final: Atoms) -> None:
    held, other = held_projectors(initial), held_projectors(final)
    if np.abs(held - other).max() > SAME_DIRECTION:
        raise InputError("INITIAL and FINAL fix different atoms, or directions of them; give both the same constraints")
    way = find_mic(final.positions - initial.positions, initial.cell, initial.pbc)[0]
    wrong_A = np.linalg.norm(np.einsum("nij,nj->ni", held, way), axis=1)
    moved = np.flatnonzero(wrong_A > FIXED_A)
    if len(moved):
        raise InputError(
            f"atom {moved[0]} is fixed{_partly(held[moved[0]])}, but FINAL has it {wrong_A[moved[0]]:.3f} Å away from "
            "where INITIAL has it; give what is fixed the same positions at both ends"
        )


def _partly(held: NDArray[np.float64]) -> str:
    return "" if np.trace(held) > 2.5 else " in a direction"  # noqa: PLR2004 - of three


def _check_traded(initial: Atoms, final: Atoms) -> None:
    """Refuse an order in which equal atoms go round each other for nothing."""
    ways = find_mic((final.positions[None] - initial.positions[:, None]).reshape(-1, 3), initial.cell, initial.pbc)[
        1
    ].reshape(len(initial), -1)
    squared = np.where(initial.numbers[:, None] == final.numbers, ways**2, np.inf)
    squared[squared == np.inf] = 1e6
    order = linear_sum_assignment(squared)[1]
    given, best = float(np.trace(squared)), float(squared[np.arange(len(order)), order].sum())
    if best < TRADED * given:
        traded = np.flatnonzero(order != np.arange(len(order)))
        raise InputError(
            f"INITIAL and FINAL hold equal atoms in another order: atoms {traded[:8].tolist()} of FINAL are where "
            f"INITIAL has others of their element ({given**0.5:.2f} Å to go instead of {best**0.5:.2f} Å). Reorder "
            f"FINAL so that atom {traded[0]} is its atom {order[traded[0]]}, and so on"
        )


def _cell(atoms: Atoms) -> str:
    return f"{np.round(atoms.cell.cellpar(), 3).tolist()} with pbc {atoms.pbc.tolist()}"


@dataclass(frozen=True)
class Band:
    """Images from one end to the other without calculators, and how they converged; the force is the largest left."""

    images: tuple[Atoms, ...]
    converged: bool
    steps: int
    max_force_eV_per_A: float


def relaxed_band(initial: Atoms, final: Atoms, potential: CommitteePotential, options: BarrierOptions) -> Band:
    """Find the path of least energy between two minima of the same atoms by a climbing-image nudged elastic band.

    Henkelman, Uberuaga, Jónsson, J. Chem. Phys. 113, 9901 (2000); tangents of Henkelman, Jónsson, ibid. 9978; first
    path by the image-dependent pair potential of Smidstrup et al., J. Chem. Phys. 140, 214106 (2014).

    Raises:
        GuardStop: the model's prediction of an image failed.
        InputError: constraints that a band cannot follow.
    """
    images = [initial.copy() for _ in range(options.images + 1)] + [final.copy()]
    for image in images:
        image.set_constraint(followed(initial, Motion.PATH))
    band = _BatchedBand(
        images,
        potential,
        k=options.spring_eV_per_A2,
        method="improvedtangent",
    )
    try:
        band.interpolate(method="idpp", mic=bool(initial.pbc.any()), apply_constraint=True)
        steps = _optimized(band, ROUGH * options.force_tolerance_eV_per_A, options.steps // 2)
        band.climb = True
        steps += _optimized(band, options.force_tolerance_eV_per_A, options.steps - steps)
        largest = float(np.linalg.norm(band.get_forces().reshape(-1, 3), axis=1).max())
    except RefusedFrameError as error:
        raise GuardStop(
            f"the NEB failed: an image {error.reason} Start from end points that are closer (a path in two "
            "parts), or with another number of images."
        ) from error
    return Band(
        tuple(without_calculator(image, initial) for image in images),
        largest <= options.force_tolerance_eV_per_A,
        steps,
        largest,
    )


class _BatchedBand(NEB):  # type: ignore[misc]
    """Evaluates together all images that have moved; molecules are aligned with each other first."""

    def __init__(self, images: list[Atoms], potential: CommitteePotential, **settings: Any) -> None:
        super().__init__(images, **settings)
        self._potential = potential

    def get_forces(self) -> NDArray[np.float64]:
        """Forces on all images between the ends, (images x n, 3)."""
        if is_free(self.images[0]):
            for before, after in pairwise(self.images):
                minimize_rotation_and_translation(before, after)
        moved = [image for image in self.images if not _is_evaluated(image)]
        if moved:
            self._evaluate(moved)
        forces: NDArray[np.float64] = super().get_forces()
        return forces

    def _evaluate(self, images: Sequence[Atoms]) -> None:
        for image, prediction in zip(images, self._potential.predict(images), strict=True):
            image.calc = SinglePointCalculator(image, energy=prediction.energy, forces=prediction.forces)


def _is_evaluated(image: Atoms) -> bool:
    return isinstance(image.calc, SinglePointCalculator) and not image.calc.check_state(image)


def path_lengths_A(images: Sequence[Atoms]) -> NDArray[np.float64]:
    """(images,) length of the path up to each image, Å."""
    steps = [
        np.linalg.norm(find_mic(after.positions - before.positions, before.cell, before.pbc)[0])
        for before, after in pairwise(images)
    ]
    return np.concatenate([[0.0], np.cumsum(steps)])


def _optimized(band: Any, force_tolerance_eV_per_A: float, steps: int) -> int:
    optimizer = FIRE(band, logfile=None)
    optimizer.run(fmax=force_tolerance_eV_per_A, steps=steps)
    return int(optimizer.nsteps)
