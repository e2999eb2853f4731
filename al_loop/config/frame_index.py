"""The index or slice of frames in a config."""

import re
from typing import Final

Frames = int | str
"""An index or the text of a slice, counted as Python and ASE do: 0, -1, "2:8", "::10"."""

_INDEX: Final = re.compile(r"\s*-?\d{1,9}\s*")
_SLICE: Final = re.compile(r"\s*(-?\d{1,9})?\s*:\s*(-?\d{1,9})?\s*(?::\s*(-?\d{1,9})?\s*)?")


def parse_frames(frames: Frames) -> int | slice:
    """Return an index or a slice.

    Raises:
        ValueError: the text is neither.
    """
    if isinstance(frames, int):
        return frames
    if _INDEX.fullmatch(frames):
        return int(frames)
    found = _SLICE.fullmatch(frames)
    bounds = [None if bound is None else int(bound) for bound in found.groups()] if found else []
    if not bounds or bounds[2] == 0:
        raise ValueError(f'received {frames!r}, expected an index such as 0 or -1, or a slice such as "2:8" or "::10"')
    return slice(*bounds)
