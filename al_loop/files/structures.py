"""Starting structures and candidates read from files, and the selection of frames of a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

from ase import Atoms

from al_loop.config.explore_settings import Frames, parse_frames
from al_loop.errors import InputError
from al_loop.files.occupancies import refuse_disorder
from al_loop.files.readers.ase_frames import ase_frames
from al_loop.files.stated import as_stated
from al_loop.utils.foreign_input import reading
from al_loop.utils.paths import check_source
from committee.errors import StructureError
from committee.structures import check_structures
from dft_interfaces.bounds import structure_excess

EVERY_ELEMENT = frozenset(range(1, 119))
_UNREADABLE: Final = "check that it is complete and that its ending names its format"


@dataclass(frozen=True)
class ChosenFrames:
    """The selected frames of a file.

    Attributes:
        path: the file.
        count: number of frames in the file.
        numbers: of the frames that are used, from 0.
        frames: the frames, without calculators; charge, spin, masses and moments as ``as_stated``.
    """

    path: Path
    count: int
    numbers: list[int]
    frames: list[Atoms]

    @property
    def note(self) -> str:
        """A note on the frames that are used; empty for a file of one frame."""
        if self.count == 1:
            return ""
        if len(self.numbers) > 1:
            used = f"{len(self.numbers)} of them are used ({listed(self.numbers)})"
        else:
            last = "the last one (" if self.numbers == [self.count - 1] else "one ("
            used = f"{last}frame {self.numbers[0]}) is used"
        return f"{self.path.name} holds {self.count} frames; {used}"


def read_structure(path: Path) -> Atoms:
    """Read the last structure of a file, without calculator; see ``choose_frames``."""
    return choose_frames(path).frames[0]


def choose_frames(path: Path, frames: Frames | None = None) -> ChosenFrames:
    """Read the chosen frames of a file, by default the last one.

    Raises:
        InputError: no such file, a folder, a file that ASE cannot read, a choice of no frame, no atoms, a disordered
            structure, a statement that cannot be (see ``as_stated``), numbers beyond ``dft_interfaces.bounds``, or a
            structure that is invalid (see ``check_structures``).
    """
    named = f"structure file {path}"
    check_source(named, path, "name a file that ase.io.read opens; paths in a config are relative to it")
    with reading(named, _UNREADABLE):
        if path.suffix in {".xyz", ".extxyz"}:
            _refuse_cut(path)
        refuse_disorder(path)
        _check_format(named, path)
        count = frame_count(path)
        numbers = chosen_numbers(count, frames) if count else []
        read = [atoms if isinstance(atoms, Atoms) else Atoms() for atoms in _numbered(path, count, numbers)]
        if not read:
            raise InputError(f"{named} holds no atoms; put one structure with at least one atom in it")
    for number, atoms in zip(numbers, read, strict=True):
        _check_start(atoms, named + (f", frame {number}" if count > 1 else ""))
    return ChosenFrames(path, count, numbers, read)


def read_structures(path: Path) -> list[Atoms]:
    """Read all structures of a file, without calculators; constraints, charge and spin stay.

    Raises:
        InputError: no such file, one that ASE cannot read, no structures, one without atoms or elements, a disordered
            one, a statement that cannot be (see ``as_stated``), or numbers beyond ``dft_interfaces.bounds``.
    """
    named = f"structure file {path}"
    check_source(named, path, "name one with candidate structures, such as candidates.extxyz")
    with reading(named, _UNREADABLE):
        refuse_disorder(path)
        if path.stat().st_size:
            _check_format(named, path)
        frames = list(ase_frames(path)) if path.stat().st_size else []
    if not frames:
        raise InputError(f"{path} holds no structures; give at least one candidate")
    for index, atoms in enumerate(frames):
        where = f"{path}, candidate {index}"
        with reading(where, "correct it, or remove it"):
            if len(atoms) == 0 or (atoms.numbers < 1).any():
                raise InputError(f"{where}: no atoms, or an atom without an element; remove it")
            as_stated(atoms, where).calc = None
            excess = structure_excess(atoms)
        if excess:
            raise InputError(f"{where}: {excess}; correct the number or its unit")
    return frames


def _check_start(atoms: Atoms, where: str) -> None:
    if len(atoms) == 0:
        raise InputError(f"{where} holds no atoms; put one structure with at least one atom in it")
    with reading(where, "correct the file"):
        if (atoms.numbers < 1).any():
            raise InputError(f"{where} holds an atom without an element (symbol X); give it one")
        as_stated(atoms, where).calc = None
        excess = structure_excess(atoms)
    if excess:
        raise InputError(f"{where}: {excess}; correct the number or its unit")
    try:
        check_structures([atoms], EVERY_ELEMENT)
    except StructureError as error:
        raise InputError(f"{where}: the structure {error.reason}") from error


def _numbered(path: Path, count: int, numbers: list[int]) -> Iterator[Atoms]:
    if count == 1 or not numbers:
        yield from ase_frames(path, -1)
    elif len(numbers) == 1:
        yield from ase_frames(path, numbers[0])
    else:
        wanted = dict.fromkeys(numbers)
        held = {number: atoms for number, atoms in enumerate(ase_frames(path)) if number in wanted}
        yield from (held[number] for number in numbers)


def _refuse_cut(path: Path) -> None:
    """Raise for a file that is shorter than it states: ASE would search for every missing line."""
    _, missing = _xyz_counts(path) or (0, 0)
    if missing > 1:
        raise InputError(
            f"structure file {path} is {missing} lines shorter than its atom counts require; check that it is complete"
        )


def _check_format(named: str, path: Path) -> None:
    from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

    try:
        get_ioformat(filetype(str(path)))
    except UnknownFileTypeError as error:
        raise InputError(
            f"{named} has a format that ASE does not know ({error}); use extxyz, cif, vasp (POSCAR) or another that "
            "ase.io.read opens"
        ) from error


MOST_SHOWN: Final = 12


def chosen_numbers(count: int, frames: Frames | None) -> list[int]:
    """Return the indices, from 0, of the selected frames; without a selection that of the last frame.

    Raises:
        InputError: no frame is selected.
    """
    if frames is None:
        return [count - 1]
    index = parse_frames(frames)
    numbers = list(range(count))[index] if isinstance(index, slice) else [index + count if index < 0 else index]
    if not numbers or not 0 <= numbers[0] < count:
        raise InputError(
            f"received {frames!r}, but the file holds {count} frames (0 to {count - 1}); choose from these"
        )
    return numbers


def frame_count(path: Path) -> int:
    """Return the number of frames in a file.

    Raises:
        Exception: whatever ASE's reader raises.
    """
    known = path.stat()
    return _count(path, known.st_mtime_ns, known.st_size)


def listed(numbers: list[int]) -> str:
    """Return a readable list of frame numbers."""
    shown = ", ".join(map(str, numbers[:MOST_SHOWN]))
    return shown if len(numbers) <= MOST_SHOWN else f"{shown}, ... ({len(numbers)} in all)"


@lru_cache(maxsize=64)
def _count(path: Path, _modified_ns: int, _size: int) -> int:
    from ase.io.formats import filetype, ioformats

    file_format = str(filetype(str(path)))
    if file_format in ("extxyz", "xyz") and path.suffix in (".xyz", ".extxyz"):
        count, missing = _xyz_counts(path) or (0, 0)
        if count and not missing:
            return count
    if file_format in ioformats and ioformats[file_format].single:
        return 1
    return sum(1 for _ in ase_frames(path, file_format=file_format))


def _xyz_counts(path: Path) -> tuple[int, int] | None:
    """Number of frames by their numbers of atoms alone, and of lines that the last one lacks; None for another form."""
    count = missing = 0
    with path.open("rb") as file:
        for line in file:
            word = line.strip()
            if not word:
                continue
            if not word.isdigit():
                return None
            lines = int(word[:18]) + 1
            missing = lines - sum(1 for _ in islice(file, lines))
            count += 1
    return count, missing
