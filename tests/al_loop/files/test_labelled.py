"""Under which names labels are found, and which energy is taken where a file holds several."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import Trajectory, write
from dft_outputs import Calculated, calculated

from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.names import LabelKeys


def with_results(step: Calculated, **more: object):
    atoms = step.atoms.copy()
    atoms.info.update({"charge": 1, "spin": 2})
    results = {"energy": step.energy_eV + 0.01, "free_energy": step.energy_eV, "forces": step.forces, **more}
    atoms.calc = SinglePointCalculator(atoms, **{key: value for key, value in results.items() if value is not None})
    return atoms


def stored(path: Path, frames: list) -> Path:
    if path.suffix == ".traj":
        with Trajectory(path, "w") as file:
            for atoms in frames:
                file.write(atoms)
    elif path.suffix in {".db", ".json", ".aselmdb"}:
        kind = path.suffix[1:]
        with connect(path, type=kind, use_lock_file=False, serial=True) as database:
            for atoms in frames:
                database.write(atoms, data=dict(atoms.info))
    else:
        write(path, frames, format="extxyz")
    return path


@pytest.mark.parametrize("ending", ["extxyz", "xyz", "traj", "db", "json", "aselmdb"])
def test_the_energy_is_the_one_that_forces_derive_from(ending: str, tmp_path: Path) -> None:
    steps = calculated(3)
    path = stored(tmp_path / f"frames.{ending}", [with_results(step) for step in steps])
    read = read_labelled(path)
    for frame, step in zip(read.frames, steps, strict=True):
        assert frame.energy_eV == pytest.approx(step.energy_eV, abs=1e-7)
        np.testing.assert_allclose(frame.forces_eV_per_A, step.forces, atol=1e-7)
        assert {key: int(frame.atoms.info[key]) for key in ("charge", "spin")} == {"charge": 1, "spin": 2}
    assert any("free_energy is used, of which the forces are the derivative" in note for note in read.notes)
    assert any("up to 2.5 meV/atom" in note for note in read.notes)
    assert any("the file does not state to be converged" in n for n in read.notes) == (ending != "aselmdb")
    named = read_labelled(path, LabelKeys("energy", "forces", "stress"))
    assert named.frames[0].energy_eV == pytest.approx(steps[0].energy_eV + 0.01, abs=1e-7)
    assert any("energy is used as requested" in note for note in named.notes)


def test_equal_energies_need_no_words(tmp_path: Path) -> None:
    (step,) = calculated(1)
    path = stored(tmp_path / "frames.aselmdb", [with_results(step, energy=step.energy_eV)])
    assert read_labelled(path).notes == ()


def test_reference_labels_count_before_results_in_every_frame(tmp_path: Path) -> None:
    """A ranking holds the labels of some frames and the predictions of all."""
    steps = calculated(2)
    frames = [with_results(step) for step in steps]
    frames[1].info["REF_energy"], frames[1].arrays["REF_forces"] = -7.0, steps[1].forces
    read = read_labelled(stored(tmp_path / "ranked.extxyz", frames))
    (frame,) = read.frames
    assert frame.energy_eV == -7.0
    (note,) = read.notes
    assert "1 frame holds neither energy nor forces and was left out" in note


def test_predictions_are_no_labels(tmp_path: Path) -> None:
    frames = [with_results(step) for step in calculated(2)]
    frames[1].info["energy_uncertainty"] = 0.1
    with pytest.raises(InputError, match=r"no frame has forces under the name 'REF_forces' or an energy .*forces"):
        read_labelled(stored(tmp_path / "predicted.extxyz", frames))


@pytest.mark.parametrize(("energy", "forces"), [("DFT_energy", "DFT_forces"), ("Energy", "force")])
def test_labels_under_other_names_are_asked_for(energy: str, forces: str, tmp_path: Path) -> None:
    (step,) = calculated(1)
    atoms = step.atoms.copy()
    atoms.info[energy], atoms.arrays[forces] = step.energy_eV, step.forces
    path = stored(tmp_path / "frames.extxyz", [atoms])
    with pytest.raises(InputError, match=f"add --energy-key {energy} --forces-key {forces}"):
        read_labelled(path)
    assert read_labelled(path, LabelKeys(energy, forces)).frames[0].energy_eV == pytest.approx(step.energy_eV)


def test_compressed_frames_are_read(tmp_path: Path) -> None:
    (step,) = calculated(1)
    text = stored(tmp_path / "frames.extxyz", [with_results(step)]).read_text()
    with gzip.open(tmp_path / "frames.extxyz.gz", "wt") as file:
        file.write(text)
    assert len(read_labelled(tmp_path / "frames.extxyz.gz").frames) == 1


@pytest.mark.parametrize("name", ["a.db", "a.json", "a.traj"])
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    path = stored(tmp_path / name, [with_results(step) for step in calculated(2)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"{name}, frame \d+ of an ASE .*, cannot be read"):
        read_labelled(path)
