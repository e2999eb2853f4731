"""Check that an engine keeps the contract of ``DFTEngine``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.jsonio import encode
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from dft_interfaces.engine import DFTEngine
from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.label import Label, LabelStatus

_PROBING_STRAIN = np.array([1.0, -0.6, 0.3, 0.8, -0.5, 0.4])
"""A direction (Voigt) that reveals every swap of components and every wrong sign."""

_MIN_SHARE = 0.4
"""Least component of the probing displacement before normalisation: every atom moves along every axis."""

_WRONG_CONVENTIONS = {
    "the opposite sign": lambda s: -s,
    "shear components in the order xy xz yz": lambda s: s[[0, 1, 2, 5, 4, 3]],
    "shear components in the order xy yz xz": lambda s: s[[0, 1, 2, 5, 3, 4]],
    "shear components twice as large": lambda s: s * np.array([1, 1, 1, 2, 2, 2]),
}

_WRONG_FORCES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "no forces": lambda f: 0 * f,
    "the axes in the order x z y": lambda f: f[:, [0, 2, 1]],
    "the axes in the order y x z": lambda f: f[:, [1, 0, 2]],
    "the axes in the order z y x": lambda f: f[:, [2, 1, 0]],
}


class EngineContractError(DFTInterfaceError):
    """An engine violates the contract; the message names the part."""


@dataclass(frozen=True)
class Tolerances:
    """How closely derivatives must agree with finite differences.

    Attributes:
        forces_eV_per_A: for forces: of permuted atoms, and against the energy along the probing displacement.
        stress_eV_per_A3: for the stress against the energy.
        displacement_A: step of the finite differences of positions.
        strain: step of the finite differences of the cell.
    """

    forces_eV_per_A: float = 5e-3
    stress_eV_per_A3: float = 1e-4
    displacement_A: float = 0.01
    strain: float = 0.005


def check_engine(engine: DFTEngine, atoms: Atoms, tolerances: Tolerances | None = None) -> Label:
    """Check an engine against its contract with 4 calculations, 6 if it has stress.

    Checks the engine's attributes (name, cores, ladder, estimate, elements), shapes and finiteness, that the caller's
    atoms are not modified, that permuted atoms get permuted forces, that the forces are the finite difference of the
    energy along a displacement of all atoms, that the stress has the sign and the Voigt order of the energy's
    derivative with strain, a stable level of theory, and that a failed calculation is a value.
    ``check_retry_strategies`` checks the retries.

    Args:
        engine: the engine.
        atoms: a structure without symmetry, two atoms or more; periodic and sheared if the engine has stress.
        tolerances: how closely derivatives must agree; depends on cutoffs and grids.

    Returns:
        The label of ``atoms``.

    Raises:
        EngineContractError: the engine violates the contract, or the structure cannot reveal whether it does.
    """
    limits = tolerances or Tolerances()
    _check_level(engine)
    _check_description(engine, atoms)
    label = _check_label(engine, atoms)
    _check_permutation(engine, atoms, label, limits)
    _check_force(engine, atoms, label, limits)
    if label.stress_eV_per_A3 is not None:
        _check_stress(engine, atoms, label.stress_eV_per_A3, limits)
    _check_failure_is_a_value(engine, atoms)
    _check_level(engine, label.level_of_theory)
    return label


def _check_level(engine: DFTEngine, expected: str | None = None) -> None:
    level = engine.level_of_theory
    level.as_dict()
    _require(level.fingerprint == (expected or level.fingerprint), "the level of theory changed during a calculation")
    _require(bool(level.summary), "the level of theory has no summary")
    _require({"energy", "forces"} <= engine.properties, f"properties are {set(engine.properties)}")


def check_retry_strategies(engine: DFTEngine, atoms: Atoms, tolerance_eV: float = 1e-4) -> None:
    """Check with one calculation for each retry strategy that it converges to the same solution.

    Raises:
        EngineContractError: a strategy that does not converge, or ends in another energy or level of theory.
    """
    _require(bool(engine.ladder), "the engine's ladder has no retry strategies")
    usual = _energy(_converged(engine, atoms))
    for strategy in engine.ladder:
        error = abs(_energy(_converged(engine, atoms, strategy)) - usual)
        _require(error <= tolerance_eV, f"the energy of retry strategy {strategy.name!r} differs by {error:.2e} eV")


def _check_description(engine: DFTEngine, atoms: Atoms) -> None:
    _require(bool(engine.name), "the engine has no name")
    _require(isinstance(engine.cores, int) and engine.cores >= 1, f"cores is {engine.cores!r}, expected 1 or more")
    names = [strategy.name for strategy in engine.ladder]
    _require(len(set(names)) == len(names), f"names of retry strategies repeat: {names}")
    seconds = engine.estimate_s(atoms)
    _require(np.isfinite(seconds) and seconds > 0, f"estimate_s is {seconds}, expected seconds")
    unknown = engine.unknown_elements(set(atoms.symbols))
    _require(list(unknown) == [], f"unknown_elements returns {unknown}, which the structure contains")


def _check_label(engine: DFTEngine, atoms: Atoms) -> Label:
    _require(len(atoms) > 1, "give a structure of two atoms or more")
    label = _converged(engine, atoms)
    _require(label.cost_s > 0, f"cost_s is {label.cost_s}, expected seconds")
    with_stress = "stress" in engine.properties and bool(atoms.pbc.all())
    _require((label.stress_eV_per_A3 is not None) == with_stress, "stress and the engine's properties disagree")
    return label


def _labelled(engine: DFTEngine, atoms: Atoms, strategy: Any = None) -> Label:
    """Return the label of a structure; the engine must not modify the structure."""
    given = atoms.copy()
    label = engine.label(given, strategy)
    _require(given.calc is None and encode(given) == encode(atoms), "the engine changed the caller's atoms")
    return label


def _check_permutation(engine: DFTEngine, atoms: Atoms, label: Label, limits: Tolerances) -> None:
    order = np.roll(np.arange(len(atoms)), 1)
    error = np.abs(_forces(_converged(engine, atoms[order])) - _forces(label)[order]).max()
    _require(error <= limits.forces_eV_per_A, f"forces of permuted atoms differ by {error:.2e} eV/Å")


def _check_force(engine: DFTEngine, atoms: Atoms, label: Label, limits: Tolerances) -> None:
    """Compare forces and energy along a displacement of length 1 that involves every component of every force."""
    forces = _forces(label)
    shares = _MIN_SHARE + (1 - _MIN_SHARE) * np.random.default_rng(0).random(forces.shape)
    along = np.where(forces < 0, -shares, shares)
    along /= np.linalg.norm(along)
    given = float((forces * along).sum())
    for name, convention in _WRONG_FORCES.items():
        contrast = abs(float((convention(forces) * along).sum()) - given)
        _require(
            contrast > 2 * limits.forces_eV_per_A,
            f"this structure cannot distinguish {name} from the right ones: displace the atoms",
        )
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * limits.displacement_A * along
        energies.append(_energy(_converged(engine, moved)))
    expected = -(energies[0] - energies[1]) / (2 * limits.displacement_A)
    _require(
        abs(given - expected) <= limits.forces_eV_per_A,
        f"force {given:.5f} eV/Å along the probing displacement of all atoms; the energy's finite difference is "
        f"{expected:.5f}",
    )


def _check_stress(engine: DFTEngine, atoms: Atoms, stress: NDArray[np.float64], limits: Tolerances) -> None:
    given = _along(stress)
    for name, convention in _WRONG_CONVENTIONS.items():
        contrast = abs(_along(convention(stress)) - given)
        _require(
            contrast > 2 * limits.stress_eV_per_A3,
            f"this structure cannot distinguish {name} from the right ones: shear the cell and displace the atoms",
        )
    plus, minus = (_energy(_converged(engine, _strained(atoms, sign * limits.strain))) for sign in (1, -1))
    expected = (plus - minus) / (2 * limits.strain * atoms.cell.volume)
    _require(
        abs(given - expected) <= limits.stress_eV_per_A3,
        f"stress along the probing strain {given:.6f} eV/Å³; the energy's finite difference is {expected:.6f} "
        "(stress = dE/dstrain / volume, Voigt xx yy zz yz xz xy)",
    )


def _check_failure_is_a_value(engine: DFTEngine, atoms: Atoms) -> None:
    broken = atoms.copy()
    broken.positions[0, 0] = np.nan
    for structure in (broken, Atoms()):
        label = _labelled(engine, structure)
        _require(label.status in {LabelStatus.FAILED, LabelStatus.REJECTED}, f"a broken structure is {label.status}")
        _require(bool(label.message), "a failed label has no message")
        _require(label.energy_eV is None and label.forces_eV_per_A is None, "a failed label carries numbers")


def _strained(atoms: Atoms, amplitude: float) -> Atoms:
    strained = atoms.copy()
    deformation = np.eye(3) + amplitude * voigt_6_to_full_3x3_stress(_PROBING_STRAIN)
    strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return strained


def _along(stress: NDArray[np.float64]) -> float:
    """Return the derivative of the energy per volume along the probing strain."""
    return float((voigt_6_to_full_3x3_stress(stress) * voigt_6_to_full_3x3_stress(_PROBING_STRAIN)).sum())


def _converged(engine: DFTEngine, atoms: Atoms, strategy: Any = None) -> Label:
    label = _labelled(engine, atoms, strategy)
    _require(label.status is LabelStatus.CONVERGED, f"the calculation is {label.status}: {label.message}")
    _require(label.level_of_theory == engine.level_of_theory.fingerprint, "a label has another level of theory")
    _require(isinstance(label.energy_eV, float) and np.isfinite(label.energy_eV), f"energy is {label.energy_eV!r}")
    shape = None if label.forces_eV_per_A is None else np.shape(label.forces_eV_per_A)
    _require(shape == (len(atoms), 3), f"forces have the shape {shape}, expected ({len(atoms)}, 3)")
    _require(bool(np.isfinite(_forces(label)).all()), "forces are not finite")
    if label.stress_eV_per_A3 is not None:
        good = label.stress_eV_per_A3.shape == (6,) and bool(np.isfinite(label.stress_eV_per_A3).all())
        _require(good, f"stress is {label.stress_eV_per_A3}")
    if label.magnetic_moments_uB is not None:
        moments = np.asarray(label.magnetic_moments_uB)
        good = moments.shape == (len(atoms),) and bool(np.isfinite(moments).all())
        _require(good, f"magnetic moments are {moments}, expected one finite number for each atom")
    return label


def _energy(label: Label) -> float:
    _require(label.energy_eV is not None, "a converged label has no energy")
    return float(label.energy_eV or 0.0)


def _forces(label: Label) -> NDArray[np.float64]:
    _require(label.forces_eV_per_A is not None, "a converged label has no forces")
    return np.asarray(label.forces_eV_per_A)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise EngineContractError(otherwise)
