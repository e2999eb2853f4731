"""Magnetic crystals with GPAW, for real: bcc iron at settings that are quick and not converged."""

import numpy as np
import pytest
from ase.build import bulk

from dft_interfaces.engines import build_engine
from dft_interfaces.label import LabelStatus
from dft_interfaces.settings import GPAWSettings

pytestmark = pytest.mark.long


def _engine(**settings):
    quick = {"cutoff_eV": 250, "kpoint_density_A": 2.5, "smearing_eV": 0.3, "accept_low_cutoff": True}
    return build_engine(GPAWSettings(engine="gpaw", **(quick | settings)))


def _iron(moments=None):
    atoms = bulk("Fe", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.set_initial_magnetic_moments(moments)
    return atoms


@pytest.fixture(scope="module")
def ferromagnet():
    return _engine().label(_iron([3.0, 3.0]))


def test_moments_come_back_and_stress_too(ferromagnet):
    assert ferromagnet.status is LabelStatus.CONVERGED, ferromagnet.message
    assert (ferromagnet.magnetic_moments_uB > 1.5).all()
    assert ferromagnet.stress_eV_per_A3.shape == (6,)
    assert ferromagnet.attempts == ()


def test_a_wrong_start_is_noticed_and_the_lowest_state_kept(ferromagnet):
    label = _engine(spin_starts=("none", "ferromagnetic")).label(_iron())
    assert label.energy_eV < ferromagnet.energy_eV + 0.05
    assert (label.magnetic_moments_uB > 1.5).all()
    assert "moments ferromagnetic kept" in label.message
    assert "below none" in label.message
    none, ferro = label.attempts
    assert none.energy_eV - ferro.energy_eV > 0.2  # bcc iron is a ferromagnet
    assert label.cost_s == pytest.approx(none.cost_s + ferro.cost_s)


def test_iron_without_moments_says_so():
    label = _engine().label(_iron())
    assert label.status is LabelStatus.CONVERGED
    assert label.magnetic_moments_uB is None
    spin, stress = label.message.splitlines()
    assert spin == "calculated without spin: no initial magnetic moments for Fe"
    assert "0.5 GPa at 250 eV for Fe" in stress


def test_a_hubbard_U_enlarges_the_moments(ferromagnet):
    engine = _engine(hubbard_U_eV={"Fe-3d": 2.0})
    label = engine.label(_iron([3.0, 3.0]))
    assert label.status is LabelStatus.CONVERGED, label.message
    assert (label.magnetic_moments_uB > ferromagnet.magnetic_moments_uB + 0.1).all()
    assert engine.level_of_theory.hubbard_U_eV == {"Fe-3d": 2.0}
    assert label.level_of_theory != ferromagnet.level_of_theory


def test_a_structure_without_a_spin_start_has_an_estimate_and_is_rejected():
    engine, lone = _engine(spin_starts=("antiferromagnetic",)), bulk("Fe")
    assert engine.estimate_s(lone) > 0
    assert engine.label(lone).status is LabelStatus.REJECTED


@pytest.mark.parametrize("strategy", range(3))
def test_every_retry_strategy_ends_in_the_same_magnetic_state(strategy, ferromagnet):
    engine = _engine()
    label = engine.label(_iron([3.0, 3.0]), engine.ladder[strategy])
    assert label.status is LabelStatus.CONVERGED, label.message
    assert label.energy_eV == pytest.approx(ferromagnet.energy_eV, abs=0.02)
    assert np.abs(label.forces_eV_per_A - ferromagnet.forces_eV_per_A).max() < 0.01
    # What goes from one atom to the other costs a meV for 0.1 µB: where the cycles stop decides.
    assert label.magnetic_moments_uB.mean() == pytest.approx(ferromagnet.magnetic_moments_uB.mean(), abs=0.03)
