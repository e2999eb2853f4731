"""Configs and engine blocks with values that no type holds: one message, exit code 2, nothing written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.cli.errors import BAD_INPUT
from al_loop.config import file
from al_loop.tools.preflight.load_config import load_config
from al_loop.tools.single_steps.arguments import label_settings
from al_loop.tools.validation.reference import StoredReference

CONFIG = """name: copper
folder: run
foundation: {kind: sevennet}
systems: [{file: copper.extxyz}]
explore: {temperatures_K: [300]}
label: {engine: {engine: ase, calculator: ase.calculators.emt.EMT}}
"""
HEX = "0x" + "f" * 5000  # Python writes no integer of so many digits
VALUES = ["1e400", "-1e400", ".nan", ".inf", "9" * 40, "9" * 5000, HEX, "2026-02-31", "2026-02-28", "!!set {a}", "''"]
VALUES += [
    "!!binary aGVsbG8=",
    "{<<: {a: 1}}",
    '"\\0"',
    '"\\ud800"',
    "[[[[[[[[]]]]]]]]",
    "{1: 2}",
    "{null: 2}",
    "'1 eV'",
]
KEYS = {
    "rounds": "rounds: {}",
    "seed": "seed: {}",
    "name": "name: {}",
    "folder": "folder: {}",
    "temperatures": "explore: {{temperatures_K: [{}]}}",
    "steps": "explore: {{temperatures_K: [300], steps: {}}}",
    "charge": "systems: [{{file: copper.extxyz, charge: {}}}]",
    "supercell": "systems: [{{file: copper.extxyz, supercell: [1, 1, {}]}}]",
    "frames": "systems: [{{file: copper.extxyz, frames: {}}}]",
    "moments": "systems: [{{file: copper.extxyz, initial_magnetic_moments: [{}]}}]",
    "file": "systems: [{{file: {}}}]",
    "engine": "label: {{engine: {}}}",
    "calculator": "label: {{engine: {{engine: ase, calculator: {}}}}}",
    "arguments": "label: {{engine: {{engine: ase, calculator: ase.calculators.emt.EMT, arguments: {{a: {}}}}}}}",
    "model": "foundation: {{kind: sevennet, model: {}}}",
    "top level": "{}",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("copper.extxyz", bulk("Cu", cubic=True))
    return tmp_path


def config_with(text: str) -> str:
    key = text.split(":", maxsplit=1)[0]
    return "".join(line + "\n" for line in CONFIG.splitlines() if not line.startswith(f"{key}:")) + text + "\n"


def message_of(read: Callable[[Path], object], path: Path) -> str:
    """What a reader says of a file; empty if it reads it. Anything but a message that names the file is a failure."""
    try:
        read(path)
        return ""
    except BAD_INPUT as error:
        message = str(error)
    assert str(path) in message
    assert len(message) < 3000
    return message


@pytest.mark.parametrize("key", KEYS)
def test_any_value_at_a_key(key: str, folder: Path) -> None:
    path = folder / "config.yaml"
    refused = 0
    for value in VALUES:
        text = KEYS[key].format(value)
        path.write_text(value if key == "top level" else config_with(text))
        refused += bool(message_of(load_config, path))
        path.write_text(text)
        message_of(label_settings, path)
    assert refused > 3
    assert {entry.name for entry in folder.iterdir()} == {"config.yaml", "copper.extxyz"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_other_encodings(encoding: str, folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(CONFIG, encoding=encoding)
    if encoding == "utf-8-sig":
        assert load_config(path).name == "copper"
        return
    with pytest.raises(BAD_INPUT, match=r"config\.yaml cannot be read \(its text is not UTF-8\)"):
        load_config(path)


REFERENCE = '{{"kind": "al-loop validation reference", "schema": 1, "name": "x", "level": "y", "values": {}}}'
REFERENCES = [
    "",
    "[]",
    "\ufeff{}",
    "[" * 100_000,
    "{}",
    "1" * 5000,
    "NaN",
    *map(REFERENCE.format, ("3", "[3]", "[{}]")),
]


@pytest.mark.parametrize("text", REFERENCES, ids=lambda text: text[-12:] or "empty")
def test_stored_references(text: str, folder: Path) -> None:
    path = folder / "validation-reference.json"
    path.write_text(text)
    with pytest.raises(BAD_INPUT, match=r"^reference .*validation-reference\.json"):
        StoredReference(path)


OPTIONS = [
    ["monitor", "copper.extxyz", "--model", "missing", "--steps", "1" + "0" * 40],
    ["monitor", "copper.extxyz", "--model", "missing", "--steps", "1" * 5000],
    ["monitor", "copper.extxyz", "--model", "missing", "--timestep", "nan"],
    ["monitor", "copper.extxyz", "--model", "missing", "--temperature", "1e400"],
    ["monitor", "copper.extxyz", "--model", "missing", "--pressure", "inf"],
    ["monitor", "copper.extxyz", "--model", "missing", "--charge", "9" * 40],
    ["monitor", "copper.extxyz", "--model", "missing", "--spin", "9" * 40],
    ["monitor", "copper.extxyz", "--model", "missing", "--seed", "9" * 40],
    ["monitor", "copper.extxyz", "--model", "missing", "--every", "9" * 40],
    ["monitor", "copper.extxyz", "--model", "missing", "--patience", "9" * 5000],
    ["monitor", "copper.extxyz", "--model", "missing", "--cell", "1e400 1 1"],
    ["monitor", "copper.extxyz", "--model", "missing", "--cell", "\udcff"],
    ["monitor", "copper.extxyz", "--model", "missing", "--species", "\udcff"],
    ["monitor", "--trajectory", "copper.extxyz", "--model", "missing", "--format", "\udcff"],
    ["rank", "copper.extxyz", "--model", "missing", "--fmax", "nan"],
    ["rank", "copper.extxyz", "--model", "missing", "--top", "9" * 40, "--steps", "-1"],
    ["rank", "copper.extxyz", "--model", "missing", "--confidence", "nan"],
    ["barrier", "copper.extxyz", "copper.extxyz", "--model", "missing", "--images", "9" * 40],
    ["barrier", "copper.extxyz", "copper.extxyz", "--model", "missing", "--fmax", "inf"],
    ["train", "copper.extxyz", "--foundation", "sevennet:none", "--to", "out", "--tolerance", "nan"],
    ["train", "copper.extxyz", "--foundation", "sevennet:7net-0", "--to", "out", "--seed", "9" * 40],
    ["validate", "emt", "copper.extxyz", "--reference", "missing.json", "--checks", "\udcff"],
    ["export", "config.yaml", "--to", "out.extxyz", "--round", "9" * 40],
]


@pytest.mark.parametrize("words", OPTIONS, ids=lambda words: f"{words[0]} {words[-2]} {words[-1][:5]!r}")
def test_options_that_no_type_holds(words: list[str], folder: Path) -> None:
    (folder / "config.yaml").write_text(CONFIG)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, (result.exception, result.stderr)
    assert {entry.name for entry in folder.iterdir()} == {"config.yaml", "copper.extxyz"}


def test_a_bug_in_a_check_keeps_its_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a bug")

    (folder / "config.yaml").write_text(CONFIG)
    monkeypatch.setattr(file, "impossible_paths", broken)
    result = CliRunner().invoke(app, ["check-config", "config.yaml"])
    assert (result.exit_code, type(result.exception)) == (1, TypeError)
