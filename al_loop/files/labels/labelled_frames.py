"""Labelled frames that were read from files; parts of their labels may be missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.records import Frame
from al_loop.utils.content_hash import frame_id
from dft_interfaces.label import Label, LabelStatus

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelledFrames:
    """The contents of labelled files.

    Attributes:
        frames: with their labels, some of which may lack; never an isolated atom.
        isolated_atoms: frames of one atom, whose energies are those of the elements.
        notes: sentences on frames that were merged, left out or separated.
    """

    frames: list[Frame]
    isolated_atoms: list[Frame] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def frame_of_file(
    atoms: Atoms,
    energy_eV: float | None,
    forces_eV_per_A: Array | None,
    stress_eV_per_A3: Array | None,
    where: str = "",
    provenance: Mapping[str, Any] | None = None,
) -> Frame:
    """Return a frame of a file with the parts of its label that there are.

    Args:
        atoms: n of them.
        energy_eV: total energy.
        forces_eV_per_A: (n, 3).
        stress_eV_per_A3: (6,).
        where: file and number of the frame or step in it, for messages.
        provenance: origin of the frame, as ``al-loop export`` writes it.
    """
    parts = (energy_eV, forces_eV_per_A, stress_eV_per_A3)
    label = None if all(part is None for part in parts) else Label(LabelStatus.CONVERGED, "", *parts)
    return Frame(frame_id(atoms), atoms, label=label, where=where, provenance=provenance or {})


def with_label(frame: Frame, **parts: Any) -> Frame:
    """Return a frame with other parts of its label."""
    return replace(frame, label=replace(frame.label or Label(LabelStatus.CONVERGED, ""), **parts))


def has_label(frame: Frame) -> bool:
    """Whether a frame has an energy or forces."""
    return bool(np.isfinite(frame.energy_eV) or np.isfinite(frame.forces_eV_per_A).all())


@dataclass(frozen=True)
class LabelCounts:
    """Number of frames by the parts of their labels; stress is not counted.

    Attributes:
        both: with energy and forces.
        energy_only: with an energy and no forces.
        forces_only: with forces and no energy.
    """

    both: int
    energy_only: int
    forces_only: int

    @classmethod
    def of(cls, labels: Iterable[tuple[float, Any]]) -> "LabelCounts":
        """Count labels.

        Args:
            labels: energy (NaN if there is none) and forces (None or NaN if there are none) of each frame.
        """
        known = [
            (bool(np.isfinite(energy)), forces is not None and bool(np.isfinite(forces).all()))
            for energy, forces in labels
        ]
        return cls(known.count((True, True)), known.count((True, False)), known.count((False, True)))

    @property
    def partial(self) -> bool:
        """Whether any frame lacks energy or forces."""
        return bool(self.energy_only or self.forces_only)

    def __str__(self) -> str:
        return f"{self.both} with energy and forces, {self.energy_only} energy only, {self.forces_only} forces only"
