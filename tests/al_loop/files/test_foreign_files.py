"""Files of every format, damaged in every way: they are read, or one message names them; nothing else happens."""

import random
from pathlib import Path

import foreign_files as files
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from al_loop.cli.errors import BAD_INPUT
from al_loop.files import structures
from al_loop.files.sources import find_sources, trajectory_name
from al_loop.files.structures import choose_frames
from al_loop.files.text.open_text import plain_name

COUNT = 8  # of flips, numbers and words for each file; more of them were tried by hand
pytestmark = pytest.mark.filterwarnings("ignore")  # of readers on what is damaged

READS = [(name, number) for name, (_, readers) in files.FILES.items() for number in range(len(readers))]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What stands in a valid file of each format."""
    folder = tmp_path_factory.mktemp("whole")
    for name, (made, _) in files.FILES.items():
        made(folder / name, files.labelled())
    return {name: (folder / name).read_bytes() for name in files.FILES}


def read_or_refuse(name: str, number: int, path: Path, what: str) -> bool:
    """Whether a reader reads a file; anything but one line that names the file fails the test."""
    before, message = sorted(path.parent.iterdir()), ""
    try:
        files.FILES[name][1][number](path)
    except BAD_INPUT as error:
        message = str(error)
    assert sorted(path.parent.iterdir()) == before
    assert not message or path.name in message, (what, message)
    assert "\n" not in message, what
    assert len(message) < 2000, what
    return not message


@pytest.mark.parametrize(("name", "number"), READS)
def test_damaged_files(name: str, number: int, tmp_path: Path, wholes: dict[str, bytes]) -> None:
    path = tmp_path / name
    path.write_bytes(wholes[name])
    assert read_or_refuse(name, number, path, "whole")
    rng = random.Random(name)
    damages = list(files.damaged(wholes[name], rng, COUNT))
    if path.suffix == ".aselmdb":  # read in a process of its own
        damages = rng.sample(damages, 12)
    refused = 0
    for what, data in damages:
        path.write_bytes(data)
        refused += not read_or_refuse(name, number, path, what)
    assert refused > len(damages) // 5


@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes_anywhere(
    tmp_path_factory: pytest.TempPathFactory, wholes: dict[str, bytes], data: st.DataObject
) -> None:
    name, number = data.draw(st.sampled_from(READS))
    path, whole = tmp_path_factory.mktemp("any") / name, wholes[name]
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, min(len(whole), begin + 30)))
    path.write_bytes(whole[:begin] + data.draw(st.binary(max_size=12)) + whole[end:])
    read_or_refuse(name, number, path, "any bytes")


HEAD = 'Lattice="3.6 0 0 0 3.6 0 0 0 3.6"'
FRAMES = {
    "a column of a billion values": f"1\n{HEAD} Properties=species:S:1:pos:R:999999999\nCu 0 0 0\n",
    "a charge beyond all integers": f"1\n{HEAD} Properties=species:S:1:pos:R:3 charge={'9' * 400}\nCu 0 0 0\n",
    "a charge of 1e30": f"1\n{HEAD} Properties=species:S:1:pos:R:3 charge=1e30\nCu 0 0 0\n",
    "an atomic number of 10**20": f"1\n{HEAD} Properties=Z:I:1:pos:R:3\n{10**20} 0 0 0\n",
    "an atomic number of 500": f"1\n{HEAD} Properties=Z:I:1:pos:R:3\n500 0 0 0\n",
    "Infinity in JSON": f'1\n{HEAD} Properties=species:S:1:pos:R:3 spin="_JSON Infinity"\nCu 0 0 0\n',
    "deep JSON": f'1\n{HEAD} Properties=species:S:1:pos:R:3 al_loop_entries="_JSON {"[" * 5000}"\nCu 0 0 0\n',
    "masses in words": f"1\n{HEAD} Properties=species:S:1:pos:R:3:masses:S:1\nCu 0 0 0 heavy\n",
    "a cell of 1e400": "1\n" + HEAD.replace("3.6", "1e400") + " Properties=species:S:1:pos:R:3\nCu 0 0 0\n",
}


@pytest.mark.parametrize("text", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.parametrize("read", files.FILES["own.extxyz"][1])
def test_numbers_that_no_type_holds(text, read, tmp_path):
    path = tmp_path / "strange.extxyz"
    path.write_text(text.replace("pos:R:3", "pos:R:3:REF_forces:R:3").replace("0 0 0\n", "0 0 0 0 0 0\n"))
    if "1e400" in text and read is files.FILES["own.extxyz"][1][3]:
        read(path)  # what has diverged is for a monitor to judge
        return
    with pytest.raises(BAD_INPUT, match=r"strange\.extxyz"):
        read(path)


def test_a_bug_of_ours_keeps_its_traceback(tmp_path, wholes, monkeypatch):
    path = tmp_path / "crystal.cif"
    path.write_bytes(wholes["crystal.cif"])

    def broken(*_):
        raise TypeError("a bug")

    monkeypatch.setattr(structures, "check_structures", broken)
    with pytest.raises(TypeError, match=r"^a bug$"):
        choose_frames(path)


def test_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    path = folder / "run\udcff.extxyz"
    files.FILES["own.extxyz"][0](path, files.labelled())
    for read in files.FILES["own.extxyz"][1]:
        read(path)
    (source,) = find_sources(folder).files
    trajectory_name(source).encode()
    assert plain_name(path) == "run\\udcff.extxyz"
    path.write_bytes(b"4\n\xff")
    with pytest.raises(BAD_INPUT, match="run\udcff"):
        choose_frames(path)
