"""Files of frames with labels of any origin: extended XYZ, aselmdb, ASE's databases and trajectories."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from al_loop.errors import InputError
from al_loop.files import aselmdb, extxyz
from al_loop.files.extxyz import MAX_ATOMS
from al_loop.files.labels.names import names_in_extxyz
from al_loop.files.readers.formats import FRAMES
from al_loop.files.sources import Source
from al_loop.frames.own_entries import PROVENANCE
from al_loop.utils.foreign_input import each_read, reading

Frames = Iterator[tuple[Atoms, dict[str, Any]]]


@dataclass(frozen=True)
class FramesFile:
    """A file of frames.

    Attributes:
        frames: each structure with what it holds, and its provenance; one is in memory at a time.
        names: of everything that any frame holds.
        own_results: calculator results are how this format holds labels.
    """

    frames: Frames
    names: set[str]
    own_results: bool


def frames_in(source: Source) -> FramesFile:
    """Open a file of frames; nothing in it is executed.

    Raises:
        InputError: a file that cannot be read, now or while the frames are taken.
    """
    if source.kind == "extxyz":
        with reading(source.path, "give a whole file of extended XYZ"):
            names_held = names_in_extxyz(source.path)
        return FramesFile(extxyz.frames(source.path), names_held, own_results=False)
    if source.kind == "aselmdb":
        return FramesFile(aselmdb.frames(source.path), {*aselmdb.RESULTS}, own_results=True)
    names: set[str] = set()
    for atoms, _ in _by_ase(source):
        names.update(atoms.info, atoms.arrays, getattr(atoms.calc, "results", {}))
    return FramesFile(_by_ase(source), names, own_results=False)


def _by_ase(source: Source) -> Frames:
    return each_read(
        _frames(source),
        lambda index: f"{source.path}, frame {index} of an {FRAMES[source.kind]},",
        "give the frames as extended XYZ",
    )


def _frames(source: Source) -> Frames:
    path = source.path
    for index, atoms in enumerate(_trajectory(path) if source.kind == "traj" else _rows(path, source.kind)):
        if not 1 <= len(atoms) <= MAX_ATOMS:
            raise InputError(f"{path}, frame {index}: received {len(atoms)} atoms, expected 1 to {MAX_ATOMS}")
        known = atoms.info.pop(PROVENANCE, {})
        yield atoms, known if isinstance(known, dict) else {}


def _trajectory(path: Path) -> Iterator[Atoms]:
    from ase.io import iread

    return iter(iread(str(path), ":", format="traj", parallel=False))


def _rows(path: Path, kind: str) -> Iterator[Atoms]:
    """Rows of a database; what stands in their key-value pairs and data counts as ``atoms.info``."""
    from ase.db import connect

    with connect(str(path), type=kind, use_lock_file=False, serial=True) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update({**row.key_value_pairs, **row.data})
            yield atoms
