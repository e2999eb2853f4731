"""The monitor's own dynamics and constraints."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixedPlane, FixInternals, Hookean
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import ExploreSettings
from al_loop.dynamics.ase_dynamics import ReplicaDynamics
from al_loop.errors import InputError
from al_loop.frames.constraints.motion import draw_velocities
from al_loop.tools.monitoring.monitor import ReliabilityMonitor
from committee import save


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def held(*constraints):
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(list(constraints))
    return atoms


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "bussi"])
def test_dynamics_follow_constraints(ensemble):
    atoms = held(FixAtoms([0, 2]), FixedPlane([1], [0, 0, 1]), Hookean(1, 3, 2.0, rt=2.4))
    before = atoms.positions.copy()
    atoms.calc = EMT()
    dynamics = ReplicaDynamics(atoms, ExploreSettings(temperatures_K=(300,), ensemble=ensemble, timestep_fs=2.0), 1)
    totals = [atoms.get_total_energy() for _ in dynamics.irun(40)]
    way = np.abs(atoms.positions - before)
    assert (way[[0, 2]] == 0).all()
    assert (way[1, 2] == 0).all()
    assert way[1, :2].min() > 1e-3
    assert way[3].min() > 1e-3
    if ensemble == "nve":
        assert np.ptp(totals) < 2e-3


def test_the_command_runs_with_fixed_atoms_and_refuses_what_it_cannot_follow(tmp_path, potential):
    save(potential, tmp_path / "model")

    def run(atoms, *arguments):
        write("start.traj", atoms)
        command = ["monitor", "start.traj", "--model", "model", "--steps", "5", *arguments]
        result = CliRunner().invoke(app, command)
        return result.exit_code, " ".join(result.output.split())

    code, _ = run(held(FixAtoms([0, 1])), "--every", "1", "--md-trajectory", "md.traj")
    assert code == 0
    frames = read("md.traj", ":")
    assert (frames[-1].positions[:2] == frames[0].positions[:2]).all()
    assert np.abs(frames[-1].positions[2:] - frames[0].positions[2:]).min() > 0
    for atoms, arguments, words in (
        (
            held(FixAtoms([0])),
            ["--ensemble", "npt"],
            "holds FixAtoms (1 atom), which a motion of the cell cannot follow",
        ),
        (held(FixInternals(bonds=[[None, [0, 1]]])), [], "start.traj holds FixInternals, which nothing here follows"),
        (held(FixAtoms([0, 1, 2, 3])), [], "so that nothing would move"),
    ):
        code, said = run(atoms, *arguments)
        assert code == 2
        assert words in said


def test_a_dynamics_of_ases_with_overlapping_constraints_has_the_temperature_of_what_moves(potential):
    atoms = held(FixAtoms([0, 1]), FixAtoms([1, 2]))
    atoms.calc = EMT()
    draw_velocities(atoms, 300, np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 0.1)
    monitor = ReliabilityMonitor.load(potential, dynamics, log=None, reference=bulk("Cu", cubic=True))
    monitor()
    freedom = 3
    expected = 2 * atoms.get_kinetic_energy() / (freedom * 8.617330337217213e-05)
    assert monitor.latest.temperature_K == pytest.approx(expected)


def test_the_class_refuses_npt():
    with pytest.raises(InputError, match=r"the structure holds FixAtoms .* choose langevin or bussi"):
        ReplicaDynamics(held(FixAtoms([0])), ExploreSettings(temperatures_K=(300,), ensemble="npt"), 0)
