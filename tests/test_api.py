"""The public names: each has an example in its docstring, which is run here as it stands, on copper and EMT."""

import doctest
import importlib
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import write
from campaigns import DISTILLED, make_campaign

from al_loop import compare, label, predict, validate
from al_loop.errors import InputError
from committee import CommitteeSettings, FairchemSettings, TrainingFrame, TrainingSettings, load, load_backbone, train
from dft_interfaces.settings import ASECalculatorSettings

PACKAGES = ("al_loop", "committee", "dft_interfaces")
EXAMPLES = (
    "al_loop",
    "al_loop.Campaign",
    "al_loop.Campaign.import_labels",
    "al_loop.ReliabilityMonitor",
    "al_loop.barrier",
    "al_loop.choose_frames",
    "al_loop.compare",
    "al_loop.harvest",
    "al_loop.label",
    "al_loop.load_config",
    "al_loop.predict",
    "al_loop.rank",
    "al_loop.recalibrate",
    "al_loop.train",
    "al_loop.validate",
    "committee",
    "dft_interfaces",
)
DISTILLED_SETTINGS = FairchemSettings.model_validate(DISTILLED)
EMT_ENGINE = {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}
# What a user of the API is told to import; further names of the packages are settings and results.
PROMISED = {
    "al_loop": {
        "Campaign", "Config", "load_config", "train", "label", "predict", "compare", "validate", "rank", "barrier",
        "choose_frames", "recalibrate", "ReliabilityMonitor", "harvest",
    },
    "committee": {
        "CommitteeCalculator", "CommitteePotential", "load_backbone", "train", "check_backbone", "bake",
        "export_fairchem", "export_plain",
    },
    "dft_interfaces": {"build_engine", "DFTEngine", "Label", "check_engine"},
}  # fmt: skip


def rattled(count: int, first_seed: int, *, labelled: bool = False) -> list[Atoms]:
    frames = []
    for seed in range(first_seed, first_seed + count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.12, seed=seed)
        if labelled:
            atoms.calc = EMT()
            atoms.info["REF_energy"] = atoms.get_potential_energy()
            atoms.arrays["REF_forces"] = atoms.get_forces()
            atoms.info["REF_stress"] = atoms.get_stress()
            atoms.calc = None
        frames.append(atoms)
    return frames


