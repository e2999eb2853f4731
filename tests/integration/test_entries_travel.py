"""What a user's file says of its frames, from label through train, predict, import and export to label again."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms, FixedLine
from ase.db import connect
from ase.io import read, write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import StoreSettings
from al_loop.files.text.extxyz_text import frame_text
from al_loop.files.text.written_entries import read_entries, restore_constraints
from al_loop.frames.own_entries import OwnEntries
from al_loop.ledger import open_ledger
from al_loop.records import Role
from al_loop.utils.plain_json import same

CONFIG = """
name: nitrite
folder: run
foundation: {kind: sevennet, model: 7net-0}
committee: {members: 2, hidden_channels: 8}
train: {epochs: 2}
systems: [{file: start.xyz}]
explore: {temperatures_K: [300]}
label: {workers: 0, engine: {engine: tblite}}
"""
NASTY = {
    "id": np.int64(7),
    "score": np.float32(0.1),
    "flag": np.bool_(False),
    "nothing": None,
    "words": 'he said "no" \\ {a=b}\nÅ',
    "looks_like": "1 2 3",
    "tree": {"a": [1, {"b": None}], "c": [[1, 2], [3]]},
    "empty": np.zeros((0, 3), int),
    "names": np.array(["a b", ""]),
    "range": np.array([np.inf, -0.0, np.nan]),
    "a b": (1, "x"),
    "total_charge_from": "paper",
}
OF_ATOMS = {
    "tags": np.array([0, 1, 2]),
    "site": np.array(["N1", "O1", "O2"]),
    "note": np.array(["two words", "", "é"]),
    "mask": np.array([True, False, True]),
    "tensor": np.arange(27.0).reshape(3, 3, 3) / 7,
    "big": np.array([2**40, 1, 2]),
}


def al_loop(*words: object) -> str:
    result = CliRunner().invoke(app, [*map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def nitrites() -> list[Atoms]:
    frames = []
    for shift in (0.0, 0.03):
        atoms = Atoms("NO2", [[0, shift, 0.45 + shift], [1.06 + shift, 0, -0.2], [-1.06, shift / 3, -0.2]])
        atoms.info |= {"charge": -1, "spin": 1}
        atoms.set_masses([15, 18, 16])
        atoms.set_initial_magnetic_moments([0.0, 0.1, -0.1])
        atoms.set_constraint([FixAtoms([0]), FixedLine(2, [0, 0, 1])])
        frames.append(atoms)
    return frames


def check(path: Path) -> None:
    """The file holds both frames with everything that the user's file said, and nothing of older labels."""
    found = read(path, ":")
    assert len(found) == 2
    for atoms in found:
        (given,) = [one for one in nitrites() if np.array_equal(one.positions, atoms.positions)]
        entries = read_entries(atoms, str(path))
        for mine, theirs in ((NASTY, entries.info), (OF_ATOMS, entries.arrays)):
            assert theirs.keys() == mine.keys()
            assert [key for key in mine if not same(mine[key], theirs[key])] == []
        assert (atoms.info["charge"], atoms.info["spin"]) == (-1, 1)
        restore_constraints(atoms, str(path))
        assert [one.todict() for one in atoms.constraints] == [one.todict() for one in given.constraints]
        np.testing.assert_array_equal(atoms.get_masses(), given.get_masses())
        np.testing.assert_array_equal(atoms.get_initial_magnetic_moments(), given.get_initial_magnetic_moments())
        assert atoms.info["REF_energy"] < -200  # not what stood in the user's file
        assert np.abs(atoms.arrays["REF_forces"]).max() < 50
        assert atoms.calc is None


@pytest.mark.parametrize("ending", ["extxyz", "aselmdb"])
def test_what_a_file_says_survives_every_step(
    store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setenv("MONGODB_URI", str(store.uri))
    write(tmp_path / "start.xyz", nitrites()[0], format="extxyz")
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG)
    old = {"REF_energy": 99.0, "energy": 98.0, "al_loop": {"round": 3}}
    forces = {"REF_forces": np.full((3, 3), 99.0), "forces": np.full((3, 3), 98.0)}
    (tmp_path / "mine.extxyz").write_text(
        "".join(frame_text(atoms, old, forces, OwnEntries(NASTY, OF_ATOMS)) for atoms in nitrites())
    )
    first = tmp_path / "first.extxyz"
    al_loop("label", tmp_path / "mine.extxyz", "--engine", config, "--to", first)
    check(first)
    told = read(first, 0).info["al_loop"]
    level = told["level_of_theory"]
    assert "round" not in told
    if ending == "extxyz":
        trained = al_loop("train", first, "--foundation", config, "--to", tmp_path / "model", "--no-check", "--json")
        assert json.loads(trained)["frames"] == 2
        assert json.loads(al_loop("predict", first, "--foundation", "sevennet:7net-0", "--json"))["frames"] == 2
    with open_ledger(store, tmp_path, "nitrite") as ledger:
        ledger.start_campaign({"level_of_theory": {"fingerprint": level, "summary": "x"}})
        assert "2 labels, 2 of them new" in al_loop("import", config, first, "--no-check")
        assert {key for one in ledger.labelled([Role.EXPLORE]) for key in one.atoms.info} == {"charge", "spin"}
    exported = tmp_path / f"exported.{ending}"
    al_loop("export", config, "--to", exported)
    if ending == "extxyz":
        check(exported)
    else:
        with connect(exported, type="aselmdb", readonly=True, use_lock_file=False) as rows:
            data = [row.data for row in rows.select()]
        assert [(one["charge"], one["spin"], one["id"], one["looks_like"]) for one in data] == [(-1, 1, 7, "1 2 3")] * 2
    again = tmp_path / "again.extxyz"
    al_loop("label", exported, "--engine", config, "--to", again)
    check(again)
    assert "campaign" not in read(again, 0).info["al_loop"]
    said = al_loop("import", config, exported, "--no-check")
    assert "0 of them new" in said
    assert "already stored" not in said
    edited = read(first, ":")
    for atoms in edited:
        atoms.info["id"] = 8
    (tmp_path / "edited.extxyz").write_text("".join(frame_text(a, {k: a.info[k] for k in ("REF_energy", "al_loop")},
        {"REF_forces": a.arrays["REF_forces"]}, OwnEntries({"id": 8}, {})) for a in edited))  # fmt: skip
    assert "2 of these frames were already" in al_loop("import", config, tmp_path / "edited.extxyz", "--no-check")
