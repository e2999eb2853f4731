"""For every damage of a checkpoint one error names the file, the reason and the remedy."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from committee.backbones.named_objects import identity, resolve
from committee.backbones.sevennet_checkpoint import open_sevennet
from committee.checkpoint import DESCRIPTION, TENSORS, load, save, sealed
from committee.errors import CheckpointError, FoundationError
from committee.settings import SevenNetSettings, resolve_path

FILES = (DESCRIPTION, TENSORS)


def as_nobody(script: str, *arguments: Path) -> str:
    """Run a script as a user without root permissions and return its output."""
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    command = [*prefix, sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def model(trained, tmp_path):
    save(trained, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", FILES)
def test_no_bit_may_differ(model, backbone, name):
    whole = (model / name).read_bytes()
    for place in np.random.default_rng(0).integers(len(whole), size=40):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place % 8)
        (model / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=rf"{model}.*(restore it|train again)"):
            load(model, backbone)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe" * 50,
        b"\0" * 100,
        b"[" * 100_000,
        b"1" * 5000,
        b'"text"',
        b'{"schema_version": 1}',
        b'{"schema_version": [1]}',
        b'{"schema_version": 1, "backbone": 1e999}',
        pickle.dumps(print),
        (2**60).to_bytes(8, "little") + b"{}",
    ],
    ids=lambda content: str(content[:12]),
)
def test_other_content(model, backbone, name, content):
    (model / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=str(model)) as raised:
        load(model, backbone)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)], ids=["folder", "fifo", "loop"]
)
def test_other_than_a_file(model, backbone, name, make):
    (model / name).unlink()
    make(model / name)
    with pytest.raises(CheckpointError, match=rf"no committee checkpoint: {name} is (no file|missing)"):
        load(model, backbone)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["shifts"]["eV_per_atom"].update({"6": 10**400}),
        lambda d: d["shifts"]["eV_per_atom"].update({"carbon": 1.0}),
        lambda d: d["committee"].update(members=10**30),
        lambda d: d["committee"].update(hidden_channels=10**15),
        lambda d: d.update(elements=[10**400]),
        lambda d: d.update(elements={"1": "x"}),
        lambda d: d["provenance"].update(periodic_directions=3),
        lambda d: d.update(provenance={"a": {}}),
        lambda d: d.update(calibration=[1]),
        lambda d: d.update(calibration="x"),
    ],
)
def test_sealed_nonsense(model, backbone, change):
    """Write a description with a valid checksum."""
    description = json.loads((model / DESCRIPTION).read_text())
    change(description)
    (model / DESCRIPTION).write_text(json.dumps(sealed(description)))
    with pytest.raises(CheckpointError):
        load(model, backbone)


def test_a_name_that_is_not_utf8(model, backbone):
    odd = model.with_name(os.fsdecode(b"mod\xffel"))
    model.rename(odd)
    load(odd, backbone)
    (odd / TENSORS).write_bytes(b"")
    with pytest.raises(CheckpointError, match="SHA-256"):
        load(odd, backbone)


SCRIPT = """
import sys
from committee.backbones.sevennet_checkpoint import open_sevennet
from committee.checkpoint import content_hash, load
from committee.errors import CommitteeError
from committee.settings import SevenNetSettings, resolve_path
from pathlib import Path

for path in map(Path, sys.argv[1:]):
    weights = resolve_path("weights.pth", path)
    for work in (load, content_hash, lambda path: open_sevennet(SevenNetSettings(kind="sevennet", model=weights))):
        try:
            work(path)
        except CommitteeError as error:
            print(error)
"""


def test_what_may_not_be_read(trained):
    """A file, and a folder without read permission."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for folder in ("file", "folder"):
            save(trained, root / folder)
            (root / folder / "weights.pth").touch()
            for path in (root / folder).iterdir():
                path.chmod(0o000)
        (root / "folder").chmod(0o600)
        lines = as_nobody(SCRIPT, root / "file", root / "folder").splitlines()
    assert len(lines) == 6
    for line in lines:
        assert "cannot be read (permission denied); " in line


@pytest.mark.parametrize(
    "content",
    [{"a": 1}, [], "text", {"model_state_dict": 1, "config": {}}, {"config": {"cutoff": 10**400}}, 10**400],
    ids=["mapping", "list", "text", "no config", "large number", "number"],
)
def test_a_pickle_that_is_no_foundation(tmp_path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(FoundationError, match=rf"{path} cannot be read \(.*expected a SevenNet checkpoint"):
        open_sevennet(SevenNetSettings(kind="sevennet", model=str(path)))


@pytest.mark.parametrize("length", [10, 300, 5000])
def test_a_name_that_is_no_name_of_a_file(tmp_path, length):
    assert resolve_path("x" * length, tmp_path) == "x" * length
    with pytest.raises(FoundationError, match="neither a file nor a name"):
        open_sevennet(SevenNetSettings(kind="sevennet", model="x" * length))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise OSError(13, 'Permission denied')", "permission denied"),
        ("def __getattr__(name): raise RuntimeError('made when needed')", "made when needed"),
        ("\udcff", "SyntaxError"),
    ],
)
def test_a_module_that_does_not_import(tmp_path, monkeypatch, source, message):
    name = f"odd_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_bytes(source.encode(errors="surrogateescape"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FoundationError, match=rf"{name}\.Thing cannot be (imported|read) \(.*{message}"):
        resolve(f"{name}.Thing")


def test_a_damaged_model_of_a_calculator_is_another_foundation(tmp_path):
    (tmp_path / "a.model").write_bytes(b"\xff\0")
    path = str(tmp_path / "a.model")
    assert len(identity("ase.calculators.emt.EMT", {"model": path})["arguments"]["model"]["file_sha256"]) == 64
    assert json.dumps(identity("ase.calculators.emt.EMT", {"model": "x" * 5000}))
