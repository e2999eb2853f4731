"""Paths given to commands: what cannot be read or written is refused at once, in words, and nothing is written."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from event_lines import read_events
from typer.testing import CliRunner

from al_loop.cli import app, errors
from al_loop.errors import InputError
from al_loop.utils.event_log import EventLog
from al_loop.utils.paths import check_source, check_target, check_target_folder

CONFIG = """name: copper
folder: run
foundation: {kind: sevennet}
systems: [{file: copper.extxyz}]
explore: {temperatures_K: [300]}
label: {engine: {engine: ase, calculator: ase.calculators.emt.EMT}}
"""
_CAPABILITIES = (1 << 1) | (1 << 2)  # of root, which passes by all permissions: DAC_OVERRIDE, DAC_READ_SEARCH


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root is refused what others are refused; everybody else is so anyway."""
    if os.geteuid() != 0:
        yield
        return
    libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~_CAPABILITIES
    assert libc.capset(header, sets) == 0
    yield
    sets[0] = effective
    assert libc.capset(header, sets) == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("copper.extxyz", bulk("Cu", cubic=True))
    Path("config.yaml").write_text(CONFIG)
    Path("engine.yaml").write_text("engine: ase\ncalculator: ase.calculators.emt.EMT\n")
    Path("empty").write_bytes(b"")
    Path("directory").mkdir()
    os.mkfifo("pipe")
    for name, target in (("endless", "/dev/zero"), ("loop", "loop"), ("dangling", "nowhere")):
        Path(name).symlink_to(target)
    Path("damaged.extxyz.gz").write_bytes(b"\x1f\x8b" + b"x" * 50)
    Path("secret.extxyz").write_bytes(b"1\n\nCu 0 0 0\n")
    Path("secret.extxyz").chmod(0)
    Path("closed").mkdir()
    Path("closed").chmod(0)
    Path("fixed").mkdir()
    Path("fixed").chmod(0o555)
    Path("fixed.extxyz").write_bytes(b"")
    Path("fixed.extxyz").chmod(0o444)
    Path("strange\udcff").write_bytes(b"\xff")
    return tmp_path


SOURCES = [
    "empty",
    "directory",
    "pipe",
    "endless",
    "loop",
    "dangling",
    "damaged.extxyz.gz",
    "secret.extxyz",
    "",
    "[",
    "*",
]
SOURCES += [
    "closed/x.extxyz",
    "copper.extxyz/x",
    "x" * 300,
    "~nobody-of-this-name/x",
    "a\0b",
    "strange\udcff",
    "missing",
]
READING = {
    "check-config": ["check-config", "{}"],
    "status": ["status", "{}"],
    "doctor": ["doctor", "{}"],
    "train": ["train", "{}", "--foundation", "sevennet:none", "--to", "out"],
    "train --foundation": ["train", "copper.extxyz", "--foundation", "sevennet:{}", "--to", "out"],
    "train --foundation fairchem": ["train", "copper.extxyz", "--foundation", "fairchem:{}:omat", "--to", "out"],
    "predict": ["predict", "{}", "--foundation", "sevennet:7net-0"],
    "label": ["label", "{}", "--engine", "engine.yaml", "--to", "out.extxyz"],
    "label --engine": ["label", "copper.extxyz", "--engine", "{}", "--to", "out.extxyz"],
    "rank": ["rank", "{}", "--model", "missing"],
    "rank --config": ["rank", "copper.extxyz", "--config", "{}"],
    "barrier": ["barrier", "copper.extxyz", "{}", "--model", "missing"],
    "validate": ["validate", "emt", "{}", "--reference", "missing.json"],
    "validate --reference": ["validate", "emt", "copper.extxyz", "--reference", "{}"],
    "validate MODEL": ["validate", "{}", "copper.extxyz", "--reference", "missing.json"],
    "monitor": ["monitor", "{}", "--model", "missing"],
    "monitor --model": ["monitor", "copper.extxyz", "--model", "{}"],
    "monitor --trajectory": ["monitor", "--trajectory", "{}", "--model", "missing"],
    "monitor --harvest": ["monitor", "copper.extxyz", "--model", "missing", "--harvest", "{}"],
}


