"""Trajectories on disk: extended XYZ for any viewer, appended frame by frame, with every bit of the numbers."""

from collections.abc import Iterator
from pathlib import Path

from al_loop.files.gate_values import descriptor_from_text, descriptor_text, gate_values, gated
from al_loop.files.readers.xyz_frames import xyz_frames
from al_loop.files.text.extxyz_text import frame_text
from al_loop.frames.own_entries import PROVENANCE
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.records import Frame
from al_loop.stages.explore.trajectory import Array
from al_loop.structures.start import Start


def append(path: Path, frame: Frame, momenta: Array, energy_eV: float | None) -> bytes:
    """Append a gated frame, and return the written bytes.

    Args:
        path: of the trajectory's file.
        frame: of n atoms.
        momenta: (n, 3) in ASE's units.
        energy_eV: potential energy, None without a prediction.
    """
    known = {"frame": frame.frame_id, **gate_values(frame), "descriptor": descriptor_text(frame.descriptor)}
    energy = {} if energy_eV is None else {"energy": float(energy_eV)}
    content = frame_text(frame.atoms, {**energy, PROVENANCE: known}, {"momenta": momenta}).encode()
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


def read_frames(path: Path, start: Start) -> Iterator[Frame]:
    """Yield the gated frames of one trajectory in order, one at a time.

    Args:
        path: of a file that ``append`` wrote; it need not exist.
        start: of the trajectory.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    for atoms in xyz_frames(path):
        known = atoms.info[PROVENANCE]
        yield Frame(
            frame_id=known["frame"],
            atoms=plain_atoms(atoms),
            role=start.role,
            system=start.system,
            trajectory=start.trajectory,
            descriptor=descriptor_from_text(known["descriptor"]),
            **gated(known),
        )
