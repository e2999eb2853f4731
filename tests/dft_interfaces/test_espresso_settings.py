"""Checks of engine espresso before a calculation."""

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pydantic import ValidationError

from dft_interfaces.settings import EspressoSettings
from dft_interfaces.settings.espresso import HUBBARD_SHELL

UPF = '<PP_HEADER generated="{0}" author="{1}" element="{2}" pseudo_type="{3}" functional="PBE" z_valence="4"/>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Si.upf").write_text(UPF.format("Generated using ONCVPSP code", "anonymous", "Si", "NC"))
    (tmp_path / "C.upf").write_text(UPF.format("atomic code", "me", "C", "PAW"))
    return tmp_path


def settings(folder: Path, **more: object) -> EspressoSettings:
    return EspressoSettings.model_validate({"engine": "espresso", "pseudopotentials": folder, "cutoff_eV": 400} | more)


def charged() -> Atoms:
    atoms = bulk("Si")
    atoms.info["charge"] = -1
    return atoms


@pytest.mark.parametrize(
    ("more", "atoms", "about", "fragment"),
    [
        ({}, molecule("SiH4"), "file", "engine pyscf for molecules"),
        ({}, charged(), "charge", "charge -1"),
        ({}, bulk("Ge"), "pseudopotentials", "with Ge, for which there is no PBE file"),
        ({"xc": "PBEsol"}, bulk("Si"), "pseudopotentials", "only files for PBE"),
        ({"cutoff_eV": 380}, bulk("Si"), "cutoff_eV", "received 380, expected at least 381"),
        ({}, bulk("C"), "density_cutoff_factor", "received 4, expected at least 8"),
    ],
)
def test_objections(folder: Path, more: dict[str, object], atoms: Atoms, about: str, fragment: str) -> None:
    found = {objection.about: objection.text for objection in settings(folder, **more).objections(atoms)}
    assert fragment in found[about]


def test_nothing_to_object(folder: Path) -> None:
    assert list(settings(folder).objections(bulk("Si"))) == []
    assert list(settings(folder, density_cutoff_factor=8).objections(bulk("C"))) == []


@pytest.mark.parametrize("key", ["Ni", "Ni-4s", "Si-3p", "Xx-3d", ""])
def test_a_hubbard_U_on_what_the_program_does_not_take(folder: Path, key: str) -> None:
    with pytest.raises(ValidationError, match=r"pw\.x"):
        settings(folder, hubbard_U_eV={key: 3.0})


def test_hubbard_shells_are_those_of_the_periodic_table() -> None:
    assert [HUBBARD_SHELL[element] for element in ("H", "O", "Ni", "Ag", "Au", "Ce", "U")] == [
        "1s", "2p", "3d", "4d", "5d", "4f", "5f",
    ]  # fmt: skip


def test_what_is_missing_is_named_with_its_remedy(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert settings(folder, program=str(program)).remedy() is None
    assert "apt-get install" in settings(folder, program="no-such-pw.x").remedy()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "make setup" in settings(empty, program=str(program)).remedy()
    monkeypatch.setenv("PATH", str(empty))
    assert "mpirun" in settings(folder, program=str(program), cores=2).remedy()


def test_the_folder_is_the_users_the_environments_or_the_installed_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(folder))
    assert settings(folder, pseudopotentials=None).upf_set().folder == folder
    other = tmp_path / "other"
    other.mkdir()
    (other / "Si.upf").write_text(UPF.format("atomic code", "me", "Si", "NC"))
    assert settings(other).upf_set().folder == other
    monkeypatch.delenv("ESPRESSO_PSEUDO")
    assert "al-loop" in str(settings(folder, pseudopotentials=None).pseudopotentials_folder)
