"""Several frames in a file: what is chosen is read, and without a choice the number is said."""

import pytest
from ase.build import bulk
from ase.io import write

from al_loop.config.explore_settings import parse_frames
from al_loop.errors import InputError
from al_loop.files.structures import choose_frames, read_structure


@pytest.fixture
def ten(tmp_path):
    frames = [bulk("Cu", a=3.5 + 0.01 * number, cubic=True) for number in range(10)]
    for name in ("ten.extxyz", "ten.traj", "ten.xyz"):
        write(tmp_path / name, frames)
    write(tmp_path / "one.cif", frames[0])
    return tmp_path


def lengths(chosen):
    return [round((atoms.cell[0, 0] - 3.5) * 100) for atoms in chosen.frames]


@pytest.mark.parametrize("name", ["ten.extxyz", "ten.traj", "ten.xyz"])
@pytest.mark.parametrize(
    ("frames", "numbers"),
    [
        (None, [9]),
        (0, [0]),
        (-2, [8]),
        ("3", [3]),
        ("2:5", [2, 3, 4]),
        ("::4", [0, 4, 8]),
        ("-2:", [8, 9]),
        ("::-5", [9, 4]),
    ],
)
def test_an_index_or_a_slice_chooses(ten, name, frames, numbers):
    chosen = choose_frames(ten / name, frames)
    assert chosen.numbers == numbers == lengths(chosen)
    assert chosen.count == 10


def test_what_is_used_is_said(ten):
    assert choose_frames(ten / "ten.extxyz").note == "ten.extxyz holds 10 frames; the last one (frame 9) is used"
    assert choose_frames(ten / "ten.extxyz", "::5").note.endswith("2 of them are used (0, 5)")
    assert choose_frames(ten / "one.cif").note == ""
    assert read_structure(ten / "ten.traj").cell[0, 0] == pytest.approx(3.59)


@pytest.mark.parametrize("frames", [10, -11, "20:", "5:5"])
def test_a_choice_of_nothing_says_how_many_there_are(ten, frames):
    with pytest.raises(InputError, match=r"the file holds 10 frames \(0 to 9\); choose from these"):
        choose_frames(ten / "ten.extxyz", frames)


@pytest.mark.parametrize("text", ["last", "1:2:0", "1.5", "", "1,2", ":::"])
def test_what_is_no_slice_is_refused(text):
    with pytest.raises(ValueError, match="expected an index such as 0 or -1, or a slice"):
        parse_frames(text)


def test_a_wrong_frame_is_named_and_only_if_it_is_chosen(tmp_path):
    path = tmp_path / "two.extxyz"
    path.write_text("1\ncharge=word\nO 0 0 0\n1\ncharge=0\nO 0 0 0\n")
    assert read_structure(path).info["charge"] == 0
    with pytest.raises(InputError, match=r"two.extxyz, frame 0: received charge='word'"):
        choose_frames(path, 0)
