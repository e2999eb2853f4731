"""The contract's checker finds what it is there to find."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from dft_interfaces.engines import build_engine
from dft_interfaces.label import LabelStatus, LevelOfTheory
from dft_interfaces.settings import ASECalculatorSettings
from dft_interfaces.testing import EngineContractError, Tolerances, check_engine

LIMITS = Tolerances(forces_eV_per_A=1e-3, stress_eV_per_A3=1e-4, displacement_A=1e-3, strain=1e-4)


class Wrapped:
    """A sound engine with one fault."""

    def __init__(self, fault):
        self._engine = build_engine(ASECalculatorSettings(engine="ase", calculator="ase.calculators.emt.EMT"))
        self._fault = fault
        self.name = "wrapped"
        self.level_of_theory = self._engine.level_of_theory
        self.properties = self._engine.properties

    def label(self, atoms):
        label = self._engine.label(atoms)
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


def _drift(engine, atoms, label):
    engine.level_of_theory = LevelOfTheory("ase", "another", {"call": label.cost_s})
    return label


FAULTS = {
    "finite difference is": _change(forces_eV_per_A=lambda f: 1.01 * f),
    "stress along the probing": _change(stress_eV_per_A3=lambda s: -s),
    "stress along": _change(stress_eV_per_A3=lambda s: s[[0, 1, 2, 5, 4, 3]]),
    "stress": _change(stress_eV_per_A3=lambda s: s * 1.05),
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
    "level of theory": _drift,
}


def _copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.08, seed=1)
    strain = np.array([[0.03, 0.02, -0.03], [0.02, -0.02, 0.04], [-0.03, 0.04, 0.015]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


@pytest.mark.parametrize("words", FAULTS)
def test_faults_are_found(words):
    with pytest.raises(EngineContractError, match=words):
        check_engine(Wrapped(FAULTS[words]), _copper(), LIMITS)


def test_a_sound_engine_passes():
    check_engine(Wrapped(lambda engine, atoms, label: label), _copper(), LIMITS)


class RaisesOnFailure(Wrapped):
    """Lets a failure escape."""

    def label(self, atoms):
        label = self._engine.label(atoms)
        if label.status is not LabelStatus.CONVERGED:
            raise RuntimeError(label.message)
        return label


def test_a_failure_that_is_no_value_is_found():
    with pytest.raises(RuntimeError):
        check_engine(RaisesOnFailure(None), _copper(), LIMITS)


@pytest.mark.parametrize("atoms", [bulk("Cu", cubic=True), bulk("Cu")])
def test_structures_that_cannot_show_a_fault_are_refused(atoms):
    with pytest.raises(EngineContractError, match=r"displace the atoms|two atoms"):
        check_engine(Wrapped(lambda engine, atoms, label: label), atoms, LIMITS)
