"""Units that a frame states: nothing is converted, so units other than eV and Å are refused."""

import re
from collections.abc import Mapping
from typing import Any, Final

from al_loop.errors import InputError

_NAME: Final = re.compile(
    r"(?:(?P<before>energy|energies|forces?|stress|virials?|lengths?|positions?|cell)[_-]?)?units?"
    r"(?:[_-]?(?P<behind>energy|energies|forces?|stress|virials?|lengths?|positions?))?",
    re.IGNORECASE,
)
_LENGTHS: Final = ("length", "position", "cell")
_OTHERS: Final = frozenset(
    {"kcal", "cal", "kj", "j", "joule", "hartree", "hartrees", "ha", "eh", "mha", "rydberg", "rydbergs", "ryd", "ry"}
    | {"mry", "bohr", "bohrs", "au", "mev", "kbar", "gpa", "nm", "pm"}
)
_OTHER_SETS: Final = frozenset({"real", "electron", "si", "cgs", "atomic"})  # of LAMMPS, for all quantities


def refuse_other_units(info: Mapping[Any, Any], where: str, *, labels: bool) -> None:
    """Raise for a frame that states units other than eV, Å and their combinations.

    Args:
        info: the frame's entries, such as ``energy_unit``.
        where: file and frame, for messages.
        labels: units of energies, forces and stresses count; otherwise those of lengths alone.

    Raises:
        InputError: naming the unit.
    """
    for name, value in info.items():
        found = _NAME.fullmatch(name) if isinstance(name, str) and isinstance(value, str) else None
        if found is None:
            continue
        quantity = (found["before"] or found["behind"] or "").lower()
        words = set(filter(None, re.split(r"[^a-z]+", value.lower().replace("a.u.", "au"))))
        other = words & _OTHERS or (not quantity and words <= _OTHER_SETS)
        if words and other and (labels or quantity.startswith(_LENGTHS)):
            raise InputError(
                f"{where} states {name}={value}, expected eV, Å, eV/Å and eV/Å³; convert its numbers, and correct or "
                f"remove {name}"
            )
