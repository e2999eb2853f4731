"""Charge and spin multiplicity, as fairchem's tasks expect them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from committee.errors import StructureError
from committee.names import CHARGE, SPIN

_MOLECULES = "omol"
_CHARGES = range(-100, 101)
_MULTIPLICITIES = range(1, 101)


def read_charge_spin(index: int, atoms: Atoms, task_name: str) -> tuple[int, int]:
    """Read total charge (e) and spin multiplicity 2S + 1 from ``atoms.info``.

    The molecular task depends on both, so a default would silently give wrong results. The others were trained
    without them (fairchem passes 0 and 0), so the charge and spin of a frame would be silently ignored.

    Raises:
        StructureError: missing or impossible for ``omol``; set for a task that ignores both.
    """
    if task_name == _MOLECULES:
        return _require(index, atoms.info, CHARGE, _CHARGES), _require(index, atoms.info, SPIN, _MULTIPLICITIES)
    for key, neutral in ((CHARGE, (0,)), (SPIN, (0, 1))):
        if atoms.info.get(key, 0) not in neutral:
            raise StructureError(
                f"has atoms.info[{key!r}] = {atoms.info[key]!r}, but task {task_name} was trained on "
                f"neutral frames and ignores {key}; remove it, or choose task_name: {_MOLECULES}.",
                index,
            )
    return 0, 0


def _require(index: int, info: Mapping[str, Any], key: str, allowed: range) -> int:
    value = info.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer) or value not in allowed:
        found = f"atoms.info[{key!r}] = {value!r}" if key in info else f"no {key} in atoms.info"
        raise StructureError(
            f"has {found}; task {_MOLECULES} needs whole numbers: charge in e from {_CHARGES[0]} to "
            f"{_CHARGES[-1]} and spin as multiplicity 2S + 1 from 1 to {_MULTIPLICITIES[-1]}, for a neutral "
            'closed-shell molecule atoms.info["charge"] = 0 and atoms.info["spin"] = 1 (in an extended XYZ file '
            "charge=0 spin=1 in its second line).",
            index,
        )
    return int(value)
