"""check-config names slabs that a dipole correction would suit."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import Config
from al_loop.tools.preflight.label_notes import dipole_notes
from al_loop.tools.preflight.load_config import load_config

CONFIG = """
name: slabs
folder: runs
foundation: {{kind: sevennet}}
systems:
  - {{file: cu.cif, name: bulk}}
  - {{file: slab.xyz, name: slab}}
  - {{file: co.xyz, name: gas}}
  - file: cu.cif
    name: covered
    variants:
      - [{{kind: surface, miller: [1, 1, 1], layers: 2}}]
      - [{{kind: surface, miller: [1, 1, 1], layers: 2}}, {{kind: adsorbate, molecule: CO, anchor: 1, height_A: 1.9}}]
explore: {{temperatures_K: [300]}}
label: {{engine: {engine}}}
"""
GPAW = "{engine: gpaw}"
UNCORRECTED = "is a slab whose two faces differ"


def write_slab(folder: Path, vacuum_A: float, lowest: str = "Cu") -> None:
    built = fcc111("Cu", (1, 1, 3), vacuum=vacuum_A / 2)
    Atoms([lowest, "Cu", "Cu"], built.positions, cell=built.cell, pbc=True).write(folder / "slab.xyz")


@pytest.fixture
def config_of(tmp_path: Path) -> Callable[..., Config]:
    bulk("Cu", cubic=True).write(tmp_path / "cu.cif")
    molecule("CO", vacuum=5, pbc=True).write(tmp_path / "co.xyz")
    write_slab(tmp_path, vacuum_A=12)

    def make(engine: str = GPAW) -> Config:
        (tmp_path / "config.yaml").write_text(CONFIG.format(engine=engine))
        return load_config(tmp_path / "config.yaml")

    return make


def test_the_covered_slab_is_named_and_no_other(config_of: Callable[..., Config], tmp_path: Path) -> None:
    (note,) = dipole_notes(config_of())
    assert note.startswith("systems[3].variants[1]: C")
    assert UNCORRECTED in note
    assert "consider label.engine.dipole_correction: true, another level of theory" in note
    result = CliRunner().invoke(app, ["check-config", str(tmp_path / "config.yaml")])
    assert result.exit_code == 0
    assert "is valid" in result.output
    assert note in result.output.splitlines()


def test_with_the_correction_the_molecule_in_its_box_is_named(config_of: Callable[..., Config]) -> None:
    (note,) = dipole_notes(config_of("{engine: gpaw, dipole_correction: true}"))
    assert note == "systems[2]: CO is calculated without dipole correction: vacuum along a, b, c"


@pytest.mark.parametrize(
    "engine",
    [
        "{engine: ase, calculator: ase.calculators.emt.EMT}",
        "{engine: vasp, input_set: oc20, incar: {LDIPOL: true, IDIPOL: 3}}",
    ],
)
def test_no_key_is_suggested_that_the_engine_lacks_or_whose_work_is_done(
    config_of: Callable[..., Config], engine: str
) -> None:
    assert list(dipole_notes(config_of(engine))) == []


def test_what_keeps_the_correction_from_acting_is_said_with_it(
    config_of: Callable[..., Config], tmp_path: Path
) -> None:
    write_slab(tmp_path, vacuum_A=7, lowest="Au")
    note = next(dipole_notes(config_of()))
    assert note.startswith("systems[1]: AuCu2")
    assert "This structure would be refused: received a slab with 7.0 Å" in note
