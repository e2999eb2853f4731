"""``al-loop label`` and ``al-loop train``: from structures to a checkpoint without a campaign."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixSymmetry
from ase.io import read, write
from typer.testing import CliRunner

from al_loop.cli import app
from committee.checkpoint import load

ENGINE = "engine: ase\ncalculator: ase.calculators.emt.EMT\n"
CAMPAIGN = """
name: copper
folder: run
foundation: {kind: sevennet, model: 7net-0}
committee: {members: 4, hidden_channels: 16}
train: {epochs: 150}
systems: [{file: copper.cif}]
explore: {temperatures_K: [300]}
gate: {force_tolerance_eV_per_A: 0.3}
label: {workers: 1, engine: {engine: ase, calculator: ase.calculators.emt.EMT}}
"""


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def rattled(count: int, first_seed: int):
    frames = []
    for seed in range(first_seed, first_seed + count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.12, seed=seed)
        frames.append(atoms)
    return frames


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write(tmp_path / "copper.cif", bulk("Cu", cubic=True))
    (tmp_path / "copper.yaml").write_text(CAMPAIGN)
    (tmp_path / "engine.yaml").write_text(ENGINE)
    write(tmp_path / "some.extxyz", rattled(10, 0))
    write(tmp_path / "others.extxyz", rattled(12, 100))
    return tmp_path


def test_structures_become_labels_become_a_calibrated_committee(files: Path) -> None:
    for name in ("some", "others"):
        code, _, error = invoke(
            "label",
            files / f"{name}.extxyz",
            "--engine",
            files / "engine.yaml",
            "--to",
            files / f"{name}-labelled.extxyz",
        )
        assert code == 0, error
    first = read(files / "some-labelled.extxyz", 0)
    truth = rattled(1, 0)[0]
    truth.calc = EMT()
    assert first.info["REF_energy"] == pytest.approx(truth.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(first.arrays["REF_forces"], truth.get_forces(), atol=1e-6)
    np.testing.assert_allclose(first.info["REF_stress"], truth.get_stress(), atol=1e-8)

    code, out, error = invoke(
        "train", files / "some-labelled.extxyz", "--foundation", files / "copper.yaml", "--to", files / "model",
        "--calibrate", files / "others-labelled.extxyz", "--level", "EMT", "--json",
    )  # fmt: skip
    assert code == 0, error
    told = json.loads(out)
    assert told["frames"] == 10
    assert told["force_mae_eV_per_A"] < 0.7 * told["force_mae_foundation_eV_per_A"]
    potential = load(files / "model")
    assert potential.settings.members == 4
    assert potential.provenance.level_of_theory == "EMT"
    assert potential.calibration is not None
    assert potential.calibration.frames == 12
    assert potential.calibration.tolerance_eV_per_A == pytest.approx(0.3)


def test_labels_are_not_calculated_twice_and_failures_are_named(files: Path) -> None:
    on_top = bulk("Cu", cubic=True)
    on_top.positions[1] = on_top.positions[0]
    write(files / "mixed.extxyz", [*rattled(1, 0), on_top])
    arguments = (
        "label",
        files / "mixed.extxyz",
        "--engine",
        files / "copper.yaml",
        "--to",
        files / "out.extxyz",
        "--json",
    )
    code, out, error = invoke(*arguments)
    assert code == 0, error
    told = json.loads(out)
    assert told["written"] == 1
    assert list(told["failed"]) == ["1"]
    kept = {path: path.stat().st_mtime_ns for path in (files / "out-labels").rglob("*") if path.is_file()}
    assert kept
    code, out, _ = invoke(*arguments)
    assert json.loads(out)["written"] == 1
    assert kept == {path: path.stat().st_mtime_ns for path in (files / "out-labels").rglob("*") if path.is_file()}


def labelled(files: Path, unit: float = 1.0) -> Path:
    frames = rattled(6, 0)
    for atoms in frames:
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = atoms.get_forces() * unit
        atoms.calc = None
    write(files / "labelled.extxyz", frames)
    return files / "labelled.extxyz"


def trained(files: Path, *more: object) -> tuple[int, str, str]:
    """Train on copper.extxyz with the smallest fit."""
    campaign = CAMPAIGN.replace("epochs: 150", "epochs: 2")
    (files / "copper.yaml").write_text(campaign)
    return invoke("train", files / "copper.extxyz", "--foundation", files / "copper.yaml", "--to", files / "m", *more)


def test_the_foundation_is_adapted_on_request(files: Path) -> None:
    """Without calibration frames ``auto`` cannot know that heads are not enough."""
    short = "adaptation: {optimizer: adam, epochs: 1, replay_share: 0}"
    (files / "copper.yaml").write_text(CAMPAIGN.replace("{epochs: 150}", f"{{epochs: 2, {short}}}"))
    arguments = ("train", labelled(files), "--foundation", files / "copper.yaml", "--to", files / "m", "--json")
    told = {}
    for adapt in ("auto", "always"):
        code, out, error = invoke(*arguments, "--adapt", adapt)
        assert code == 0, error
        told[adapt] = json.loads(out)
        assert load(files / "m").backbone.name == told[adapt]["foundation"]
    assert "there are no calibration frames" in told["auto"]["adaptation"]["sentence"]
    assert told["auto"]["foundation"] == "sevennet:7net-0"
    assert told["always"]["foundation"].startswith("sevennet:7net-0+adapted-")
    assert told["always"]["adaptation"]["kept"]


def test_a_constraint_that_no_file_can_hold_is_refused_before_anything_is_calculated(files: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixSymmetry(atoms))
    write(files / "symmetric.traj", atoms)
    code, _, error = invoke(
        "label", files / "symmetric.traj", "--engine", files / "engine.yaml", "--to", files / "result.extxyz"
    )
    assert code == 2
    assert "symmetric.traj, structure 0 holds FixSymmetry" in error
    assert not (files / "result-labels").exists()


def test_isolated_atoms_and_parts_of_labels_are_counted_and_said(files: Path) -> None:
    frames = read(labelled(files), ":")
    del frames[0].arrays["REF_forces"]
    del frames[1].arrays["REF_forces"]
    del frames[2].info["REF_energy"]
    lone = Atoms("Cu", info={"REF_energy": 3.51, "config_type": "IsolatedAtom"})
    write(files / "copper.extxyz", [lone, *frames, frames[5].copy()])
    write(files / "held.extxyz", [energy_alone(rattled(1, 50)[0]), frames[4]])
    code, out, error = trained(files)
    assert code == 0, error
    said = " ".join(f"{error} {out}".split())
    assert "Energies of isolated atoms were taken for Cu (3.51 eV)" in said
    assert f"copper.extxyz, frame 7 is {files}/copper.extxyz, frame 6" in said
    assert "Trained on 6 frames (3 with energy and forces, 2 energy only, 1 forces only)" in said
    shifts = load(files / "m").shifts.eV_per_atom
    code, out, error = trained(files, "--json")
    told = json.loads(out)
    assert told["labels"] == {"both": 3, "energy_only": 2, "forces_only": 1}
    assert len(told["notes"]) == 2
    assert load(files / "m").shifts.eV_per_atom == shifts
    code, _, error = trained(files, "--calibrate", files / "held.extxyz")
    assert code == 2
    assert "1 of 1 frames" in error  # the one without forces is no calibration frame
    del frames[4].arrays["REF_forces"]
    write(files / "held.extxyz", [energy_alone(rattled(1, 50)[0])])
    assert "no frame of" in trained(files, "--calibrate", files / "held.extxyz")[2]


def energy_alone(atoms: Atoms) -> Atoms:
    atoms.info["REF_energy"] = 0.5
    return atoms


def test_the_energy_of_an_isolated_atom_decides_what_labels_leave_open(files: Path) -> None:
    """Forces alone say nothing of the zero."""
    frames = read(labelled(files), ":")
    for atoms in frames:
        del atoms.info["REF_energy"]
    write(files / "copper.extxyz", [*frames, Atoms("Cu", info={"REF_energy": 3.51})])
    assert trained(files)[0] == 0
    potential = load(files / "m")
    alone = potential.backbone.evaluate([Atoms("Cu", info={"charge": 0, "spin": 2})])
    assert potential.shifts.eV_per_atom == {29: pytest.approx(3.51 - float(alone.energy[0].detach()), abs=1e-4)}


def test_labels_that_contradict_each_other_are_refused_by_predict_and_train(files: Path) -> None:
    frames = read(labelled(files), ":")
    other = frames[1].copy()
    other.info["REF_energy"] += 0.5
    write(files / "copper.extxyz", [*frames, other])
    for command in ("train", "predict"):
        to = ("--to", files / "m") if command == "train" else ()
        code, _, error = invoke(command, files / "copper.extxyz", "--foundation", "sevennet:7net-0", *to)
        assert code == 2
        assert "copper.extxyz, frame 1 and" in error
        assert "copper.extxyz, frame 6 are the same geometry with energies of" in error
    assert not (files / "m").exists()


def test_a_misspelt_key_is_not_taken_for_labels_that_lack(files: Path) -> None:
    labelled(files).rename(files / "copper.extxyz")
    for option, told in (("--energy-key", "an energy"), ("--forces-key", "forces")):
        code, _, error = trained(files, option, "DFT")
        assert code == 2
        assert f"no frame has {told} under the name 'DFT'; the frames hold REF_energy, REF_forces" in error


def test_refusals_name_what_to_do(files: Path) -> None:
    frames = labelled(files)
    to = files / "model"
    for arguments, told in [
        (
            ("label", files / "none.xyz", "--engine", files / "engine.yaml", "--to", files / "o.extxyz"),
            "does not exist",
        ),
        (("label", frames, "--engine", files / "engine.yaml", "--to", frames), "is an input"),
        (("label", frames, "--engine", files / "engine.yaml", "--to", files / "o.cif"), "ends in .extxyz"),
        (("label", frames, "--engine", files / "engine.yaml", "--to", files / "no" / "o.xyz"), "does not exist"),
        (("label", frames, "--engine", files / "none.yaml", "--to", files / "o.xyz"), "none.yaml"),
        (("train", files / "none.xyz", "--foundation", "sevennet:7net-0", "--to", to), "is not a file"),
        (("train", frames, "--foundation", "sevennet", "--to", to), "--foundation"),
        *(
            (("train", frames, "--foundation", "sevennet:7net-0", "--to", to, "--tolerance", value), "--tolerance")
            for value in ("-1", "0", "nan", "inf")
        ),
        (("train", frames, "--foundation", "sevennet:7net-0", "--to", to, "--energy-key", "E"), "--energy-key"),
        (("train", frames, "--foundation", "sevennet:7net-0", "--to", to, "--calibrate", frames), "not trained on"),
    ]:
        code, _, error = invoke(*arguments)
        assert code == 2, arguments
        assert told in error
    assert not to.exists()


def test_labels_in_another_unit_are_refused(files: Path) -> None:
    frames = labelled(files, unit=1 / 27.2114)  # hartree/Å
    code, _, error = invoke("train", frames, "--foundation", "sevennet:7net-0", "--to", files / "model")
    assert code == 2
    assert "Nothing was trained" in error


def with_stress(files: Path, spoilt: float, *, lacking: bool = False) -> Path:
    """Ten labelled frames, the stress of frame 3 with a factor; that one and two others may lack energy or forces."""
    frames = rattled(10, 0)
    for index, atoms in enumerate(frames):
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.info["REF_stress"] = atoms.get_stress() * (spoilt if index == 3 else 1.0)
        atoms.calc = None
    if lacking:
        del frames[3].info["REF_energy"]
        del frames[5].info["REF_energy"]
        del frames[6].arrays["REF_forces"]
    write(files / "stressed.extxyz", frames)
    return files / "stressed.extxyz"


def test_one_absurd_stress_among_ten_labels_is_refused_and_an_outlier_is_left_out(files: Path) -> None:
    arguments = ("--foundation", files / "copper.yaml", "--to", files / "model")
    code, _, error = invoke("train", with_stress(files, 1e8), *arguments, "--no-check")
    assert code == 2
    assert "stressed.extxyz, frame 3: received a stress of" in error
    assert "expected at most 62 eV/Å³" in error
    assert not (files / "model").exists()
    code, out, error = invoke("train", with_stress(files, 160.2), *arguments)  # GPa
    assert code == 0, error
    assert "Trained on 9 frames" in out
    assert "Labels left out as outliers: 1 " in out
    assert "frame 3: the stress is" in out
    assert load(files / "model").provenance.training_frames == 9
    code, out, error = invoke("train", with_stress(files, 160.2, lacking=True), *arguments)
    assert code == 0, error
    assert "Trained on 9 frames (7 with energy and forces, 1 energy only, 1 forces only)" in out
    assert "Labels left out as outliers: 1 " in out
    assert "frame 3: the stress is" in out


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("engine: gpaw\ncutof_eV: 600\n", "label.engine.cutof_eV: unknown key; did you mean 'label.engine.cutoff_eV'?"),
        ("engine: {engine: gpaw}\nworker: 2\n", "label.worker: unknown key; did you mean 'label.workers'?"),
    ],
)
def test_a_misspelt_key_is_named_at_its_place(files: Path, block: str, said: str) -> None:
    (files / "engine.yaml").write_text(block)
    code, _, error = invoke(
        "label", files / "some.extxyz", "--engine", files / "engine.yaml", "--to", files / "labels.extxyz"
    )
    assert code == 2
    assert said in error
