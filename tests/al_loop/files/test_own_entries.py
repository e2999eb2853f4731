"""A user's own entries through every file of ours and the ledger's bytes: what was written is what is read."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms, FixCartesian, FixedLine
from ase.io import read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from al_loop.errors import InputError
from al_loop.files import aselmdb, extxyz
from al_loop.files.text.extxyz_text import frame_text
from al_loop.files.text.written_entries import read_entries, restore_constraints
from al_loop.frames.codec import pack_atoms, unpack_atoms, unpack_entries
from al_loop.frames.own_entries import OwnEntries, check_entries, entries_of
from al_loop.records import Frame
from al_loop.utils.plain_json import same
from dft_interfaces.label import Label, LabelStatus

QUICK = settings(
    max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
ATOMS = 3
ASES_OWN = ["energy", "stress", "virial", "forces", "charge", "magmoms", "Lattice", "Properties", "pbc", "move_mask"]
ASES_OWN += ["uid", "REF_energy", "al_loop", "al_loop_entries", "species", "Z", "pos", "tags", "comment", "masses0"]
ASES_OWN += ["step", "1", "", "a b", "a=b", "é"]
LOOKS_LIKE = ["1", "1.5", "T", "F", "true", "1 2 3", "T F", "nan", "inf", "1_0", "None", "null", "_JSON [1]", "_JSON x"]
LOOKS_LIKE += ["[1, 2]", "{a}", "a=b", 'he said "no"', "it's", "back\\slash", "\\", "two\nlines", "\t", " a ", "Å", ""]

KEYS = st.sampled_from(ASES_OWN) | st.text(max_size=6) | st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
TEXTS = st.sampled_from(LOOKS_LIKE) | st.text(max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXTS
    | st.integers(-100, 100).flatmap(lambda n: st.sampled_from([np.int8(n), np.int64(n), np.float32(n / 7)]))
    | st.sampled_from([np.bool_(True), np.str_("a b"), np.uint64(2**64 - 1), np.float16(0.1)])
)
DTYPES = st.sampled_from(["i1", "i8", "u1", "u8", "f4", "f8", "?", "U3"])


def arrays(first: st.SearchStrategy[tuple[int, ...]]) -> st.SearchStrategy[np.ndarray]:
    return st.tuples(DTYPES, first).flatmap(lambda made: arrays_of.arrays(made[0], made[1]))


SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
VALUES = st.recursive(
    SCALARS | arrays(SHAPES),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OF_ATOMS = arrays(SHAPES.map(lambda shape: (ATOMS, *shape[:2])))
ENTRIES = st.builds(OwnEntries, st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, OF_ATOMS, max_size=4))


def structure() -> Atoms:
    atoms = Atoms("Cu2O", [[0, 0, 0], [2, 0, 0.1], [0, 1 / 3, 0]], info={"charge": np.int64(-1), "spin": 2})
    atoms.set_masses([63, 65, 16])
    return atoms


def through_text(entries: OwnEntries) -> OwnEntries:
    text = frame_text(structure(), {"step": 5, "energy": -1.5}, {"forces": np.ones((3, 3))}, entries)
    assert text.isascii()
    assert text.count("\n") == ATOMS + 2
    atoms = read(io.StringIO(text), format="extxyz")
    assert (atoms.info["charge"], atoms.info["spin"], atoms.get_potential_energy()) == (-1, 2, -1.5)
    np.testing.assert_array_equal(atoms.positions, structure().positions)
    np.testing.assert_array_equal(atoms.get_masses(), [63, 65, 16])
    return read_entries(atoms, "a frame")


def through_ledger(entries: OwnEntries) -> OwnEntries:
    data = pack_atoms(structure(), entries)
    assert set(unpack_atoms(data).arrays) == {"numbers", "positions", "masses"}  # the loop never sees them
    return unpack_entries(data)


def equal(one: OwnEntries, two: OwnEntries) -> bool:
    return all(
        a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        for a, b in ((one.info, two.info), (one.arrays, two.arrays))
    )


@QUICK
@given(ENTRIES)
@pytest.mark.parametrize("through", [through_text, through_ledger])
def test_any_entry_comes_back(through: Callable[[OwnEntries], OwnEntries], entries: OwnEntries) -> None:
    found = through(entries)
    assert equal(found, entries), (entries, found)


@settings(QUICK, max_examples=25)
@given(st.lists(ENTRIES, min_size=4, max_size=4))
def test_any_entry_comes_back_from_an_aselmdb_file(
    tmp_path_factory: pytest.TempPathFactory, several: list[OwnEntries]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.aselmdb"
    label = Label(LabelStatus.CONVERGED, "level", -1.5, np.ones((3, 3)))
    aselmdb.write_rows(
        path, [Frame("0", structure(), label=label, provenance={"round": 1}, entries=entries) for entries in several]
    )
    for (atoms, known), entries in zip(aselmdb.frames(path), several, strict=True):
        assert (known, atoms.info["charge"], atoms.info["spin"], atoms.info["energy"]) == ({"round": 1}, -1, 2, -1.5)
        found = read_entries(atoms, "a row")
        assert equal(found, entries), (entries, found)


def test_what_ase_can_express_stands_as_ase_expects_it() -> None:
    info = {"id": "mp-1", "note": "two words", "flag": False, "none": None, "kpts": [3, 3, 3], "number": "17"}
    own = {"tags": np.array([0, 1, 2]), "site": np.array(["a", "b", "c"]), "born": np.arange(27.0).reshape(3, 3, 3)}
    atoms = read(io.StringIO(frame_text(structure(), entries=OwnEntries(info, own))), format="extxyz")
    assert atoms.get_tags().tolist() == [0, 1, 2]
    assert atoms.arrays["site"].tolist() == ["a", "b", "c"]
    assert atoms.arrays["born"].shape == (3, 9)
    found = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in atoms.info.items()}
    assert {key: found[key] for key in info} == info


def test_what_a_user_edits_afterwards_counts() -> None:
    text = frame_text(structure(), entries=OwnEntries({"kpts": [3, 3, 3], "run": (1, 2)}, {"n": np.ones((3, 1))}))
    atoms = read(io.StringIO(text), format="extxyz")
    atoms.info["kpts"] = np.array([4, 4, 4])
    del atoms.info["run"]
    atoms.arrays["n"] = np.array([1.0, 2.0, 3.0])
    found = read_entries(atoms, "a frame")
    assert found.info.keys() == {"kpts"}
    assert found.info["kpts"].tolist() == [4, 4, 4]
    assert found.arrays["n"].tolist() == [[1.0], [2.0], [3.0]]


def test_entries_of_atoms_that_are_no_longer_the_same_are_refused() -> None:
    text = frame_text(structure(), entries=OwnEntries({}, {"words": np.array(["a b", "", "c"])}))
    atoms = read(io.StringIO(text), format="extxyz")[[2, 0, 1]]
    with pytest.raises(InputError, match="OCu2, but al_loop_entries holds arrays of Cu2O"):
        read_entries(atoms, "frame 7")


@pytest.mark.parametrize("value", [1j, object(), {1, 2}, b"bytes", np.array([1j]), {"a": [object()]}, {(1, 2): 3}])
def test_what_no_file_can_hold_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InputError, match=r"s\.xyz, structure 3: atoms\.info\['odd'\] is or holds"):
        check_entries(OwnEntries({"fine": 1, "odd": value}), "s.xyz, structure 3")
    with pytest.raises(InputError, match=r"atoms\.info\['odd'\]"):
        frame_text(structure(), entries=OwnEntries({"odd": value}))


def test_labels_results_and_our_own_notes_are_nobodys_entries() -> None:
    atoms = structure()
    atoms.info |= {"REF_energy": 1.0, "virial": np.eye(3), "energy": 1.0, "dft_energy": 2.0, "al_loop": {"round": 1}}
    atoms.arrays |= {"REF_forces": np.ones((3, 3)), "forces_uncertainty": np.ones((3, 3)), "mine": np.ones(3)}
    found = entries_of(atoms, ("dft_energy",))
    assert (list(found.info), list(found.arrays)) == ([], ["mine"])
    text = frame_text(atoms, {"verdict": "suspect"}, {"alarm": np.array([0, 1, 0])}, OwnEntries({"verdict": "guilty"}))
    again = read_entries(read(io.StringIO(text), format="extxyz"), "a frame")
    assert (dict(again.info), dict(again.arrays)) == ({"verdict": "guilty"}, {})


CONSTRAINTS = {
    "atoms": [FixAtoms([0, 2])],
    "components": [FixCartesian([1], [True, False, True])],
    "both": [FixAtoms([0]), FixCartesian([1, 2], [False, False, True])],
    "line": [FixAtoms([0]), FixedLine(2, [0, 0, 2])],
}


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("ending", ["extxyz", "aselmdb"])
def test_constraints_masses_and_moments_come_back(tmp_path: Path, name: str, ending: str) -> None:
    atoms = structure()
    atoms.set_constraint(CONSTRAINTS[name])
    atoms.set_initial_magnetic_moments([[0.1, 0, 1 / 3], [0, 0, 0], [-1, 2, 0.3]])
    path = tmp_path / f"frames.{ending}"
    if ending == "extxyz":
        with path.open("w") as file:
            extxyz.write_frame(file, Frame("0", atoms))
        fixed = {int(index) for one in read(path).constraints for index in one.index}  # what ASE alone makes of it
        assert fixed == {"line": {0}, "atoms": {0, 2}}.get(name, {0, 1, 2})
    else:
        aselmdb.write_rows(path, [Frame("0", atoms)])
    ((found, _),) = (extxyz if ending == "extxyz" else aselmdb).frames(path)
    assert [one.todict() for one in found.constraints] == [one.todict() for one in atoms.constraints]
    np.testing.assert_array_equal(found.get_masses(), atoms.get_masses())
    np.testing.assert_array_equal(found.get_initial_magnetic_moments(), atoms.get_initial_magnetic_moments())


def test_a_move_mask_that_was_edited_counts() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint([FixCartesian([1], [True, False, False]), FixCartesian([2], [True, True, False])])
    found = read(io.StringIO(frame_text(atoms)), format="extxyz")
    found.set_constraint(FixAtoms([0]))
    restore_constraints(found, "a frame")
    assert [one.todict() for one in found.constraints] == [FixAtoms([0]).todict()]


@pytest.mark.parametrize(
    "text", ["3", '"_JSON [1]"', '"_JSON {\\"info\\": 3}"', '"_JSON {\\"types\\": {\\"pos\\": 1}}"']
)
def test_notes_that_are_not_ours_are_refused(text: str) -> None:
    atoms = read(io.StringIO(f"1\nProperties=species:S:1:pos:R:3 al_loop_entries={text}\nCu 0 0 0\n"), format="extxyz")
    with pytest.raises(InputError, match=r"f\.xyz, frame 0: al_loop_entries"):
        read_entries(atoms, "f.xyz, frame 0")