def adatom() -> Atoms:
    atoms = fcc100("Cu", (2, 2, 1), vacuum=6.0)
    add_adsorbate(atoms, "Cu", 1.7, "hollow")
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, constraint=FixAtoms(range(4)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples read: files of structures, an engine, a campaign, a trained committee."""
    place = tmp_path_factory.mktemp("api")
    make_campaign(place, label={"workers": 1, "engine": EMT_ENGINE}).config.rename(place / "campaign.yaml")
    (place / "engine.yaml").write_text("engine: ase\ncalculator: ase.calculators.emt.EMT\n")
    (place / "distilled.pt").symlink_to(DISTILLED["model"])
    write(place / "structures.extxyz", rattled(3, 200))
    write(place / "suspects.extxyz", rattled(3, 300))
    write(place / "labelled.extxyz", rattled(8, 0, labelled=True))
    write(place / "others.extxyz", rattled(12, 100, labelled=True))
    here, there = adatom(), adatom()
    there.positions[-1, 0] += there.cell.lengths()[0] / 2
    write(place / "here.extxyz", here)
    write(place / "there.extxyz", there)
    return place


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Path:
    """The folder with the model that ``al_loop.train`` makes and the campaign that ``Campaign.run`` runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MONGODB_URI", raising=False)
        patch.chdir(folder)
        for name in ("al_loop.train", "al_loop"):
            run_example(name)
    return folder


def public(name: str) -> Any:
    package, *attributes = name.split(".")
    found = importlib.import_module(package)
    for attribute in attributes:
        found = getattr(found, attribute)
    return found


def example(name: str) -> doctest.DocTest:
    (found,) = doctest.DocTestFinder(recurse=False).find(public(name), name, globs={})
    return found


def run_example(name: str) -> None:
    told: list[str] = []
    failed, tried = doctest.DocTestRunner().run(example(name), out=told.append)
    assert (failed, tried > 0) == (0, True), "".join(told)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_as_it_stands(name: str, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)
    monkeypatch.chdir(prepared)
    run_example(name)


def test_every_public_name_is_there_and_stands_in_an_example() -> None:
    code = "\n".join(one.source for name in EXAMPLES for one in example(name).examples)
    for package, names in PROMISED.items():
        assert names <= set(public(package).__all__)
        for name in names:
            assert getattr(public(package), name) is not None
            assert re.search(rf"\b{name}\b", code), f"no example uses {package}.{name}"


def test_the_reference_lists_the_public_names_and_no_others() -> None:
    page = (Path(__file__).parents[1] / "docs/reference/python.md").read_text()
    listed = re.findall(r"^::: (\S+)$", page, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == {f"{package}.{name}" for package in PACKAGES for name in public(package).__all__}


def test_predictions_leave_atoms_alone_and_read_charge_and_spin(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared)
    potential = load("model", load_backbone(DISTILLED_SETTINGS))
    (atoms,) = rattled(1, 400)
    atoms.info = {"charge": np.int64(0), "multiplicity": 1}
    before = atoms.copy()

    first, *files = predict([atoms, "structures.extxyz"], potential)

    assert atoms == before
    assert atoms.info == before.info
    assert (len(files), first.forces_uncertainty is not None) == (3, True)
    atoms.info = {"charge": 0.5}
    with pytest.raises(InputError, match=r"structure 0: received charge=0.5"):
        predict(atoms, potential)
    with pytest.raises(InputError, match="no structures"):
        predict([], potential)
    with pytest.raises(InputError, match="there is no such folder; name a checkpoint's folder"):
        predict(before, "no-model")
    with pytest.raises(InputError, match="expected sevennet:MODEL"):
        predict(before, "sevenet:7net-0")


def test_settings_serve_as_well_as_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    engine = ASECalculatorSettings.model_validate(EMT_ENGINE)
    assert label(folder / "structures.extxyz", engine, tmp_path / "a.extxyz").written == 3
    assert compare([folder / "labelled.extxyz"], [DISTILLED_SETTINGS]).frames == 8
    validation = validate("emt", "copper.cif", engine, checks=["relaxation"], output=tmp_path / "v.json")
    assert validation.checks == ("relaxation",)


def test_checks_are_named_or_given_settings(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    output = tmp_path / "v.json"
    for checks, told in (
        ("relaxaton", "unknown check 'relaxaton' .did you mean 'relaxation'"),
        (",", "received ',', expected comma-separated names"),
        ([], "expected comma-separated names"),
        ({"surfaces": {"thicknes_A": 15}}, "surfaces has no setting 'thicknes_A' .did you mean 'thickness_A'"),
    ):
        with pytest.raises(InputError, match=told):
            validate("emt", "copper.cif", "engine.yaml", checks=checks, output=output)
        assert not output.exists()
    three = validate("emt", "copper.cif", "engine.yaml", checks={"relaxation": {"steps": 3}}, output=output)
    assert three.checks == ("relaxation",)


def test_what_is_left_out_of_files_is_logged_and_returned(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("labelled", "suspects"):
        shutil.copy(folder / f"{name}.extxyz", tmp_path)
    with caplog.at_level(logging.WARNING, "al_loop"):
        comparison = compare(tmp_path, [DISTILLED_SETTINGS])
    (note,) = comparison.notes
    assert "suspects.extxyz: skipped" in note
    assert note in caplog.messages


def test_a_committee_is_trained_by_default_settings_and_keeps_no_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    backbone = load_backbone(DISTILLED_SETTINGS)
    frames = [
        TrainingFrame(str(i), atoms, atoms.info["REF_energy"], atoms.arrays["REF_forces"])
        for i, atoms in enumerate(rattled(3, 0, labelled=True))
    ]
    few = TrainingSettings(epochs=5)
    plain = train(backbone, frames, training=few)
    assert list(tmp_path.iterdir()) == []
    kept = train(backbone, frames, committee=CommitteeSettings(), training=few, cache_folder=tmp_path / "kept", seed=0)
    assert list((tmp_path / "kept").iterdir()) != []
    (a,), (b,) = (potential.predict([frames[0].atoms], "exact") for potential in (plain, kept))
    assert a.energy == b.energy
    np.testing.assert_array_equal(a.forces_uncertainty, b.forces_uncertainty)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_loads_nothing_heavy_before_a_name_is_used(package: str) -> None:
    heavy = {"torch", "fairchem", "sevenn", "pyscf", "mongoengine", "scipy", "ase"}
    code = f"import sys, {package}; print(*({heavy} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == ""
