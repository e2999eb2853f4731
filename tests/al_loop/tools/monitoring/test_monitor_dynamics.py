"""A monitor beside every kind of ASE's dynamics, and beside relaxations."""

import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.md.andersen import Andersen
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.melchionna import MelchionnaNPT
from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.nptberendsen import NPTBerendsen
from ase.md.nvtberendsen import NVTBerendsen
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from al_loop.errors import InputError
from al_loop.tools.monitoring.monitor import ReliabilityMonitor
from al_loop.tools.monitoring.observed_dynamics import ObservedDynamics

STEP = 2 * units.fs


def rng():
    return np.random.default_rng(3)


MAKERS = {
    "langevin": lambda a: Langevin(a, STEP, temperature_K=450, friction=0.01 / units.fs, rng=rng(), fixcm=False),
    "baoab": lambda a: LangevinBAOAB(a, STEP, temperature_K=450, T_tau=50 * units.fs, rng=rng()),
    "andersen": lambda a: Andersen(a, STEP, temperature_K=450, andersen_prob=0.1, rng=rng()),
    "bussi": lambda a: Bussi(a, STEP, temperature_K=450, taut=50 * units.fs, rng=rng()),
    "nvt": lambda a: NVTBerendsen(a, STEP, temperature_K=450, taut=50 * units.fs),
    "chain": lambda a: NoseHooverChainNVT(a, STEP, temperature_K=450, tdamp=50 * units.fs),
    "npt": lambda a: MelchionnaNPT(
        a, STEP, temperature_K=450, externalstress=0.0, ttime=25 * units.fs, pfactor=75**2 * units.GPa * units.fs**2
    ),
    "npt-berendsen": lambda a: NPTBerendsen(
        a, STEP, temperature_K=450, pressure_au=0.0, compressibility_au=1.0, taut=50 * units.fs
    ),
    "mtk": lambda a: IsotropicMTKNPT(
        a, STEP, temperature_K=450, pressure_au=0.0, tdamp=50 * units.fs, pdamp=500 * units.fs
    ),
}
RELAXATIONS = {
    "fire": lambda a: FIRE(a, logfile=None),
    "fire-cell": lambda a: FIRE(FrechetCellFilter(a), logfile=None),
}


def warm(atoms, temperature_K=300):
    atoms = atoms.copy()
    atoms.calc = EMT()
    thermalize_momenta(atoms, temperature_K=temperature_K, rng=np.random.default_rng(5))
    return atoms


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_temperature_of_every_thermostat_is_read(make_copper, kind) -> None:
    assert ObservedDynamics(MAKERS[kind](warm(make_copper())), None).temperature_K() == pytest.approx(450)


def test_without_a_thermostat_it_is_that_of_the_velocities(make_copper) -> None:
    watched = ObservedDynamics(VelocityVerlet(warm(make_copper()), STEP), None)
    assert watched.temperature_K() == pytest.approx(watched.atoms.get_temperature())
    assert watched.conserved
    assert ObservedDynamics(FIRE(make_copper(), logfile=None), None).temperature_K() == 300


@pytest.mark.parametrize("kind", ["npt", "mtk", *RELAXATIONS])
def test_pressure_and_relaxations_are_the_same_bits_with_and_without(potential, make_copper, kind) -> None:
    def run(*, watched):
        atoms = make_copper() if kind in RELAXATIONS else warm(make_copper(), 450)
        atoms.calc = EMT()
        dyn = {**MAKERS, **RELAXATIONS}[kind](atoms)
        monitor = ReliabilityMonitor.load(potential, dyn, log=None) if watched else None
        if monitor is not None:
            dyn.attach(monitor, interval=4)
        dyn.run(steps=8)
        return atoms, monitor

    (plain, _), (atoms, monitor) = run(watched=False), run(watched=True)
    np.testing.assert_array_equal(atoms.positions, plain.positions)
    np.testing.assert_array_equal(atoms.cell.array, plain.cell.array)
    assert monitor.summary.checks == 3
    assert monitor.summary.alarms_by_check["physics"] == 0
    assert (monitor.latest.time_ps is None) == (kind in RELAXATIONS)


def test_a_reference_of_other_atoms_is_refused(potential, make_copper) -> None:
    dyn = VelocityVerlet(warm(make_copper()), STEP)
    with pytest.raises(InputError, match=r"reference: received Cu8, expected .*Cu4"):
        ReliabilityMonitor.load(potential, dyn, log=None, reference=make_copper().repeat((2, 1, 1)))
    ReliabilityMonitor.load(potential, dyn, log=None, reference=make_copper(amplitude_A=0.0))()
