"""The level of theory of an engine."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class LevelOfTheory:
    """Everything that changes an engine's numbers; labels of different levels never mix.

    Values are JSON: they enter the fingerprint. Versions, core counts and settings that only change how the
    self-consistent solution is reached do not belong here.

    Attributes:
        code: code family, for example ``pyscf``.
        summary: readable description, for example ``PBE/def2-SVP, density fitting``; not part of the fingerprint.
        functional: exchange and correlation in the engine's spelling, empty if there is none or it is unknown.
        dispersion: correction added to the functional, for example ``D3(BJ)``; empty for none.
        hubbard_U_eV: effective U by element and shell, for example ``{"Ni-3d": 6.2}``.
        pseudopotentials: name of the set, and the hash of its files; empty for all-electron codes.
        basis: basis set, or cutoffs and grids.
        kpoint_density_A: k-points times lattice spacing, None for molecules.
        smearing: kind and width, None for fixed occupations.
        spin: how spin is treated.
        more: other settings that change the numbers.
    """

    code: str
    summary: str
    functional: str = ""
    dispersion: str = ""
    hubbard_U_eV: Mapping[str, float] = field(default_factory=dict)
    pseudopotentials: Mapping[str, str] = field(default_factory=dict)
    basis: Mapping[str, Any] = field(default_factory=dict)
    kpoint_density_A: float | None = None
    smearing: str | None = None
    spin: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) of everything but the summary."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the fingerprint as plain JSON values.

        Raises:
            ValueError: a value that JSON cannot hold, or a number that is not finite.
        """
        values = {key: value for key, value in asdict(self).items() if key != "summary"}
        plain: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
        return plain
