"""``al-loop recalibrate``: from a stream that the calibration does not hold for to one that it does."""

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import read, write
from ase.io.trajectory import Trajectory
from typer.testing import CliRunner

from al_loop import choose_frames, recalibrate
from al_loop.cli import app
from al_loop.errors import InputError
from al_loop.utils.content_hash import frame_id
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
        checkpoint,
        "again",
        stream="stream.extxyz",
        engine=ENGINE,
        count=10,
        since_step=96,  # as a monitor of every 10th step would print it: frame 10 is the first of a later step
        frame_every=10,
        tolerance_eV_per_A=2.0,
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
        ({"stream": "stream.extxyz", "engine": ENGINE}, "holds 3 frames from step 0 on.*expected at least 44"),
        ({"stream": "stream.extxyz", "engine": ENGINE, "since_step": 5}, "0 frames from step 5 on.*is of step 2"),
        ({"stream": "stream.extxyz", "engine": ENGINE, "since_step": -1}, "--since-step: received -1"),
        ({"stream": "stream.extxyz", "engine": ENGINE, "frame_every": 0}, "--frame-every: received 0"),
        ({"labels": "stream.extxyz", "frames": "none.extxyz"}, "--frames none.extxyz does not exist"),
        ({"stream": "stream.extxyz", "engine": ENGINE, "frames": "stream.extxyz"}, "without --labels"),
        ({"stream": "none.extxyz", "engine": ENGINE}, "does not exist"),
        ({"stream": "stream.extxyz", "engine": ENGINE, "count": 0}, "--count: received 0"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_written(checkpoint, make_copper, tmp_path, options, told) -> None:
    write("stream.extxyz", [make_copper(seed) for seed in range(3)])
    with pytest.raises(InputError, match=told):
        recalibrate(checkpoint, "again", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["stream.extxyz"]


@pytest.fixture
def stream(make_copper, tmp_path):
    """A trajectory of 30 frames that states its steps, as those of ``al-loop monitor`` do."""
    frames = [make_copper(900 + seed, 0.12) for seed in range(30)]
    with Trajectory("md.traj", "w") as file:
        for number, atoms in enumerate(frames):
            atoms.info["monitor_step"] = 5 * number
            file.write(atoms)
    return frames


@pytest.fixture
def chosen(checkpoint, stream):
    """Ten of the frames from step 50 on, in ``chosen.extxyz``."""
    assert choose_frames(checkpoint, "chosen.extxyz", stream="md.traj", count=10, since_step=50).frames == 10
    return read("chosen.extxyz", ":")


def test_frames_are_written_with_ids_and_labels_find_them_again(checkpoint, potential, chosen, stream) -> None:
    """Labelled elsewhere: in another order of frames and atoms, one frame without a label, one id lost."""
    assert [atoms.info["al_loop"]["frame"] for atoms in chosen] == [frame_id(atoms) for atoms in chosen]
    steps = [atoms.info["al_loop"]["step"] for atoms in chosen]
    assert [(step - 50) // 10 for step in steps] == list(range(10))
    for atoms, step in zip(chosen, steps, strict=True):
        np.testing.assert_allclose(atoms.positions, stream[step // 5].positions, atol=1e-7)
    elsewhere = [labelled(atoms[[2, 0, 3, 1]]) for atoms in chosen[:9]][::-1]
    del elsewhere[4].info["al_loop"]
    write("elsewhere.extxyz", elsewhere)
    done = recalibrate(checkpoint, "again", labels="elsewhere.extxyz", frames="chosen.extxyz", tolerance_eV_per_A=2.0)
    assert done.frames == 9
    assert any("1 of 10 frames of chosen.extxyz have no label (frame 9)" in note for note in done.notes)
    scores = load("again", potential.backbone).calibration_scores.latent_distance
    assert scores == pytest.approx([a.latent_distance.max() for a in potential.predict(chosen[:9], "exact")], rel=1e-4)


def test_the_command_writes_frames_and_takes_the_labels_of_al_loop_label(checkpoint, stream, tmp_path) -> None:
    (tmp_path / "engine.yaml").write_text("engine: ase\ncalculator: ase.calculators.emt.EMT\n")
    model = ["--model", str(checkpoint)]
    for arguments in (
        ["recalibrate", *model, "--stream", "md.traj", "--count", "10", "--write-frames", "chosen.extxyz"],
        ["label", "chosen.extxyz", "--engine", "engine.yaml", "--to", "done.extxyz"],
        ["recalibrate", *model, "--labels", "done.extxyz", "--frames", "chosen.extxyz", "--to", "again"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.stderr
        if "--write-frames" in arguments:
            assert "--labels LABELLED_FRAMES --frames chosen.extxyz --to NEW_CHECKPOINT" in result.stdout
            assert not (tmp_path / "again").exists()
    assert "It holds for frames like these 10" in result.stdout


@pytest.mark.parametrize("change", ["moved", "moved without id", "foreign", "twice"])
def test_a_label_that_is_of_no_chosen_frame_is_refused(checkpoint, chosen, make_copper, tmp_path, change) -> None:
    frames = [labelled(atoms) for atoms in chosen]
    if change.startswith("moved"):
        frames[3].positions[0, 0] += 0.05
    if change == "moved without id":
        del frames[3].info["al_loop"]
    if change == "foreign":
        frames[3] = labelled(make_copper(5))
    if change == "twice":
        frames[3].positions = frames[4].positions + 0.005  # of which the id of frame 4 alone tells
        frames[3].info["al_loop"] = frames[4].info["al_loop"]
    write("elsewhere.extxyz", frames)
    told = {"moved": "states the id of frame 3, but is another", "twice": "are labels of frame 4"}
    with pytest.raises(InputError, match=told.get(change, "elsewhere.extxyz, frame 3: its geometry is none of these")):
        recalibrate(checkpoint, "again", labels="elsewhere.extxyz", frames="chosen.extxyz")
    assert not (tmp_path / "again").exists()


def test_writing_frames_takes_no_options_of_labels_and_overwrites_no_input(checkpoint, stream, tmp_path) -> None:
    arguments = ["recalibrate", "--model", str(checkpoint), "--stream", "md.traj", "--write-frames"]
    for more, told in (
        (["chosen.extxyz", "--to", "again"], "none of --to"),
        (["chosen.dat"], "ends in .extxyz"),
        (["nowhere/chosen.extxyz"], "does not exist"),
    ):
        result = CliRunner().invoke(app, [*arguments, *more])
        assert (result.exit_code, told in " ".join(result.stderr.split())) == (2, True)
    result = CliRunner().invoke(app, ["recalibrate", "--model", str(checkpoint), "--labels", "md.traj"])
    assert (result.exit_code, "--write-frames to choose frames only" in " ".join(result.stderr.split())) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["md.traj"]
