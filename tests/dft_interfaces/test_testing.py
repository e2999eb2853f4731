"""``check_engine`` finds violations of the contract."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.units import Bohr, GPa, Hartree, Ry

from dft_interfaces.engines import build_engine
from dft_interfaces.label import LabelStatus, LevelOfTheory
from dft_interfaces.settings import ASECalculatorSettings
from dft_interfaces.settings.ase_calculator import ASERetryStrategy
from dft_interfaces.testing import EngineContractError, Tolerances, check_engine, check_retry_strategies

LIMITS = Tolerances(forces_eV_per_A=1e-3, stress_eV_per_A3=1e-4, displacement_A=1e-3, strain=1e-4)


class Wrapped:
    """A sound engine with one fault, in its labels or in one attribute."""

    def __init__(self, fault=lambda engine, atoms, label: label, ladder=(), **attributes):
        settings = ASECalculatorSettings(engine="ase", calculator="ase.calculators.emt.EMT", ladder=ladder)
        self._engine = build_engine(settings)
        self._fault = fault
        for what in ("level_of_theory", "properties", "name", "cores", "ladder", "estimate_s", "unknown_elements"):
            setattr(self, what, attributes.get(what, getattr(self._engine, what)))

    def label(self, atoms, strategy=None):
        label = self._engine.label(atoms, strategy)
        return self._fault(self, atoms, label) if label.status is LabelStatus.CONVERGED else label


def _change(**functions):
    return lambda engine, atoms, label: replace(
        label, **{key: function(getattr(label, key)) for key, function in functions.items()}
    )


def _move_the_callers_atoms(engine, atoms, label):
    atoms.positions += 1e-6
    return label


def _write_into_info(engine, atoms, label):
    atoms.info["charge"] = 0
    return label


def _forget_the_moments(engine, atoms, label):
    atoms.arrays["initial_magmoms"][:] = 0.0
    return label


def _hold_an_atom(engine, atoms, label):
    atoms.set_constraint(FixAtoms([0]))
    return label


def _turn_the_smallest_force(engine, atoms, label):
    forces = label.forces_eV_per_A.copy()
    forces[np.linalg.norm(forces, axis=1).argmin()] *= -1
    return replace(label, forces_eV_per_A=forces)


def _drift(engine, atoms, label):
    engine.level_of_theory = LevelOfTheory("ase", "another", more={"call": label.cost_s})
    return label


FAULTS = {
    "finite difference is": _change(forces_eV_per_A=lambda f: 1.01 * f),
    "finite difference": _change(forces_eV_per_A=lambda f: -f),
    "energy's finite": _change(forces_eV_per_A=lambda f: f * Bohr / Ry),
    "probing displacement": _change(forces_eV_per_A=lambda f: f[:, [0, 2, 1]]),
    "of all atoms": _turn_the_smallest_force,
    "displacement of all": _change(energy_eV=lambda e: e / Hartree),
    "stress along the probing": _change(stress_eV_per_A3=lambda s: -s),
    "stress along": _change(stress_eV_per_A3=lambda s: s[[0, 1, 2, 5, 4, 3]]),
    "stress": _change(stress_eV_per_A3=lambda s: s * 1.05),
    "the probing strain": _change(stress_eV_per_A3=lambda s: s * np.array([1, 1, 1, 2, 2, 2])),
    "stress along the": _change(stress_eV_per_A3=lambda s: s / GPa),
    "stress and the engine's properties": _change(stress_eV_per_A3=lambda s: None),
    "permuted": lambda engine, atoms, label: replace(
        label, forces_eV_per_A=label.forces_eV_per_A * atoms.positions[0, 0]
    ),
    "expected \\(4, 3\\)": _change(forces_eV_per_A=lambda f: f[:-1]),
    "not finite": _change(forces_eV_per_A=lambda f: f * np.nan),
    "energy is nan": _change(energy_eV=lambda e: float("nan")),
    "cost_s": _change(cost_s=lambda c: 0.0),
    "changed the caller's atoms": _move_the_callers_atoms,
    "the caller's atoms": _write_into_info,
    "caller's atoms": _forget_the_moments,
    "changed the": _hold_an_atom,
    "magnetic moments are": _change(magnetic_moments_uB=lambda m: np.zeros(3)),
    "level of theory": _drift,
}


def _copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.08, seed=1)
    strain = np.array([[0.03, 0.02, -0.03], [0.02, -0.02, 0.04], [-0.03, 0.04, 0.015]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.info["charge"] = 1
    atoms.set_initial_magnetic_moments([0.1, 0.2, 0.3, 0.4])
    return atoms


@pytest.mark.parametrize("fragment", FAULTS)
def test_faults_are_found(fragment):
    with pytest.raises(EngineContractError, match=fragment):
        check_engine(Wrapped(FAULTS[fragment]), _copper(), LIMITS)


@pytest.mark.parametrize(
    ("attributes", "fragment"),
    [
        ({"name": ""}, "no name"),
        ({"cores": 0}, "cores is 0"),
        ({"ladder": [ASERetryStrategy(name="slow"), ASERetryStrategy(name="slow")]}, "repeat"),
        ({"estimate_s": lambda atoms: float("nan")}, "estimate_s is nan"),
        ({"unknown_elements": sorted}, r"unknown_elements returns \['Cu'\]"),
        ({"properties": frozenset({"energy"})}, "properties are"),
    ],
)
def test_the_attributes_of_an_engine_are_checked(attributes, fragment):
    with pytest.raises(EngineContractError, match=fragment):
        check_engine(Wrapped(**attributes), _copper(), LIMITS)


@pytest.mark.parametrize(
    ("strategies", "fragment"),
    [
        ([], "no retry strategies"),
        (
            [ASERetryStrategy(name="another surface", arguments={"asap_cutoff": True})],
            "'another surface' differs by",
        ),
    ],
)
def test_a_retry_strategy_that_changes_the_level_is_found(strategies, fragment):
    with pytest.raises(EngineContractError, match=fragment):
        check_retry_strategies(Wrapped(ladder=strategies), _copper())


def test_a_retry_strategy_that_keeps_the_level_passes():
    check_retry_strategies(
        Wrapped(ladder=[ASERetryStrategy(name="the same", arguments={"asap_cutoff": False})]), _copper()
    )


def test_a_sound_engine_passes():
    check_engine(Wrapped(), _copper(), LIMITS)


class RaisesOnFailure(Wrapped):
    """Raises an exception instead of returning a failed label."""

    def label(self, atoms, strategy=None):
        label = self._engine.label(atoms, strategy)
        if label.status is not LabelStatus.CONVERGED:
            raise RuntimeError(label.message)
        return label


def test_a_failure_that_is_no_value_is_found():
    with pytest.raises(RuntimeError):
        check_engine(RaisesOnFailure(), _copper(), LIMITS)


@pytest.mark.parametrize("atoms", [bulk("Cu", cubic=True), bulk("Cu")])
def test_structures_that_cannot_show_a_fault_are_refused(atoms):
    with pytest.raises(EngineContractError, match=r"displace the atoms|two atoms"):
        check_engine(Wrapped(), atoms, LIMITS)
