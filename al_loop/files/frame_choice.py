"""Selection of frames of a file."""

from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

from al_loop.config.explore_settings import Frames, parse_frames
from al_loop.errors import InputError
from al_loop.files.readers.ase_frames import ase_frames

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
        counted = _count_xyz(path)
        if counted is not None:
            return counted
    if file_format in ioformats and ioformats[file_format].single:
        return 1
    return sum(1 for _ in ase_frames(path, file_format=file_format))


def _count_xyz(path: Path) -> int | None:
    """Count by the numbers of atoms alone; None if they are inconsistent, which ASE then reports."""
    count = 0
    with path.open("rb") as file:
        for line in file:
            word = line.strip()
            if not word:
                continue
            if not word.isdigit():
                return None
            if sum(1 for _ in islice(file, int(word[:18]) + 1)) <= int(word[:18]):
                return None
            count += 1
    return count or None
