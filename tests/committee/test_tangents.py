from functools import partial

import numpy as np
import pytest

from committee.errors import TrainingDataError
from committee.model.tangents import VOIGT, cached_tangents, compute_tangents, structure_hash


def test_tangents_are_finite_differences_of_the_features(backbone, make_crystal, make_methanol):
    for atoms in (make_crystal(1), make_methanol(2)):
        entry = compute_tangents(backbone, [atoms])[0]
        assert len(entry.tangents) == 3 * len(atoms) + 6 * bool(atoms.pbc.all())
        for i, axis in ((0, 1), (3, 2)):
            difference = _difference(backbone, partial(_moved, atoms, i, axis))
            np.testing.assert_allclose(entry.tangents[3 * i + axis], difference, atol=2e-6)


def test_strain_tangents_are_finite_differences(backbone, make_crystal):
    atoms = make_crystal(1)
    entry = compute_tangents(backbone, [atoms])[0]
    for j, (row, column) in enumerate(VOIGT):
        difference = _difference(backbone, partial(_strained, atoms, row, column))
        np.testing.assert_allclose(entry.tangents[3 * len(atoms) + j], difference, atol=2e-6)


def test_frames_of_one_batch_do_not_mix(backbone, make_methanol):
    frames = [make_methanol(i) for i in range(3)]
    for atoms, entry in zip(frames, compute_tangents(backbone, frames), strict=True):
        alone = compute_tangents(backbone, [atoms])[0]
        np.testing.assert_allclose(entry.tangents, alone.tangents, atol=1e-7)
        np.testing.assert_allclose(entry.forces, alone.forces, atol=1e-6)
        assert float(entry.energy) == pytest.approx(float(alone.energy))


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "..", "a/b", "round-000/../../../x", ""])
def test_no_id_leads_out_of_the_cache(backbone, make_methanol, tmp_path, name):
    with pytest.raises(TrainingDataError, match="name of a file"):
        cached_tangents(backbone, [(name, make_methanol(0))], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cache_spares_the_foundation(backbone, make_crystal, make_methanol, tmp_path):
    frames = [("a", make_methanol(0)), ("b", make_crystal(0)), ("c", make_methanol(1))]
    done = []
    first = cached_tangents(backbone, frames, tmp_path, progress=lambda *args: done.append(args))
    assert done[-1] == (3, 3)
    calls = backbone.calls
    again = cached_tangents(backbone, frames, tmp_path)
    assert backbone.calls == calls
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.tangents, two.tangents)
        assert one.structure == two.structure
    assert sorted(p.name for p in (tmp_path / backbone.fingerprint).iterdir()) == ["a.npz", "b.npz", "c.npz"]


@pytest.mark.parametrize("damage", ["truncate", "garble", "empty", "not-npz"])
def test_damaged_entry_is_computed_again(backbone, make_methanol, tmp_path, damage):
    frames = [("a", make_methanol(0))]
    good = cached_tangents(backbone, frames, tmp_path)[0]
    path = tmp_path / backbone.fingerprint / "a.npz"
    content = bytearray(path.read_bytes())
    if damage == "garble":
        content[len(content) // 2] ^= 0xFF
    path.write_bytes({"truncate": content[:-200], "garble": content, "empty": b"", "not-npz": b"hello"}[damage])
    calls = backbone.calls
    again = cached_tangents(backbone, frames, tmp_path)[0]
    assert backbone.calls == calls + 1
    np.testing.assert_array_equal(again.tangents, good.tangents)


def test_an_id_given_to_another_structure_is_noticed(backbone, make_methanol, tmp_path):
    cached_tangents(backbone, [("a", make_methanol(0))], tmp_path)
    other = cached_tangents(backbone, [("a", make_methanol(1))], tmp_path)[0]
    np.testing.assert_array_equal(other.tangents, compute_tangents(backbone, [make_methanol(1)])[0].tangents)


def test_structure_hash_sees_charge_cell_and_order(make_crystal):
    atoms = make_crystal(0)
    charged, strained = atoms.copy(), atoms.copy()
    charged.info["charge"] = 1
    strained.set_cell(atoms.cell * 1.001)
    hashes = {structure_hash(a) for a in (atoms, charged, strained, atoms[::-1])}
    assert len(hashes) == 4
    assert structure_hash(atoms) == structure_hash(atoms.copy())


def _difference(backbone, at):
    plus, minus = backbone.evaluate([at(1e-5)]), backbone.evaluate([at(-1e-5)])
    return ((plus.features - minus.features) / 2e-5).detach().numpy()


def _moved(atoms, i, axis, step):
    moved = atoms.copy()
    moved.positions[i, axis] += step
    return moved


def _strained(atoms, row, column, step):
    strain = np.zeros((3, 3))
    strain[row, column] += step / 2
    strain[column, row] += step / 2
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return strained