def listing(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder)}


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("command", READING)
def test_what_cannot_be_read(command: str, folder: Path) -> None:
    before = listing(folder)
    for source in SOURCES:
        result = CliRunner().invoke(app, [word.replace("{}", source) for word in READING[command]])
        assert result.exit_code == 2, (source, result.exception, result.stderr)
        assert "al-loop: " in result.stderr or "Usage" in result.stderr, source
        assert listing(folder) == before, source


TARGETS = [
    "directory",
    "pipe",
    "endless",
    "loop",
    "dangling",
    "closed/x.extxyz",
    "fixed/x.extxyz",
    "fixed.extxyz",
    "missing/x.extxyz",
]
TARGETS += ["copper.extxyz/x", "x" * 300, "a\0b", "copper.extxyz"]


@pytest.mark.usefixtures("unprivileged", "folder")
@pytest.mark.parametrize("target", TARGETS)
def test_what_cannot_be_written(target: str) -> None:
    with pytest.raises(InputError, match=r"^--to: "):
        check_target("--to", Path(target), [Path("copper.extxyz")])


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("target", ["missing/x.extxyz", "fixed/x.extxyz", "fixed.extxyz", "copper.extxyz"])
@pytest.mark.parametrize(
    "words",
    [
        ["rank", "copper.extxyz", "--model", "missing", "--output"],
        ["barrier", "copper.extxyz", "copper.extxyz", "--model", "missing", "--output"],
        ["label", "copper.extxyz", "--engine", "engine.yaml", "--to"],
        ["monitor", "copper.extxyz", "--model", "missing", "--snapshots"],
        ["export", "config.yaml", "--to"],
        ["template", "molecule", "--output"],
    ],
    ids=lambda words: words[0],
)
def test_targets_are_checked_first(words: list[str], target: str, folder: Path) -> None:
    before = listing(folder)
    result = CliRunner().invoke(app, [*words, target])
    assert result.exit_code == 2, (result.exception, result.stderr)
    assert result.stderr.startswith("al-loop: ")
    if words[0] != "export" or target != "copper.extxyz":  # which export replaces
        assert target.split("/", maxsplit=1)[0] in result.stderr
    assert listing(folder) == before


@pytest.mark.usefixtures("unprivileged", "folder")
def test_folders_and_files_that_are_fine() -> None:
    check_source("x", Path("copper.extxyz"), "y")
    check_target("--to", Path("new.extxyz"), [Path("copper.extxyz")])
    check_target("--to", Path("empty"))
    check_target_folder("--to", Path("a/b/c"))
    for target in ("empty", "fixed/a", "closed/a", "empty/a"):
        with pytest.raises(InputError, match=r"^--to: "):
            check_target_folder("--to", Path(target))


def test_a_name_that_is_not_utf8_is_printed_and_logged(folder: Path) -> None:
    Path("config\udcff.yaml").write_text(CONFIG.replace("copper.extxyz", "missing.extxyz"))
    done = subprocess.run(
        [sys.executable, "-m", "al_loop.cli", "check-config", os.fsencode("config\udcff.yaml")],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 2
    assert b"config\\udcff.yaml: systems[0].file" in done.stderr
    log = EventLog(folder / "log.jsonl")
    log.write("read", file="run\udcff.xyz", unit="Å")
    assert read_events(log.path)[0]["file"] == "run\udcff.xyz"


def test_a_bug_is_not_the_users_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr("al_loop.files.structures.check_structures", broken)
    result = CliRunner().invoke(app, ["barrier", "copper.extxyz", "copper.extxyz", "--model", "missing"])
    assert result.exit_code == 1
    assert isinstance(result.exception, TypeError)
    assert errors.exit_code(result.exception) == 1
