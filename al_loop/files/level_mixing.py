"""Detect labels of several levels of theory in one set, as far as the frames state their level."""

from collections.abc import Sequence
from typing import Final

from al_loop.errors import InputError
from al_loop.records import Frame

LEVEL: Final = "level_of_theory"
_WORDS: Final = frozenset({LEVEL, "theory", "functional", "xc", "xc_functional", "dft_functional"})
"""Names, in lower case, under which users and other codes state a level of theory in words."""


def check_levels(frames: Sequence[Frame]) -> list[str]:
    """Check that labels made by al-loop have one level of theory, and report differing statements of others.

    Args:
        frames: with labels, of all files that are one set.

    Returns:
        One sentence for each key with different values.

    Raises:
        InputError: fingerprints of two levels, with a frame of each.
    """
    fingerprints: dict[str, str] = {}
    words: dict[str, dict[str, str]] = {}
    for frame in frames:
        known = frame.provenance.get(LEVEL)
        if isinstance(known, str):
            fingerprints.setdefault(known, frame.where)
        for name, value in frame.atoms.info.items():
            if isinstance(value, str) and isinstance(name, str) and name.lower() in _WORDS:
                words.setdefault(name, {}).setdefault(value, frame.where)
    if len(fingerprints) > 1:
        raise InputError(
            f"labels of {len(fingerprints)} levels of theory are in one set: {_listed(fingerprints)}; expected one. "
            "Give the frames of one level; those of another join a campaign as align.other_labels"
        )
    return [
        f"Frames state different values of {name}: {_listed(found)}. They are used as labels of one level of theory; "
        "leave out those of another level."
        for name, found in words.items()
        if len(found) > 1
    ]


def _listed(found: dict[str, str]) -> str:
    return " and ".join(f"{value} ({where})" for value, where in list(found.items())[:3])
