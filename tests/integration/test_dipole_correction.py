"""Dipole correction of slabs, for real: chlorine on one face of two layers of aluminium, quick and not converged."""

import os
from functools import partial

import numpy as np
import pytest
from ase.build import add_adsorbate, bulk, fcc100
from ase.units import Bohr, Ry

from dft_interfaces.engines import build_engine
from dft_interfaces.geometry.slab import slab_of
from dft_interfaces.label import LabelStatus
from dft_interfaces.output_tail import EngineLog
from dft_interfaces.settings import EspressoSettings, GPAWSettings

NO_ESPRESSO = EspressoSettings(engine="espresso").remedy()
needs_espresso = pytest.mark.skipif(NO_ESPRESSO is not None and os.geteuid() != 0, reason=str(NO_ESPRESSO))
BOTH = ["gpaw", pytest.param("espresso", marks=needs_espresso)]
ESPRESSO_LONG = ["gpaw", pytest.param("espresso", marks=[needs_espresso, pytest.mark.long])]  # many runs of pw.x

QUICK = {"kpoint_density_A": 5.7, "smearing_eV": 0.3}
FACE_A = 4.0  # beyond an outermost atom the electrons have faded
JUMP_A = 1.0  # around the middle of the vacuum the potential falls back


def engine(name, **settings):
    if name == "gpaw":
        return build_engine(GPAWSettings(engine="gpaw", cutoff_eV=300, **(QUICK | settings)))
    return build_engine(EspressoSettings(engine="espresso", cutoff_eV=700, **(QUICK | settings)))


def polar_slab(vacuum_A=10.0):
    slab = fcc100("Al", (1, 1, 2), a=4.05)
    add_adsorbate(slab, "Cl", 1.9, "hollow")
    slab.positions[1] += [0.1, 0.05, 0.08]
    slab.center(vacuum=vacuum_A / 2, axis=2)
    slab.pbc = True
    return slab


def slopes(heights_A, potential_eV, slab):
    """Slope of the potential, eV/Å, below and above a slab whose atoms lie around the middle of the cell."""
    lowest, highest, top = slab.positions[:, 2].min(), slab.positions[:, 2].max(), slab.cell.lengths()[2]
    sides = ((JUMP_A, lowest - FACE_A), (highest + FACE_A, top - JUMP_A))
    chosen = [(heights_A > low) & (heights_A < high) for low, high in sides]
    assert all(side.sum() > 10 for side in chosen)
    return np.array([np.polyfit(heights_A[side], potential_eV[side], 1)[0] for side in chosen])


def potential_of_gpaw(slab, *, corrected):
    from dft_interfaces.engines.gpaw import placed_slab

    atoms = placed_slab(slab, slab_of(slab)).atoms if corrected else slab.copy()
    atoms.calc = engine("gpaw", dipole_correction=corrected)._converged(atoms, None, EngineLog())
    atoms.get_potential_energy()
    potential_eV = atoms.calc.get_electrostatic_potential().mean((0, 1))
    return np.arange(len(potential_eV)) / len(potential_eV) * atoms.cell.lengths()[2], potential_eV


def potential_of_espresso(slab, folder, *, corrected):
    """The potential of pw.x, its saw-tooth included, by the programs that come with it."""
    program = folder / f"pw-and-potential-{corrected}"
    program.write_text(f"""#!/bin/sh
sed -i "s/disk_io .*/disk_io = 'low'/" espresso.pwi
pw.x "$@" || exit 1
printf "&inputpp\\n plot_num = 11\\n filplot = 'potential'\\n/\\n" | pp.x > pp.out || exit 1
printf "1\\npotential\\n1.0\\n1000\\n3\\n1.0\\n" | average.x > average.out || exit 1
cp avg.dat {program}.dat
""")
    program.chmod(0o755)
    label = engine("espresso", dipole_correction=corrected, program=str(program)).label(slab)
    assert label.status is LabelStatus.CONVERGED, label.message
    heights_bohr, potential_Ry = np.loadtxt(f"{program}.dat")[:, :2].T
    return heights_bohr * Bohr, potential_Ry * Ry


@pytest.mark.parametrize("name", ESPRESSO_LONG)
def test_the_potential_is_flat_on_both_sides_of_the_vacuum(name, tmp_path):
    slab = polar_slab(vacuum_A=14.0)
    potential = potential_of_gpaw if name == "gpaw" else partial(potential_of_espresso, folder=tmp_path)
    assert (np.abs(slopes(*potential(slab, corrected=False), slab)) > 0.1).all()
    assert (np.abs(slopes(*potential(slab, corrected=True), slab)) < 0.002).all()


@pytest.mark.parametrize("name", ESPRESSO_LONG)
def test_forces_are_the_energys_derivative_and_the_cell_may_lie_anyhow(name):
    """Also where the slab crosses the border of a left-handed cell that has its vacuum along another vector."""
    corrected, slab, step = engine(name, dipole_correction=True), polar_slab(), np.array([0.003, 0.002, 0.009])
    ahead, back, turned = slab.copy(), slab.copy(), slab.copy()
    ahead.positions[2] += step
    back.positions[2] -= step
    turned.positions[:, 2] += 7.3
    turned.set_cell(slab.cell.array[[2, 1, 0]])
    turned.wrap()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    assert turned.cell.handedness == -1
    label, *others = labels = [corrected.label(atoms) for atoms in (slab, ahead, back, turned)]
    assert {one.status for one in labels} == {LabelStatus.CONVERGED}, [one.message for one in labels]
    assert label.stress_eV_per_A3 is None
    assert "dipole correction along c; no stress" in label.message
    plus, minus, same = others
    assert 2 * label.forces_eV_per_A[2] @ step == pytest.approx(minus.energy_eV - plus.energy_eV, abs=5e-5)
    assert np.abs(label.forces_eV_per_A.sum(axis=0)).max() < 2e-3
    assert same.energy_eV == pytest.approx(label.energy_eV, abs=1e-4)
    into_slab = np.linalg.solve(turned.cell.array, slab.cell.array[[2, 1, 0]])
    np.testing.assert_allclose(same.forces_eV_per_A @ into_slab, label.forces_eV_per_A, atol=2e-3)


@pytest.mark.parametrize("name", BOTH)
def test_a_bulk_stays_as_it_is_at_a_level_of_its_own(name):
    plain, corrected = engine(name), engine(name, dipole_correction=True)
    before, after = (one.label(bulk("Al")) for one in (plain, corrected))
    assert after.energy_eV == pytest.approx(before.energy_eV, abs=1e-7)
    np.testing.assert_allclose(after.stress_eV_per_A3, before.stress_eV_per_A3, atol=1e-7)
    assert after.message == before.message
    assert plain.level_of_theory.fingerprint != corrected.level_of_theory.fingerprint
    assert corrected.level_of_theory.summary == f"{plain.level_of_theory.summary}, dipole correction of slabs"
    assert "dipole_correction" not in plain.level_of_theory.as_dict()["more"]
