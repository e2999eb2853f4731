"""VASP inputs of the training data of UMA's tasks: one YAML file for each published input set."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

NAMES = ("omat", "omc", "odac", "oc20")
"""Published sets, by UMA's task name."""


@dataclass(frozen=True)
class InputSet:
    """The inputs of a static calculation apart from the structure.

    Attributes:
        name: UMA's task, or ``custom``.
        incar: tags in upper case; values by element (MAGMOM, LDAUU) where pymatgen's rules apply.
        kpoints: one of ``{reciprocal_density: per Å⁻³, always_gamma: ...}``, ``{surface_A: Å}``,
            ``{gamma: [1, 1, 1]}`` or ``{density_A: Å}``.
        potcar_functional: set of pseudopotentials: ``PBE`` or ``PBE_54``.
        potcars: name of the POTCAR by element; by default the element's symbol.
        pymatgen_rules: whether tags follow from elements by the rules of pymatgen's ``VaspInputSet``.
    """

    name: str
    incar: Mapping[str, Any]
    kpoints: Mapping[str, Any]
    potcar_functional: str
    potcars: Mapping[str, str]
    pymatgen_rules: bool

    def potcar(self, symbol: str) -> str:
        """Return the name of an element's POTCAR, for example ``Fe_pv``."""
        return self.potcars.get(symbol, symbol)


@cache
def published_set(name: str) -> InputSet:
    """Read one of ``NAMES``."""
    data = yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8"))
    return InputSet(
        name=name,
        incar=data["INCAR"],
        kpoints=data["KPOINTS"],
        potcar_functional=data["POTCAR_FUNCTIONAL"],
        potcars=data["POTCAR"],
        pymatgen_rules=data["RULES"] == "pymatgen",
    )
