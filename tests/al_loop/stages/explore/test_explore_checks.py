"""Bad input to exploration: one readable sentence each, before anything is computed."""

from importlib import resources
from itertools import takewhile
from typing import get_args

import pytest
import yaml
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.io import write

from al_loop import load_config
from al_loop.config import SystemSettings
from al_loop.config.generator_settings import GeneratorSettings
from al_loop.errors import InputError
from al_loop.records import Role
from al_loop.stages.explore.starts import make_starts
from al_loop.structures.systems import system_symbols

SURFACE = {"kind": "surface", "miller": [1, 1, 1], "layers": 2}
CO = {"kind": "adsorbate", "molecule": "CO", "anchor": 1, "height_A": 1.9}


@pytest.fixture
def config(tmp_path):
    write(tmp_path / "cu.cif", bulk("Cu", cubic=True))
    slab = fcc111("Cu", (2, 2, 2), vacuum=8, periodic=True)
    write(tmp_path / "slab.xyz", Atoms(slab.numbers, slab.positions, cell=slab.cell, pbc=True))
    write(tmp_path / "wire.xyz", Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]], cell=[0, 0, 5], pbc=[False, False, True]))
    write(tmp_path / "water.xyz", molecule("H2O"))

    def load(file="cu.cif", explore=None, **system):
        path = tmp_path / "config.yaml"
        settings = {
            "name": "test",
            "folder": str(tmp_path / "run"),
            "foundation": {"kind": "sevennet"},
            "systems": [{"file": file, **system}],
            "explore": {"temperatures_K": [300], **(explore or {})},
            "label": {"engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
        }
        path.write_text(yaml.safe_dump(settings))
        return load_config(path)

    return load


WRONG = [
    (
        "water.xyz",
        {"ensemble": "npt"},
        {},
        "systems[0]: ensemble npt needs a cell that is periodic in three",
    ),
    ("wire.xyz", {}, {"ensemble": "npt"}, "Cu2 is periodic in c; set systems[0].ensemble to langevin or bussi"),
    ("slab.xyz", {"ensemble": "npt"}, {}, "would close the vacuum of 16.0 Å that Cu8 holds along c"),
    ("slab.xyz", {"ensemble": "relax", "relax_cell": True}, {}, "set systems[0].ensemble to relax without relax_cell"),
    ("cu.cif", {"ensemble": "npt"}, {"variants": [[], [SURFACE]]}, "systems[0].variants[1]: ensemble npt would close"),
    ("slab.xyz", {}, {"strains": [0.02]}, "systems[0].strains: systems[0] holds vacuum along c"),
    ("water.xyz", {}, {"strains": [0.02]}, "systems[0].strains: "),
    ("cu.cif", {"temperatures_K": [-300]}, {}, "explore.temperatures_K must be above 0 K, received -300"),
    ("cu.cif", {"ramp_to_K": -1}, {}, "explore.ramp_to_K: received -1, must be above 0"),
    ("cu.cif", {"ramp_to_K": 50000}, {}, "explore.ramp_to_K: received 50000, above physics.max_temperature_K"),
    ("cu.cif", {"ramp_to_K": 600, "ensemble": "nve"}, {}, "explore.ramp_to_K: received 600, but ensemble nve has no"),
    ("cu.cif", {"ramp_to_GPa": 5}, {}, "explore.ramp_to_GPa: received 5, but ensemble langevin has no barostat"),
    ("cu.cif", {"pressure_GPa": 5}, {}, "explore.pressure_GPa: received 5, but ensemble langevin keeps the cell"),
    ("cu.cif", {"relax_cell": True}, {}, "explore.relax_cell: received true, but nothing is relaxed"),
    ("cu.cif", {"ensemble": "npt", "barostat_relaxation_fs": 2}, {}, "explore.barostat_relaxation_fs: received 2"),
    ("cu.cif", {"ensemble": "nvt"}, {}, "explore.ensemble: unknown value 'nvt'"),
    ("cu.cif", {"from_failures": 2}, {}, "explore.from_failures: received 2, must be at most 1"),
    (
        "cu.cif",
        {},
        {"variants": [[{"kind": "vacancy", "element": "Ag"}]]},
        "systems[0].variants[0][0] (vacancy): requires 1 atom of Ag, but the structure Cu4 holds 0",
    ),
    (
        "cu.cif",
        {},
        {"variants": [[{"kind": "vacancy", "element": "Xq"}]]},
        "systems[0].variants[0][0].element: 'Xq' is not a chemical symbol",
    ),
    (
        "cu.cif",
        {},
        {"variants": [[{**SURFACE, "miller": [0, 0, 0]}]]},
        "systems[0].variants[0][0].miller: received 0 0 0, expected Miller indices",
    ),
    (
        "cu.cif",
        {},
        {"variants": [[SURFACE, {**CO, "position": [1.5, 0]}]]},
        "systems[0].variants[0][1].position is outside the cell",
    ),
    ("cu.cif", {}, {"variants": [[CO]]}, "systems[0].variants[0][0] (adsorbate): needs"),
    ("water.xyz", {}, {"variants": [[SURFACE]]}, "systems[0].variants[0][0] (surface): cuts a bulk"),
    (
        "water.xyz",
        {},
        {"variants": [[{"kind": "strain", "isotropic": 0.1}]]},
        "strains the direction a, b, c",
    ),
    ("cu.cif", {}, {"variants": [[{"kind": "strain"}]]}, "expected isotropic or components to be non-zero"),
    ("cu.cif", {}, {"variants": [[{"kind": "supercel", "repeats": [2, 1, 1]}]]}, "did you mean 'supercell'?"),
    ("cu.cif", {}, {"variants": []}, "systems[0].variants: received [], expected at least one entry"),
    (
        "water.xyz",
        {},
        {"spin_multiplicity": 1, "variants": [[], [{"kind": "substitution", "element": "O", "by": "N"}]]},
        "systems[0].spin_multiplicity: 1 is impossible for systems[0].variants[1] with 9 electrons",
    ),
    (
        "cu.cif",
        {},
        {"variants": [[SURFACE, {"kind": "interface", "file": "nowhere.cif"}]]},
        "systems[0].variants[0][1] (interface): structure file",
    ),
]


@pytest.mark.parametrize(("file", "explore", "system", "message"), WRONG)
def test_what_cannot_be_explored_is_refused_in_one_sentence(config, file, explore, system, message):
    with pytest.raises(InputError) as raised:
        config(file, explore, **system)
    assert message in str(raised.value)
    assert "problems" not in str(raised.value)


def test_no_atoms(config, tmp_path):
    (tmp_path / "empty.xyz").write_text("0\n\n")
    with pytest.raises(InputError, match="no atoms"):
        config("empty.xyz")


def test_every_ensemble_and_generator_is_accepted_where_it_fits(config):
    other = {"kind": "interface", "file": "cu.cif", "miller": [1, 1, 1], "layers": 1}
    variants = [
        [],
        [{"kind": "supercell", "repeats": [2, 1, 1]}, {"kind": "vacancy", "element": "Cu"}],
        [SURFACE, CO],
        [SURFACE, other],
        [SURFACE, CO],
    ]
    loaded = config(explore={"ensemble": "bussi", "ramp_to_K": 600, "replicas": 2}, variants=variants)
    starts = make_starts(loaded.systems, loaded.explore, Role.EXPLORE, (0, 1, 0))
    assert [start.trajectory for start in starts[::2]] == [
        "cu/as-is/300K/0",
        "cu/supercell+vacancy/300K/0",
        "cu/surface+adsorbate/300K/0",
        "cu/surface+interface/300K/0",
        "cu/surface+adsorbate-2/300K/0",
    ]
    assert len({start.trajectory for start in starts}) == len(starts)
    assert {start.ensemble for start in starts} == {"bussi"}
    assert system_symbols(loaded.systems[0]) == {"Cu", "C", "O"}


def test_the_examples_of_the_full_template_are_valid():
    text = (resources.files("al_loop.config") / "templates" / "full.yaml").read_text()
    after = text.partition("    # variants:\n")[2].splitlines()
    lines = [line.removeprefix("    # ") for line in takewhile(lambda line: line.startswith("    # "), after)]
    system = SystemSettings.model_validate({"file": "x.cif", "variants": yaml.safe_load("\n".join(lines))})
    models = get_args(get_args(GeneratorSettings)[0])
    assert {type(generator) for variant in system.variants for generator in variant} == set(models)


def test_a_system_may_move_in_its_own_ensemble(config):
    loaded = config(explore={"ensemble": "npt"}, ensemble="relax")
    (start,) = make_starts(loaded.systems, loaded.explore, Role.EXPLORE, (0, 1, 0))
    assert (start.ensemble, start.temperature_K, start.trajectory) == ("relax", 0.0, "cu/relax/0")
