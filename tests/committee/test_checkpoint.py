import json
import pickle

import numpy as np
import pytest

from committee.calculator import CommitteeCalculator
from committee.checkpoint import DESCRIPTION, TENSORS, load, save, sealed
from committee.errors import CheckpointError
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.drift import CalibrationScores


@pytest.fixture
def calibration() -> Calibration:
    rng = np.random.default_rng(0)
    sigmas = [rng.uniform(0.01, 0.1, 4) for _ in range(12)]
    return Calibration.fit([2 * s for s in sigmas], sigmas, sigmas, tolerance_eV_per_A=0.2)


def test_round_trip_keeps_every_bit(trained, calibration, backbone, make_crystal, make_methanol, tmp_path):
    frames = [make_crystal(1, amplitude=0.3), make_methanol(2)]
    scores = CalibrationScores((0.1, 0.2), (1.0, 2.0), ("crystal/300K", "crystal/600K"))
    save(trained.with_calibration(calibration, scores), tmp_path / "model")
    opened = load(tmp_path / "model", backbone)
    assert opened.calibration == calibration
    assert opened.calibration_scores == scores
    assert opened.provenance == trained.provenance
    assert opened.settings == trained.settings
    assert opened.shifts == trained.shifts
    for one, two in zip(trained.predict(frames, "exact"), opened.predict(frames, "exact"), strict=True):
        assert one.energy == two.energy
        for name in ("forces", "latent_distance", "forces_ensemble", "features"):
            assert np.array_equal(getattr(one, name), getattr(two, name))


def test_untrained_committee_with_a_prior_round_trips(backbone, make_methanol, tmp_path):
    settings = CommitteeSettings(members=3, hidden_channels=8, prior_scale_eV=0.2)
    potential = CommitteePotential.untrained(backbone, settings, seed=4)
    save(potential, tmp_path / "model")
    opened = load(tmp_path / "model", backbone)
    one, two = (p.predict([make_methanol(0)], "exact")[0] for p in (potential, opened))
    assert np.array_equal(one.forces_uncertainty, two.forces_uncertainty)
    assert two.latent_distance is None


def test_calculator_loads_a_folder(trained, backbone, make_methanol, tmp_path):
    save(trained, tmp_path / "model")
    atoms = make_methanol(0)
    atoms.calc = CommitteeCalculator.load(tmp_path / "model", backbone)
    assert atoms.get_potential_energy() == trained.predict([atoms])[0].energy


def test_saving_again_replaces_and_leaves_nothing_behind(trained, calibration, backbone, tmp_path):
    save(trained, tmp_path / "model")
    save(trained.with_calibration(calibration), tmp_path / "model")
    assert load(tmp_path / "model", backbone).calibration == calibration
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [DESCRIPTION, TENSORS]


def test_a_folder_of_something_else_is_not_replaced(trained, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="another folder"):
        save(trained, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_wrong_foundation_is_refused_by_name(trained, other_backbone, tmp_path):
    save(trained, tmp_path / "model")
    with pytest.raises(CheckpointError, match="trained on test:analytic"):
        load(tmp_path / "model", other_backbone)


def test_foundation_that_is_no_shipped_name_must_be_passed(trained, tmp_path):
    save(trained, tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"runs code.*backbone=load_backbone"):
        load(tmp_path / "model")


def test_a_local_file_with_a_shipped_name_is_not_opened(trained, tmp_path, monkeypatch):
    save(trained, tmp_path / "model")
    edit(tmp_path / "model", lambda d: d["backbone"].update(name="sevennet:7net-0"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7net-0").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="runs code"):
        load(tmp_path / "model")


@pytest.mark.parametrize("size", [0, 8, 100, -1])
def test_truncated_tensors_are_refused(trained, backbone, tmp_path, size):
    save(trained, tmp_path / "model")
    path = tmp_path / "model" / TENSORS
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="SHA-256"):
        load(tmp_path / "model", backbone)


def test_edited_tensors_are_refused(trained, backbone, tmp_path):
    save(trained, tmp_path / "model")
    path = tmp_path / "model" / TENSORS
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load(tmp_path / "model", backbone)


def test_a_pickle_is_never_opened(trained, backbone, tmp_path):
    save(trained, tmp_path / "model")
    (tmp_path / "model" / TENSORS).write_bytes(pickle.dumps(print))
    with pytest.raises(CheckpointError):
        load(tmp_path / "model", backbone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema_version=99), "schema version 99"),
        (lambda d: d.pop("committee"), "cannot be read"),
        (lambda d: d.pop("tensors_sha256"), "SHA-256"),
        (lambda d: d["committee"].update(members=7), "cannot be read"),
        (lambda d: d["committee"].update(surprise=7), "cannot be read"),
        (lambda d: d.update(elements=[1, 6]), "cannot be read"),
        (lambda d: d.update(shifts=None), "cannot be read"),
        (lambda d: d.update(backbone="7net"), "cannot be read"),
        (lambda d: d.update(calibration={"frames": 2}), "keys"),
    ],
)
def test_edited_description_is_refused(trained, backbone, tmp_path, change, message):
    save(trained, tmp_path / "model")
    edit(tmp_path / "model", change)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "model", backbone)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_unreadable_description_is_refused(trained, backbone, tmp_path, text):
    save(trained, tmp_path / "model")
    (tmp_path / "model" / DESCRIPTION).write_text(text)
    with pytest.raises(CheckpointError):
        load(tmp_path / "model", backbone)


def test_missing_folder_is_named(backbone, tmp_path):
    with pytest.raises(CheckpointError, match=r"committee\.json is missing"):
        load(tmp_path / "nowhere", backbone)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["shifts"]["eV_per_atom"].update({"6": -1.0}),
        lambda d: d["provenance"].update(level_of_theory="CCSD(T)"),
        lambda d: d["committee"].update(switch_start=4.0),
        lambda d: d["shifts"].update(residual_spread_eV_per_atom=float("nan")),
        lambda d: d.update(note="mine"),
        lambda d: d.pop("description_sha256"),
    ],
)
def test_a_number_changed_by_hand_is_noticed(trained, backbone, tmp_path, change):
    save(trained, tmp_path / "model")
    edit(tmp_path / "model", change, seal=False)
    with pytest.raises(CheckpointError, match=r"committee\.json was truncated or edited.*restore it or train again"):
        load(tmp_path / "model", backbone)


def edit(folder, change, *, seal=True):
    """Change a description and recompute its checksum."""
    path = folder / DESCRIPTION
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(sealed(description) if seal else description))
