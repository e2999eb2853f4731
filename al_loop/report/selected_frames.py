"""Frames selected for labels: the reason, the uncertainty of each atom, and the error of the model."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from al_loop.ledger import Ledger
from al_loop.records import AUDIT, LabelledFrame, Role
from dft_interfaces.label import Label

_MOST_FRAMES, _MOST_ATOMS = 60, 12_000  # that the page's viewer holds: half a megabyte at most

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ChosenFrame:
    """One frame selected for a label, with the predictions of the selecting model.

    Attributes:
        frame_id: content hash.
        round: the round that selected it.
        reason: ``audit``, ``unphysical``, ``farthest point`` or ``representative``.
        said: the gate's verdict with its reason.
        atoms: the structure, n atoms.
        uncertainty: (n,) force uncertainty of each atom in eV/Å, NaN where there is none.
        forces_served: (n, 3) eV/Å.
        forces_foundation: (n, 3) eV/Å, NaN where there are none.
        label: the label or failure, None until it is finished.
    """

    frame_id: str
    round: int
    reason: str
    said: str
    atoms: Atoms
    uncertainty: Array
    forces_served: Array
    forces_foundation: Array
    label: Label | None = None


@dataclass(frozen=True)
class AuditError:
    """Force errors on the random audit of a round, whose frames the model had not been trained on.

    Attributes:
        round: the round.
        frames: number of labelled frames.
        foundation: mean absolute error of the force components, eV/Å.
        served: the same of the model that was served when they were drawn.
    """

    round: int
    frames: int
    foundation: float
    served: float


def chosen_frames(ledger: Ledger, ended: Sequence[LabelledFrame]) -> list[ChosenFrame]:
    """Read the selected frames of all rounds, in order; ``ended`` are frames with a finished label or a failure."""
    labels = {frame.frame_id: frame.label for frame in ended if frame.role is Role.EXPLORE}
    found: list[ChosenFrame] = []
    for round_ in ledger.rounds():
        batch = 0
        while (arrays := ledger.get_arrays(f"chosen/{round_}/{batch}")) is not None:
            structures = ledger.frames(str(frame_id) for frame_id in arrays["frame_id"])
            found += _frames(arrays, round_, structures, labels)
            batch += 1
    return found


def _frames(
    arrays: dict[str, NDArray[Any]], round_: int, structures: dict[str, Atoms], labels: dict[str, Label]
) -> list[ChosenFrame]:
    ends = np.cumsum(arrays["natoms"])[:-1]
    atomic = [np.split(arrays[key], ends) for key in ("uncertainty", "forces_served", "forces_foundation")]
    texts = [[str(text) for text in arrays[key]] for key in ("frame_id", "reason", "said")]
    return [
        ChosenFrame(name, round_, reason, said, structures[name], sigma, served, foundation, labels.get(name))
        for (name, reason, said), (sigma, served, foundation) in zip(
            zip(*texts, strict=True), zip(*atomic, strict=False), strict=False
        )
        if name in structures
    ]


def audit_errors(frames: Sequence[ChosenFrame]) -> list[AuditError]:
    """Return the errors on each round's random audit; rounds without labelled audit frames are left out."""
    audited: defaultdict[int, list[tuple[ChosenFrame, Array]]] = defaultdict(list)
    for frame in frames:
        if frame.reason == AUDIT and frame.label is not None and frame.label.forces_eV_per_A is not None:
            audited[frame.round].append((frame, frame.label.forces_eV_per_A))
    return [
        AuditError(
            round_,
            len(of_round),
            _mean_absolute([frame.forces_foundation - dft for frame, dft in of_round]),
            _mean_absolute([frame.forces_served - dft for frame, dft in of_round]),
        )
        for round_, of_round in sorted(audited.items())
    ]


def _mean_absolute(errors: Sequence[Array]) -> float:
    return float(np.abs(np.concatenate(errors)).mean())


def for_viewer(frames: Sequence[ChosenFrame]) -> list[dict[str, Any]]:
    """Return the data of the page's viewer, newest round first, as plain JSON; bounded in frames and atoms."""
    shown: list[dict[str, Any]] = []
    atoms = 0
    for frame in sorted(frames, key=lambda frame: -frame.round):
        atoms += len(frame.atoms)
        if len(shown) == _MOST_FRAMES or atoms > _MOST_ATOMS:
            break
        shown.append(_drawn(frame))
    return shown


def _drawn(frame: ChosenFrame) -> dict[str, Any]:
    atoms = frame.atoms
    centred = atoms.positions - (atoms.positions.max(axis=0) + atoms.positions.min(axis=0)) / 2
    return {
        "round": frame.round,
        "id": frame.frame_id[:12],
        "formula": atoms.get_chemical_formula(),
        "why": frame.reason,
        "said": frame.said,
        "label": "waited for" if frame.label is None else frame.label.status.value,
        "symbols": atoms.get_chemical_symbols(),
        "radii": [round(float(covalent_radii[number]), 2) for number in atoms.numbers],
        "xyz": np.round(centred, 3).tolist(),
        "cell": np.round(atoms.cell.array, 3).tolist() if atoms.pbc.any() else None,
        "corner": np.round(centred[0] - atoms.positions[0], 3).tolist(),
        "sigma": [round(float(s), 5) if math.isfinite(s) else None for s in frame.uncertainty],
    }
