"""CONTRIBUTING.md's ways to a new engine and a new foundation, walked as written in a copy of the packages.

A block of Python or YAML is a file, whose path its first line states; a diff edits the file that it names, wherever its
context stands; commands are run in their order, in the folder of the copy.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("al_loop", "committee", "dft_interfaces")
BLOCK = re.compile(r"^```(python|yaml|diff|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PATH_LINE = re.compile(r"(?:# |--- )(\S+)\n")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of what the walks change and use."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)  # with what is compiled already, which saves seconds
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def write_file(house: Path, block: str) -> None:
    first, _, text = block.partition("\n")
    path = house / PATH_LINE.fullmatch(f"{first}\n")[1]
    assert not path.exists(), f"{path.relative_to(house)} exists already"
    path.parent.mkdir(parents=True, exist_ok=True)  # the other tests, and their fixtures, are not copied
    path.write_text(text)


def edit_file(house: Path, block: str) -> None:
    first, _, hunks = block.partition("\n")
    path = house / PATH_LINE.fullmatch(f"{first}\n")[1]
    text = path.read_text()
    for hunk in hunks.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        after = "".join(line[1:] for line in lines if line[0] != "-")
        assert text.count(before) == 1, f"{path.relative_to(house)} no longer has these lines once:\n{before}"
        text = text.replace(before, after)
    path.write_text(text)


def run_commands(house: Path, block: str) -> str:
    """Run what a contributor types; return what it says."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(house),  # before the checkout that this environment has installed
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-e", "-c", block], cwd=house, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def walk(house: Path, heading: str) -> str:
    """Do all that a section says; return what its commands say."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.M)
    steps = {"python": write_file, "yaml": write_file, "diff": edit_file, "bash": run_commands}
    said = [steps[language](house, block) for language, block in BLOCK.findall(section[1])]
    return "\n".join(filter(None, said))


def test_an_engine_and_a_foundation_are_added_as_written(house: Path) -> None:
    said = walk(house, "Add an engine")
    assert "1 passed" in said
    label = ase.io.read(house / "labels.extxyz")
    assert "effective medium theory" in said
    assert np.abs(label.arrays["REF_forces"]).max() > 0.1
    said = walk(house, "Add a foundation")
    assert "1 passed" in said
    assert re.search(
        r"ok +engine emt .*note +level of theory .*ok +foundation girifalco.*Everything needed", said, re.DOTALL
    )
    assert "Start from morse" in said
    linted = run_commands(
        house, f"ruff check {' '.join(PACKAGES)} tests && ruff format --check {' '.join(PACKAGES)} tests"
    )
    assert "All checks passed" in linted


def test_an_edit_that_no_longer_fits_is_noticed(house: Path) -> None:
    for lines in (" _ADAPTERS = [\n+    1,\n", " \n+# one of many empty lines\n"):
        with pytest.raises(AssertionError, match="no longer has these lines once"):
            edit_file(house, f"--- dft_interfaces/engines/__init__.py\n{lines}")
