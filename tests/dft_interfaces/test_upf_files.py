"""Headers of pseudopotential files, and folders that cannot be used."""

from pathlib import Path

import pytest
from ase.units import Hartree, Ry

from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.pseudopotentials.upf_files import read_upf_set

HEADER = """<UPF version="2.0.1">
<PP_INFO>generated here</PP_INFO>
<PP_HEADER
 generated="{generated}"
 author="{author}"
 element="{element}"
 pseudo_type="{kind}"
 functional="{functional}"
 z_valence="    4.00"{more}/>
<PP_MESH></PP_MESH>
"""


def write(folder: Path, name: str, **values: str) -> None:
    usual = {"generated": "by hand", "author": "me", "element": "Si", "kind": "NC", "functional": "PBE", "more": ""}
    (folder / name).write_text(HEADER.format(**(usual | values)))


def test_one_file_for_each_element_of_the_functional(tmp_path: Path) -> None:
    write(tmp_path, "Si.upf")
    write(tmp_path, "Si_other.UPF", functional=" SLA  PW   NOGX NOGC")
    write(tmp_path, "C.UPF", element="C ", kind="US", functional="SLA PW PBX PBC", more='\n wfc_cutoff="4.5D+001"')
    (tmp_path / "old.UPF").write_text("<PP_HEADER>\n   0  Version Number\n</PP_HEADER>")
    (tmp_path / "LICENSE").write_text("free")
    found = read_upf_set(tmp_path, "PBE")
    assert sorted(found.files) == ["C", "Si"]
    carbon, silicon = found.files["C"], found.files["Si"]
    assert (carbon.name, carbon.norm_conserving) == ("C.UPF", False)
    assert carbon.min_cutoff_eV == pytest.approx(45 * Ry)
    assert (silicon.norm_conserving, silicon.valence_electrons, silicon.min_cutoff_eV) == (True, 4.0, None)
    assert sorted(read_upf_set(tmp_path, "LDA").files) == ["Si"]


def test_pseudodojo_files_bring_the_cutoffs_of_their_table(tmp_path: Path) -> None:
    write(tmp_path, "Si.upf", generated="Generated using ONCVPSP code by D. R. Hamann", author="anonymous")
    assert read_upf_set(tmp_path, "PBE").files["Si"].min_cutoff_eV == pytest.approx(14 * Hartree)


def test_the_fingerprint_follows_the_files_that_are_used(tmp_path: Path) -> None:
    prints = []
    for number, functional in enumerate(["PBE", "PBE", "PBESOL"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, "Si.upf", author="another author" if number == 0 else "me")
        write(folder, "other.upf", element="C", functional="LDA" if number == 1 else functional)
        prints.append(read_upf_set(folder, "PBE").fingerprint)
    assert prints[0] != prints[1] == prints[2]


def test_a_file_that_was_exchanged_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, "Si.upf")
    before = read_upf_set(tmp_path, "PBE")
    assert read_upf_set(tmp_path, "PBE") is before
    write(tmp_path, "Si.upf", author="another author")
    assert read_upf_set(tmp_path, "PBE").fingerprint != before.fingerprint


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(EngineSettingsError, match="holds no UPF files"):
        read_upf_set(tmp_path, "PBE")
    write(tmp_path, "Si.upf")
    with pytest.raises(EngineSettingsError, match=r"received xc PBEsol, .* only files for PBE"):
        read_upf_set(tmp_path, "PBEsol")
    write(tmp_path, "Si_hard.upf")
    with pytest.raises(EngineSettingsError, match=r"Si\.upf and Si_hard\.upf for Si .* keep one"):
        read_upf_set(tmp_path, "PBE")
