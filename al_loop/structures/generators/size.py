"""How large a structure may become: a slip of the keyboard must not fill the memory."""

import math

from al_loop.errors import InputError

MOST_ATOMS = 100_000  # far above what a foundation can run on one machine


def check_size(atoms: int, *repeats: int) -> None:
    """Make sure that repeating a structure leaves it at a size that can be computed.

    Args:
        atoms: how many atoms are repeated.
        repeats: how often, in each direction.

    Raises:
        InputError: it would hold more than ``MOST_ATOMS`` atoms.
    """
    total = atoms * math.prod(repeats)
    if total > MOST_ATOMS:
        raise InputError(
            f"repeating {atoms} atoms {' x '.join(map(str, repeats))} times would make {total:,} atoms, at most "
            f"{MOST_ATOMS:,} can be explored; lower the repeats"
        )
