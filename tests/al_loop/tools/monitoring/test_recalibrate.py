"""``al-loop recalibrate``: from a stream that the calibration does not hold for to one that it does."""

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from al_loop import recalibrate
from al_loop.cli import app
from al_loop.errors import InputError
from committee import load
from dft_interfaces.settings import ASECalculatorSettings

ENGINE = ASECalculatorSettings(engine="ase", calculator="ase.calculators.emt.EMT")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def labelled(atoms):
    atoms.calc = EMT()
    atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = None
    return atoms


def test_frames_of_the_stream_are_labelled_and_calibrate(checkpoint, potential, make_copper, tmp_path) -> None:
    stream = [make_copper(900 + seed, 0.12) for seed in range(40)]
    write("stream.extxyz", stream)
    done = recalibrate(
        checkpoint, "again", stream="stream.extxyz", engine=ENGINE, count=10, skip=10, tolerance_eV_per_A=2.0
    )
    assert done.frames == 10
    assert f"On these {done.frames} frames: {done.trusted_before} trusted" in done.before
    chosen = read("again-audit.extxyz", ":")
    numbers = [next(i for i, one in enumerate(stream) if np.allclose(one.positions, a.positions)) for a in chosen]
    assert numbers == sorted(set(numbers))
    assert [(number - 10) // 3 for number in numbers] == list(range(10))  # one of each tenth after the first 10

    opened = load("again", potential.backbone)
    assert opened.calibration.summary == done.after
    assert opened.calibration.tolerance_eV_per_A == 2.0
    answers = opened.predict(chosen, "exact")
    assert opened.calibration_scores.latent_distance == pytest.approx([a.latent_distance.max() for a in answers])
    assert load(checkpoint, potential.backbone).calibration == potential.calibration


def test_labels_in_a_file_serve_as_well_and_too_few_write_nothing(checkpoint, make_copper, tmp_path) -> None:
    frames = [labelled(make_copper(950 + seed, 0.12)) for seed in range(12)]
    write("labelled.extxyz", frames)
    write("few.extxyz", frames[:5])
    arguments = ["recalibrate", "--model", str(checkpoint), "--to", "again", "--labels"]
    result = CliRunner().invoke(app, [*arguments, "few.extxyz"])
    assert (result.exit_code, "5 frames have forces" in " ".join(result.stderr.split())) == (2, True)
    assert not (tmp_path / "again").exists()
    result = CliRunner().invoke(app, [*arguments, "labelled.extxyz"])
    assert result.exit_code == 0, result.stderr
    assert "Before: " in result.stdout
    assert "It holds for frames like these 12" in result.stdout
    assert (tmp_path / "again").is_dir()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "expected either --stream with --engine"),
        ({"stream": "stream.extxyz"}, "expected either --stream with --engine"),
        ({"labels": "stream.extxyz", "engine": ENGINE}, "expected either --stream with --engine"),
        ({"stream": "stream.extxyz", "engine": ENGINE}, "holds 3 frames after the first 0, expected at least 44"),
        ({"stream": "stream.extxyz", "engine": ENGINE, "skip": 5}, "holds 0 frames after the first 5"),
        ({"stream": "none.extxyz", "engine": ENGINE}, "does not exist"),
        ({"stream": "stream.extxyz", "engine": ENGINE, "count": 0}, "--count: received 0"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_written(checkpoint, make_copper, tmp_path, options, told) -> None:
    write("stream.extxyz", [make_copper(seed) for seed in range(3)])
    with pytest.raises(InputError, match=told):
        recalibrate(checkpoint, "again", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["stream.extxyz"]
