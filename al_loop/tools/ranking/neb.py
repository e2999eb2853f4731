"""A nudged elastic band under the committee."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import FIRE
from numpy.typing import NDArray

from al_loop.errors import GuardStop
from al_loop.frames.constraints.policy import Motion, followed
from al_loop.gate.watched_relaxation import without_calculator
from al_loop.tools.ranking.path_ends import is_free
from al_loop.tools.ranking.settings import BarrierOptions
from committee.errors import RefusedFrameError
from committee.potential import CommitteePotential

ROUGH = 3.0  # the saddle is climbed from a band that is relaxed to so many tolerances


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
    """Evaluates together all images that have moved; molecules are turned onto each other first."""

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
        for image, answer in zip(images, self._potential.predict(images), strict=True):
            image.calc = SinglePointCalculator(image, energy=answer.energy, forces=answer.forces)


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
