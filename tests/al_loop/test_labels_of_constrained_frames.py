"""Labels keep the raw forces on all atoms, whatever the structure holds, and so does everything that reads them."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian
from ase.io import read, write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.files.labelled import LabelKeys, read_labelled
from al_loop.frames.codec import pack_atoms, unpack_atoms
from al_loop.records import LabelledFrame, Role
from al_loop.stages.train.training_frame import training_frame
from al_loop.utils.content_hash import frame_id
from dft_interfaces.files.atoms_json import atoms_as_dict, atoms_from_dict
from dft_interfaces.label import Label, LabelStatus

CONSTRAINTS = {
    "FixAtoms": FixAtoms([0, 1]),
    "FixCartesian": FixCartesian([0, 1], (True, True, False)),
    "FixBondLengths": FixBondLengths([[0, 1]]),
}


def copper(constraint=None):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, rng=np.random.default_rng(0))
    atoms.set_constraint(constraint)
    return atoms


def raw():
    atoms = copper()
    return EMT().get_forces(atoms)


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_a_frames_id_depends_neither_on_constraints_nor_on_masses(kind):
    heavy = copper(CONSTRAINTS[kind])
    heavy.set_masses([60, 61, 62, 63])
    assert frame_id(heavy) == frame_id(copper())
    kept = unpack_atoms(pack_atoms(heavy))
    assert frame_id(kept) == frame_id(copper())
    assert [type(constraint) for constraint in kept.constraints] == [type(CONSTRAINTS[kind])]
    assert kept.get_masses().tolist() == [60, 61, 62, 63]


@pytest.mark.parametrize("name", ["frames.extxyz", "frames.traj", "frames.json"])
def test_labels_in_files_with_constraints_are_read_as_they_stand(tmp_path, name):
    atoms = copper(CONSTRAINTS["FixAtoms"])
    forces = raw()
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=forces)
    write(tmp_path / name, atoms)
    assert read(tmp_path / name).constraints
    assert np.abs(read(tmp_path / name).get_forces()[:2]).max() == 0  # ASE's own getter hides them
    (frame,) = read_labelled(tmp_path / name, LabelKeys("energy", "forces", "stress")).frames
    np.testing.assert_allclose(frame.forces_eV_per_A, forces, atol=1e-7)
    assert np.abs(forces[:2]).max() > 0.1


def test_al_loop_label_gives_a_constrained_structure_its_raw_forces(tmp_path):
    write(tmp_path / "held.extxyz", [copper(CONSTRAINTS["FixAtoms"]), copper(CONSTRAINTS["FixCartesian"])])
    (tmp_path / "engine.yaml").write_text("engine: ase\ncalculator: ase.calculators.emt.EMT\n")
    arguments = [
        "label",
        tmp_path / "held.extxyz",
        "--engine",
        tmp_path / "engine.yaml",
        "--to",
        tmp_path / "out.extxyz",
    ]
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    for frame in read(tmp_path / "out.extxyz", ":"):
        np.testing.assert_allclose(frame.arrays["REF_forces"], raw(), atol=1e-6)


def test_training_uses_the_raw_forces():
    label = Label(LabelStatus.CONVERGED, "x", energy_eV=1.0, forces_eV_per_A=raw())
    frame = LabelledFrame("id", copper(CONSTRAINTS["FixAtoms"]), Role.EXPLORE, "cu", "cu/0", label=label)
    np.testing.assert_array_equal(training_frame(frame).forces_eV_per_A, raw())


def test_an_engine_is_handed_no_constraints():
    assert not atoms_from_dict(atoms_as_dict(copper(CONSTRAINTS["FixAtoms"]))).constraints
