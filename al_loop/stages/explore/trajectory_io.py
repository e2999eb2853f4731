"""Trajectories on disk: extended XYZ for any viewer, appended frame by frame, with every bit of the numbers."""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread
from numpy.typing import NDArray

from al_loop.files.text.extxyz_text import frame_text
from al_loop.frames.own_entries import VISIT
from al_loop.records import CheckVerdict, GateCheck, Verdict, VerdictKind, Visit
from al_loop.stages.explore.starts import own_constraints
from al_loop.stages.explore.trajectory import Recorded
from al_loop.structures.start import Start

_KEPT = ("charge", "spin")


def append(path: Path, recorded: Recorded) -> bytes:
    """Append a frame, and return the written bytes."""
    content = _frame(recorded).encode()
    with path.open("ab") as file:
        file.write(content)
    return content


def cut(path: Path, size: int) -> None:
    """Truncate the file after the first ``size`` bytes.

    Raises:
        ValueError: the file is shorter.
    """
    held = path.stat().st_size if path.exists() else 0
    if held < size:
        raise ValueError(f"{path} holds {held} bytes, expected at least {size}")
    if held > size:
        with path.open("r+b") as file:
            file.truncate(size)


def read_visits(path: Path, start: Start) -> Iterator[Visit]:
    """Yield the gated frames of one trajectory in order, one at a time.

    Args:
        path: of a file that ``append`` wrote; it need not exist.
        start: of the trajectory.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    for atoms in iread(path, index=":", format="extxyz"):
        known = atoms.info[VISIT]
        plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        if atoms.has("initial_magmoms"):
            plain.set_initial_magnetic_moments(atoms.arrays["initial_magmoms"])
        if start.intact.has("masses"):
            plain.set_masses(start.intact.get_masses())
        plain.set_constraint(own_constraints(start))
        plain.info.update({key: start.intact.info[key] for key in _KEPT if key in start.intact.info})
        verdict = known["verdict"]
        descriptor = known["descriptor"]
        yield Visit(
            frame_id=known["frame_id"],
            atoms=plain,
            role=start.role,
            system=start.system,
            trajectory=start.trajectory,
            step=known["step"],
            temperature_K=known["temperature_K"],
            verdict=Verdict(
                VerdictKind(verdict["kind"]),
                GateCheck(verdict["check"]),
                verdict["reason"],
                tuple(verdict["atoms"]),
                stop=verdict["stop"],
            ),
            force_uncertainty_eV_per_A=known["force_uncertainty_eV_per_A"],
            latent_distance=known["latent_distance"],
            descriptor=None if descriptor is None else _from_text(descriptor),
            checks={
                GateCheck(check): CheckVerdict(VerdictKind(kind), reason)
                for check, (kind, reason) in known["checks"].items()
            },
        )


def _frame(recorded: Recorded) -> str:
    energy = {} if recorded.energy_eV is None else {"energy": float(recorded.energy_eV)}
    info = {**energy, VISIT: _as_dict(recorded.visit)}
    return frame_text(recorded.visit.atoms, info, {"momenta": recorded.momenta})


def _as_dict(visit: Visit) -> dict[str, Any]:
    verdict = {**asdict(visit.verdict), "atoms": [int(index) for index in visit.verdict.atoms]}
    return {
        "frame_id": visit.frame_id,
        "step": visit.step,
        "temperature_K": float(visit.temperature_K),
        "verdict": {**verdict, "kind": visit.verdict.kind.value, "check": visit.verdict.check.value},
        "checks": {check.value: [verdict.kind.value, verdict.reason] for check, verdict in visit.checks.items()},
        "force_uncertainty_eV_per_A": visit.force_uncertainty_eV_per_A,
        "latent_distance": visit.latent_distance,
        "descriptor": None if visit.descriptor is None else _as_text(visit.descriptor),
    }


def _as_text(values: NDArray[np.float32]) -> str:
    return b64encode(values.astype("<f4").tobytes()).decode()


def _from_text(text: str) -> NDArray[np.float32]:
    return np.frombuffer(b64decode(text), "<f4").astype(np.float32)
