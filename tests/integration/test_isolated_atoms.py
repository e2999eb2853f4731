"""Isolated atoms with the engine of a config, and the way back into it."""

import pytest
import yaml
from ase.build import molecule
from ase.io import write
from pyscf import dft, gto
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.tools.preflight.load_config import load_config
from dft_interfaces.engines.isolated_atoms import isolated_atom
from dft_interfaces.settings import EspressoSettings, PySCFSettings

HARTREE_EV = 27.211386


@pytest.fixture
def config(tmp_path):
    write(tmp_path / "water.xyz", molecule("H2O"))
    path = tmp_path / "water.yaml"
    blocks = {
        "name": "water",
        "folder": str(tmp_path / "run"),
        "foundation": {"kind": "sevennet", "model": "7net-0"},
        "systems": [{"file": "water.xyz"}],
        "explore": {"temperatures_K": [300]},
        "label": {"engine": {"engine": "pyscf", "basis": "sto-3g", "density_fit": False}},
    }
    path.write_text(yaml.safe_dump(blocks))
    return path


def test_energies_are_those_of_the_ground_states_and_go_into_the_config(config):
    result = CliRunner().invoke(app, ["isolated-atoms", str(config)])
    assert result.exit_code == 0, result.output
    block = yaml.safe_load(result.stdout)
    for symbol, unpaired in (("H", 1), ("O", 2)):
        atom = dft.UKS(gto.M(atom=f"{symbol} 0 0 0", basis="sto-3g", spin=unpaired, verbose=0), xc="pbe")
        atom._chkfile.close()  # left to the garbage collector it warns in whichever test runs then
        atom.chkfile = None
        assert block["align"]["isolated_atoms_eV"][symbol] == pytest.approx(atom.kernel() * HARTREE_EV, abs=1e-3)
    config.write_text(config.read_text() + result.stdout)
    assert set(load_config(config).align.isolated_atoms_eV) == {"H", "O"}


def test_an_atom_without_a_label_is_named(config):
    text = config.read_text().replace("basis: sto-3g", "basis: sto-3g\n    max_cycles: 1\n    ladder: []")
    config.write_text(text)
    result = CliRunner().invoke(app, ["isolated-atoms", str(config)])
    assert result.exit_code == 1
    assert "No energy for" in result.output
    assert "O (not converged" in result.output


def test_engines_of_cells_get_a_box():
    iron = isolated_atom("Fe", EspressoSettings(engine="espresso"))
    assert iron.pbc.all()
    assert iron.get_initial_magnetic_moments().tolist() == [4.0]
    assert iron.info["spin"] == 5
    assert not isolated_atom("O", PySCFSettings(engine="pyscf")).pbc.any()
    assert not list(EspressoSettings(engine="espresso").objections(iron))
