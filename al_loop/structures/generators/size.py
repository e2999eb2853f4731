"""Limit of the size of structures, so that a mistyped number does not fill the memory."""

import math

from al_loop.errors import InputError

MOST_ATOMS = 100_000  # far above what a foundation can run on one machine


def check_size(atoms: int, *repeats: int) -> None:
    """Check that a repeated structure is not too large.

    Args:
        atoms: number of repeated atoms.
        repeats: in each direction.

    Raises:
        InputError: the result would have more than ``MOST_ATOMS`` atoms.
    """
    total = atoms * math.prod(repeats)
    if total > MOST_ATOMS:
        raise InputError(
            f"repeating {atoms} atoms {' x '.join(map(str, repeats))} times would make {total:,} atoms, at most "
            f"{MOST_ATOMS:,} can be explored; lower the repeats"
        )
