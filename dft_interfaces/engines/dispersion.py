"""Grimme's DFT-D3 for engines that have no dispersion correction of their own."""

from importlib import import_module
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from dft_interfaces.errors import EngineSettingsError

Dispersion = Literal["", "D3(BJ)", "D3(zero)"]

_DAMPING = {"D3(BJ)": ("d3bj", "RationalDampingParam"), "D3(zero)": ("d3zero", "ZeroDampingParam")}


def require_parameters(functional: str, kind: Dispersion) -> None:
    """Check that a functional has damping parameters.

    Raises:
        EngineSettingsError: it has none.
    """
    if not kind:
        return
    damping = getattr(import_module("dftd3.interface"), _DAMPING[kind][1])
    try:
        damping(method=functional, atm=False)
    except RuntimeError as error:
        raise EngineSettingsError(
            f"received dispersion {kind} with xc {functional}, expected a functional with damping parameters: {error}"
        ) from error


def dispersion_correction(
    atoms: Atoms, functional: str, kind: Dispersion
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the two-body correction of energy (eV), forces (n, 3) eV/Å and stress (6,) eV/Å³ in Voigt order.

    The three-body term is not included, as in VASP.

    Args:
        atoms: periodic in three directions.
        functional: functional of the damping parameters, for example ``PBE``.
        kind: the damping.
    """
    calculator = import_module("dftd3.ase").DFTD3(
        damping=_DAMPING[kind][0], params_tweaks={"method": functional, "atm": False}
    )
    calculator.calculate(atoms, ["energy", "forces", "stress"])
    results = calculator.results
    return float(results["energy"]), results["forces"], results["stress"]
