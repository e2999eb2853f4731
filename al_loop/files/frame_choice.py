"""Which of several frames of a file are meant."""

from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

from al_loop.config.frame_index import Frames, parse_frames
from al_loop.errors import InputError
from al_loop.files.readers.ase_frames import ase_frames

MOST_SHOWN: Final = 12


def chosen_numbers(count: int, frames: Frames | None) -> list[int]:
    """Return the numbers, from 0, of the chosen ones of so many frames; without a choice that of the last.

    Raises:
        InputError: none of them is chosen.
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
    """Return how many frames a file holds.

    Raises:
        Exception: whatever ASE's reader raises.
    """
    known = path.stat()
    return _count(path, known.st_mtime_ns, known.st_size)


def listed(numbers: list[int]) -> str:
    """Numbers of frames in words."""
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
    """By the numbers of atoms alone; None where they do not lead from frame to frame, for ASE to say."""
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
