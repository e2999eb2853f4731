"""Hundreds of configs and structure files that are wrong: one readable message, exit code 2, nothing changed."""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from ase.build import bulk
from ase.io import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.tools.preflight.load_config import load_config

BASE: dict[str, Any] = {
    "name": "test",
    "folder": "run",
    "foundation": {"kind": "sevennet"},
    "systems": [{"file": "copper.xyz"}],
    "explore": {"temperatures_K": [300]},
    "label": {"engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
}
JUNK: list[Any] = [
    None, [], {}, [[]], {"a": {"b": [1]}}, "", "nonsense", "\u0000", "\N{SNOWMAN}" * 40,
    True, -1, 10**400, 1e308, float("nan"),
    float("-inf"), 1.5, "../../x",
    "x" * 300, ["x", None], {"": None}, "!!python/object/apply:os.system [id]",
]  # fmt: skip


def places(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of the config that is not below a list or an alternative."""
    for name, field in model.model_fields.items():
        yield (*prefix, name)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from places(inner, (*prefix, name))


def broken(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    data = copy.deepcopy(BASE)
    block = data
    for key in place[:-1]:
        inner = block.get(key)
        block[key] = block = dict(inner) if isinstance(inner, dict) else {}
    block[place[-1]] = value
    return data


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("malformed")
    write(path / "copper.xyz", bulk("Cu", cubic=True))
    return path


def refused(config: Path, command: str = "run") -> str:
    """Return the message of a command that refuses its config and leaves the disk as it was."""
    before = listing(config.parent)
    result = CliRunner().invoke(app, [command, str(config)])
    assert result.exit_code == 2, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert result.output.startswith("al-loop: ")
    assert len(result.output) < 20_000
    assert listing(config.parent) == before
    return result.output


def accepted(config: Path) -> bool:
    """Whether the file happens to be valid; anything but an ``InputError`` fails the test."""
    try:
        load_config(config)
    except InputError:
        return False
    return True


def test_a_wrong_value_at_every_key(folder: Path) -> None:
    config, wrong = folder / "config.yaml", 0
    for number, place in enumerate(places(Config)):
        config.write_text(yaml.safe_dump(broken(place, JUNK[number % len(JUNK)]), allow_unicode=True))
        if not accepted(config):
            refused(config)
            wrong += 1
    assert wrong > 150


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=6)
EVERYWHERE = settings(
    max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@EVERYWHERE
@given(place=st.sampled_from(list(places(Config))), value=NESTED)
def test_anything_anywhere(folder: Path, place: tuple[str, ...], value: Any) -> None:
    config = folder / "anything.yaml"
    config.write_text(yaml.safe_dump(broken(place, value), allow_unicode=True))
    if not accepted(config):
        refused(config)


@EVERYWHERE
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_any_bytes_for_a_config(folder: Path, content: bytes) -> None:
    config = folder / "bytes.yaml"
    config.write_bytes(content)
    refused(config)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{last}'] * 9)}]\n" for last, this in zip("abcdefgh", "bcdefghi", strict=True)
)
TEXTS = {
    "empty": "",
    "only a comment": "# nothing\n",
    "tabs": "name:\ttest\n\tfolder: run\n",
    "bomb": BOMB,
    "a bomb as a name": BOMB + "name: *i\n",
    "deep": "[" * 3000 + "]" * 3000,
    "deep blocks": "".join("  " * i + "a:\n" for i in range(400)),
    "itself": "a: &a [*a]\n",
    "duplicate": "name: a\nname: b\n",
    "a list as a key": "? [a, b]\n: c\n",
    "a block as a key": "? {a: b}\n: c\n",
    "merged into nothing": "<<: 3\n",
    "unknown anchor": "name: *missing\n",
    "two documents": "name: a\n---\nname: b\n",
    "code": "name: !!python/object/apply:os.system ['touch owned']\n",
    "a tag": "name: !secret x\n",
    "binary": "name: !!binary '===='\n",
    "a date": "name: 2026-02-31\n",
    "a sexagesimal": "seed: 1:99:99\n",
    "an int of no digits": "seed: 0x\nname: 0b\n",
    "huge number": "seed: " + "9" * 10_000 + "\n",
    "surrogate": 'name: "\\ud800"\n',
    "unclosed": "name: 'x\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_yaml_that_is_none(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    refused(config)


CELL = 'Lattice="3.6 0 0 0 3.6 0 0 0 3.6" Properties=species:S:1:pos:R:3'
STRUCTURES: dict[str, bytes] = {
    "empty.xyz": b"",
    "binary.xyz": bytes(range(256)) * 8,
    "binary.cif": bytes(range(256)) * 8,
    "binary.traj": b"- of Ulm" + bytes(range(256)),
    "cut.extxyz": f"4\n{CELL}\nCu 0 0 0\nCu 0 1.8".encode(),
    "count.extxyz": f"999999999999\n{CELL}\nCu 0 0 0\n".encode(),
    "negative.extxyz": f"-1\n{CELL}\nCu 0 0 0\n".encode(),
    "huge.extxyz": f"1\n{CELL}\nCu 1e300 0 0\n".encode(),
    "overflow.extxyz": f"1\n{CELL}\nCu 1e999 0 0\n".encode(),
    "nan.extxyz": f"1\n{CELL}\nCu nan 0 0\n".encode(),
    "nan_cell.extxyz": f"1\n{CELL.replace('3.6', 'nan')}\nCu 0 0 0\n".encode(),
    "flat.extxyz": f'1\n{CELL.replace("0 0 3.6", "0 0 0")} pbc="T T T"\nCu 0 0 0\n'.encode(),
    "coplanar.extxyz": f"1\n{CELL.replace('0 3.6 0 0 0 3.6', '0 3.6 0 3.6 3.6 0')}\nCu 0 0 0\n".encode(),
    "huge_cell.extxyz": f"1\n{CELL.replace('3.6', '1e200')}\nCu 0 0 0\n".encode(),
    "short_cell.extxyz": f"1\n{CELL.replace(' 0 3.6 0', '')}\nCu 0 0 0\n".encode(),
    "element.extxyz": f"1\n{CELL}\nQq 0 0 0\n".encode(),
    "twice.extxyz": f"2\n{CELL}\nCu 0 0 0\nCu 0 0 0\n".encode(),
    "none.extxyz": f"0\n{CELL}\n".encode(),
    "words.extxyz": f"1\n{CELL}\nCu a b c\n".encode(),
    "json.extxyz": b'1\nProperties=species:S:1:pos:R:3 a="_JSON {"\nCu 0 0 0\n\xff',
    "properties.extxyz": b"1\nProperties=species:S:1:pos:R:300000\nCu 0 0 0\n",
    "none.cif": b"data_x\n_cell_length_a 3\n_cell_length_b 3\n_cell_length_c 3\n",
    "angles.cif": b"data_x\n_cell_length_a 3\n_cell_length_b 3\n_cell_length_c 3\n_cell_angle_alpha 500\n",
    "no_data.cif": b"nothing\n",
    "POSCAR.vasp": b"Cu\n1.0\n3 0 0\n0 3 0\n",
    "zero.vasp": b"Cu\n0.0\n3 0 0\n0 3 0\n0 0 3\nCu\n1\nDirect\n0 0 0\n",
    "json.json": b'{"1": {"numbers": "x"}}',
    "deep.json": b"[" * 100_000,
    "pickle.pckl": b"cos\nsystem\n(S'touch owned'\ntR.",
    "picture.png": b"\x89PNG\r\n\x1a\n",
    "unknown.qqq": b"1\n\nCu 0 0 0\n",
    "nul.xyz": b"1\n\n\0 0 0 0\n",
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(STRUCTURES[name])
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**BASE, "systems": [{"file": name}]}))
    assert re.search(rf"systems\[0\].*{re.escape(name)}", refused(config))
    assert not (tmp_path / "owned").exists()


@EVERYWHERE
@given(data=st.data())
def test_a_structure_that_was_damaged(folder: Path, data: st.DataObject) -> None:
    whole = (folder / "copper.xyz").read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    place = data.draw(st.integers(0, len(cut)))
    (folder / "damaged.extxyz").write_bytes(cut[:place] + data.draw(st.binary(max_size=12)) + cut[place:])
    config = folder / "damaged.yaml"
    config.write_text(yaml.safe_dump({**BASE, "systems": [{"file": "damaged.extxyz"}]}))
    if not accepted(config):
        refused(config)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "al_loop.cli", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=folder)


def test_the_program_itself(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "bomb.yaml").write_text(BOMB)
    (tmp_path / "link.yaml").symlink_to("link.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    before = listing(tmp_path)
    for name in ("folder.yaml", "bomb.yaml", "link.yaml", "pipe.yaml", "missing.yaml", "x" * 300 + ".yaml"):
        done = run(tmp_path, "run", name)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith("al-loop: ")
        assert "Traceback" not in done.stderr
    assert listing(tmp_path) == before
