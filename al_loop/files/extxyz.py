"""Write frames as extended XYZ, and read frames of such files one by one.

Labels stand under ``REF_energy``, ``REF_forces``, ``REF_stress`` and ``REF_magmoms``, so that no reader moves them into
a calculator; where a frame comes from stands under one key that holds JSON.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
from ase import Atoms

from al_loop.files.readers.xyz_frames import atoms_of, frame_texts
from al_loop.files.text.extxyz_text import frame_text
from al_loop.files.text.open_text import open_text
from al_loop.frames.own_entries import PROVENANCE
from al_loop.records import Frame
from al_loop.utils.foreign_input import each_read

MAGMOMS: Final = "REF_magmoms"
MAX_ATOMS: Final = 300_000


def write_frames(path: Path, new: Iterable[Frame]) -> int:
    """Write a new file; returns the number of frames written."""
    count = 0
    with path.open("x", encoding="utf-8") as file:
        for frame in new:
            write_frame(file, frame)
            count += 1
    return count


def write_frame(file: TextIO, frame: Frame) -> None:
    """Append one frame.

    Raises:
        InputError: an entry that the format cannot hold.
    """
    label = frame.label
    info: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    if label is not None:
        info = {"REF_energy": _floats(label.energy_eV), "REF_stress": _floats(label.stress_eV_per_A3)}
        arrays = {"REF_forces": _floats(label.forces_eV_per_A), MAGMOMS: _floats(label.magnetic_moments_uB)}
    info[PROVENANCE] = dict(frame.provenance)
    file.write(
        frame_text(
            frame.atoms,
            {key: value for key, value in info.items() if value is not None},
            {name: values for name, values in arrays.items() if values is not None},
            frame.entries,
        )
    )


def frames(path: Path) -> Iterator[tuple[Atoms, dict[str, Any]]]:
    """Yield each structure as ASE reads it, and its provenance; one frame is in memory at a time.

    Raises:
        InputError: text that is no extended XYZ, or a frame of more than ``MAX_ATOMS`` atoms; nothing of the file is
            ever executed.
    """
    return each_read(_frames(path), lambda index: f"{path}, frame {index}", "correct the frame, or remove it")


def _frames(path: Path) -> Iterator[tuple[Atoms, dict[str, Any]]]:
    with open_text(path, strict=True) as file:
        for index, text in enumerate(frame_texts(file, MAX_ATOMS)):
            atoms = atoms_of(text, "extxyz", {}, f"{path}, frame {index}")
            known = atoms.info.pop(PROVENANCE, {})
            yield atoms, known if isinstance(known, dict) else {}


def _floats(values: Any) -> Any:
    """Convert to float64, since integers in a label would be read back as integers."""
    return None if values is None else np.asarray(values, dtype=np.float64)[()]
