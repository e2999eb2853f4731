"""Charge, spin and moments of file and config must agree, and all structures of a file are explored."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms, units
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from al_loop import load_config
from al_loop.cli import app
from al_loop.config import SystemSettings
from al_loop.config.file import resolved
from al_loop.dynamics.constant_volume import VerletReplica
from al_loop.errors import InputError
from al_loop.records import Role
from al_loop.stages.batches import batch_count
from al_loop.stages.explore.starts import make_starts
from al_loop.structures.systems import load_structures, structure_count, system_symbols
from al_loop.tools.preflight.label_notes import label_cost
from dft_interfaces.engines import build_engine

HYDRONIUM = (
    '4\nProperties=species:S:1:pos:R:3 pbc="F F F" charge=1 spin=1\n'
    "O 0 0 0.08\nH 0.95 0 -0.2\nH -0.475 0.823 -0.2\nH -0.475 -0.823 -0.2\n"
)
NITRITE = '3\nProperties=species:S:1:pos:R:3 pbc="F F F" charge=-1 spin=1\nN 0 0 0.45\nO 1.06 0 -0.2\nO -1.06 0 -0.2\n'
DISORDERED = """data_x
_cell_length_a 3.9
_cell_length_b 3.9
_cell_length_c 3.9
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cu1 Cu 0 0 0 0.5
Ni1 Ni 0 0 0 0.5
Pt1 Pt 0.5 0.5 0.5 1.0
"""
EMT = {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}
OMOL = {"kind": "fairchem", "model": "uma-s-1p2p1", "task_name": "omol"}
OMAT = {"kind": "fairchem", "model": "uma-s-1p2p1", "task_name": "omat"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hydronium.extxyz").write_text(HYDRONIUM)
    (tmp_path / "nitrite.extxyz").write_text(NITRITE)
    (tmp_path / "radical.extxyz").write_text(NITRITE.replace("charge=-1 spin=1", "spin=2"))
    (tmp_path / "silent.extxyz").write_text(NITRITE.replace(" charge=-1 spin=1", ""))
    (tmp_path / "odd.extxyz").write_text(NITRITE.replace("charge=-1 spin=1", "spin=1"))
    (tmp_path / "partial.cif").write_text(DISORDERED)
    write(tmp_path / "ten.extxyz", [bulk("Cu", a=3.5 + 0.01 * number, cubic=True) for number in range(10)])
    charged = bulk("NaCl", "rocksalt", a=5.64)
    charged.info.update(charge=1, spin=2)
    write(tmp_path / "charged.extxyz", charged)
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.2, -2.2])
    write(tmp_path / "iron.extxyz", iron)
    iron.set_initial_magnetic_moments(None)
    iron.set_initial_magnetic_moments([[0, 0, 2.2], [0, 2.2, 0]])
    write(tmp_path / "canted.extxyz", iron)
    heavy = Atoms("OH2", [[0, 0, 0], [0, 0, 0.96], [0.93, 0, -0.24]])
    write(tmp_path / "heavy.xyz", heavy)
    (tmp_path / "heavy.xyz").write_text((tmp_path / "heavy.xyz").read_text().replace("\nH ", "\nD "))
    return tmp_path


def config_file(folder: Path, system: dict, foundation: dict | None = None, engine: dict | None = None, **more) -> Path:
    path = folder / "config.yaml"
    data = {
        "name": "test",
        "folder": str(folder / "run"),
        "foundation": foundation or {"kind": "sevennet"},
        "systems": [system],
        "explore": {"temperatures_K": [300]},
        "label": {"engine": engine or EMT},
        **more,
    }
    path.write_text(yaml.safe_dump(data))
    return path


def system_of(folder: Path, file: str, **settings) -> SystemSettings:
    return resolved(SystemSettings(file=file, **settings), folder)


@pytest.mark.parametrize(
    ("file", "settings", "charge", "spin"),
    [
        ("hydronium.extxyz", {}, 1, 1),
        ("nitrite.extxyz", {}, -1, 1),
        ("nitrite.extxyz", {"charge": -1, "spin_multiplicity": 1}, -1, 1),
        ("silent.extxyz", {"charge": -1}, -1, None),
        ("silent.extxyz", {}, 0, None),
        ("radical.extxyz", {}, 0, 2),
        ("odd.extxyz", {"charge": -1}, -1, 1),
        ("charged.extxyz", {"charge": 1, "spin_multiplicity": 2, "supercell": [2, 1, 1]}, 1, 2),
        ("charged.extxyz", {"charge": 2, "spin_multiplicity": 1, "supercell": [2, 1, 1]}, 2, 1),
    ],
)
def test_file_or_config_says_charge_and_spin_of_every_start(folder, file, settings, charge, spin):
    config = load_config(config_file(folder, {"file": file, **settings}))
    for start in make_starts(config.systems, config.explore, Role.EXPLORE, (0,)):
        for atoms in (start.atoms, start.intact):
            assert atoms.info["charge"] == charge
            assert atoms.info.get("spin") == spin


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (
            {"file": "nitrite.extxyz", "charge": 0},
            ["systems[0].charge: received 0, but nitrite.extxyz states charge=-1", "correct one of them"],
        ),
        (
            {"file": "nitrite.extxyz", "spin_multiplicity": 3},
            ["systems[0].spin_multiplicity: received 3, but nitrite.extxyz states spin=1"],
        ),
        (
            {"file": "odd.extxyz"},
            ["odd.extxyz states 1, which is impossible with 23 electrons", "or correct the charge"],
        ),
        (
            {"file": "charged.extxyz", "supercell": [2, 1, 1]},
            [
                "charged.extxyz states charge +1 of its own atoms",
                "set charge of the explored",
                "states spin 2",
            ],
        ),
        (
            {"file": "charged.extxyz", "charge": 3, "spin_multiplicity": 2, "supercell": [2, 1, 1]},
            ["systems[0].charge: received 3, but charged.extxyz states charge=1"],
        ),
        (
            {"file": "charged.extxyz", "variants": [[{"kind": "vacancy", "element": "Cl"}]]},
            ["states charge +1 of its own atoms, and the variants of the system hold others"],
        ),
        (
            {"file": "iron.extxyz", "initial_magnetic_moments": {"Fe": 2.2}},
            ["systems[0].initial_magnetic_moments: received 2.2 µB for atom 1 (Fe), but iron.extxyz states -2.2"],
        ),
        (
            {"file": "canted.extxyz"},
            ["systems[0].initial_magnetic_moments: received non-collinear moments", "noncollinear_moments: true"],
        ),
        ({"file": "partial.cif"}, ["systems[0].file", "site (0, 0, 0) holds Cu 0.5 (Cu1), Ni 0.5 (Ni1)", "ordered: N"]),
        (
            {"file": "partial.cif", "ordered": 2},
            ["systems[0].supercell: received [1, 1, 1]", "use supercell: [2, 1, 1]"],
        ),
        ({"file": "ten.extxyz", "ordered": 2}, ["systems[0].ordered: received ten.extxyz, expected a CIF"]),
        ({"file": "partial.cif", "ordered": 2, "frames": 0}, ["systems[0].frames"]),
        (
            {"file": "partial.cif", "ordered": 1, "supercell": [2, 1, 1], "initial_magnetic_moments": [1.0]},
            ["systems[0].initial_magnetic_moments: received one for each atom, but ordered"],
        ),
        (
            {"file": "ten.extxyz", "frames": 10},
            ["systems[0].frames: received 10, but the file holds 10 frames (0 to 9)"],
        ),
        ({"file": "ten.extxyz", "frames": "last"}, ["systems[0].frames", "an index such as 0 or -1, or a slice"]),
    ],
)
def test_what_contradicts_or_cannot_be_is_refused_by_check_config(folder, system, expected):
    result = CliRunner().invoke(app, ["check-config", str(config_file(folder, system))])
    assert result.exit_code == 2
    for part in expected:
        assert part in result.stderr


def test_omol_is_usable_from_a_file_alone(folder):
    for file in ("nitrite.extxyz", "hydronium.extxyz", "radical.extxyz"):
        assert load_config(config_file(folder, {"file": file}, OMOL)).systems[0].charge is None
    with pytest.raises(InputError, match=r"spin_multiplicity: missing, and silent.extxyz states none, but .*omol"):
        load_config(config_file(folder, {"file": "silent.extxyz"}, OMOL))


def test_a_task_without_charge_refuses_what_the_file_states(folder):
    with pytest.raises(
        InputError, match=r"charge: nitrite.extxyz states -1, but .*omat knows no charge; take it out of"
    ):
        load_config(config_file(folder, {"file": "nitrite.extxyz"}, OMAT))


def test_moments_of_the_file_stay_and_vectors_reach_an_engine_that_takes_them(folder):
    assert load_structures(system_of(folder, "iron.extxyz"))[0].atoms.get_initial_magnetic_moments().tolist() == [
        2.2,
        -2.2,
    ]
    same = system_of(folder, "iron.extxyz", initial_magnetic_moments=(2.2, -2.2))
    assert load_structures(same)[0].atoms.get_initial_magnetic_moments().tolist() == [2.2, -2.2]
    config = load_config(config_file(folder, {"file": "canted.extxyz"}, engine={**EMT, "noncollinear_moments": True}))
    (start,) = make_starts(config.systems, config.explore, Role.EXPLORE, (0,), replicas=1)
    assert start.atoms.get_initial_magnetic_moments().tolist() == [[0, 0, 2.2], [0, 2.2, 0]]


def test_deuterium_moves_as_deuterium(folder):
    (start,) = make_starts(
        [system_of(folder, "heavy.xyz")],
        load_config(config_file(folder, {"file": "heavy.xyz"})).explore,
        Role.TEST,
        (0,),
        1,
    )
    atoms = start.atoms
    assert list(atoms.symbols) == ["O", "H", "H"]
    replica = VerletReplica(atoms, 300.0, 0.5, np.random.default_rng(0))
    before, momenta = atoms.positions.copy(), atoms.get_momenta()
    replica.move(np.zeros((3, 3)))
    expected = 0.5 * units.fs * momenta / np.array([[15.999], [2.014101778], [2.014101778]])
    assert atoms.positions - before == pytest.approx(expected)


def test_a_slice_of_frames_is_several_structures(folder):
    path = config_file(folder, {"file": "ten.extxyz", "frames": "::4", "name": "cu"})
    config = load_config(path)
    (system,) = config.systems
    names = [structure.name for structure in load_structures(system)]
    assert names == ["cu-frame-0", "cu-frame-4", "cu-frame-8"]
    starts = make_starts(config.systems, config.explore, Role.EXPLORE, (0,), replicas=2)
    assert {start.system for start in starts} == set(names)
    assert starts[0].trajectory == "cu-frame-0/300K/0"
    assert len({start.trajectory for start in starts}) == 6
    assert [round(start.intact.cell[0, 0], 3) for start in starts[::2]] == [3.5, 3.54, 3.58]
    assert structure_count(system) == 3
    assert batch_count(config.model_copy(update={"explore": config.explore.model_copy(update={"replicas": 1})})) == 1
    assert set(label_cost(config, build_engine(config.label.engine)).seconds) == set(names)


def test_ordered_cells_are_several_structures(folder):
    (folder / "partial.cif").write_text(DISORDERED)
    system = system_of(folder, "partial.cif", ordered=2, supercell=(2, 2, 1))
    config = load_config(config_file(folder, {"file": "partial.cif", "ordered": 2, "supercell": [2, 2, 1]}))
    starts = make_starts(config.systems, config.explore, Role.EXPLORE, (0,), replicas=1)
    assert [start.system for start in starts] == ["partial-ordered-1", "partial-ordered-2"]
    assert [start.intact.get_chemical_formula() for start in starts] == ["Cu2Ni2Pt4"] * 2
    assert system_symbols(system) == {"Cu", "Ni", "Pt"}
    moments = system.model_copy(update={"initial_magnetic_moments": {"Ni": 0.6}})
    assert sorted(load_structures(moments)[0].atoms.get_initial_magnetic_moments()) == [0] * 6 + [0.6] * 2


def test_check_config_says_how_many_frames_there_are_and_what_is_used(folder):
    result = CliRunner().invoke(app, ["check-config", str(config_file(folder, {"file": "ten.extxyz"}))])
    assert result.exit_code == 0, result.output
    assert "1 structure(s)" in result.stdout
    assert "ten.extxyz holds 10 frames; the last one (frame 9) is used; choose with frames:" in result.stdout
    result = CliRunner().invoke(app, ["check-config", str(config_file(folder, {"file": "ten.extxyz", "frames": ":3"}))])
    assert result.exit_code == 0, result.output
    assert "3 structure(s)" in result.stdout
    assert "holds 10 frames" not in result.stdout


def test_names_of_frames_are_unique_too(folder):
    path = config_file(folder, {"file": "ten.extxyz", "frames": ":2", "name": "cu"})
    data = yaml.safe_load(path.read_text())
    data["systems"].append({"file": "ten.extxyz", "name": "cu-frame-1"})
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(InputError, match="2 structures have the name 'cu-frame-1'"):
        load_config(path)
