from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from ase.build import molecule

from committee.errors import TrainingDataError
from committee.model.reference_shifts import ReferenceShifts
from committee.settings import TrainingSettings
from committee.training.aligned_levels import align_levels
from committee.training.train import train
from committee.training.training_frame import TrainingFrame, check_frames

NAMES = ["H2", "H2O", "CH4", "CO2", "CH3OH", "CO", "H2O2"]


def numbers(names=NAMES):
    return [molecule(name).numbers for name in names]


def test_planted_shifts_of_500_eV_per_atom_come_back():
    planted = {1: -13.6, 6: 501.25, 8: -517.75}
    frames = numbers()
    fitted = ReferenceShifts.fit(frames, np.array([sum(planted[z] for z in f) for f in frames]))
    for z, shift in planted.items():
        assert abs(fitted.eV_per_atom[z] - shift) < 1e-6 * 500
    assert fitted.undetermined == ()
    assert fitted.warning == ""
    assert fitted.residual_spread_eV_per_atom < 1e-9


def test_one_composition_gives_its_total_and_names_what_is_unknown():
    frames = numbers(["CH3OH"] * 6)
    fitted = ReferenceShifts.fit(frames, np.full(6, 465.0))
    assert abs(fitted.total_eV(frames[0]) - 465.0) < 1e-6 * 465
    assert set(fitted.undetermined) == {"H", "C", "O"}
    assert "C" in fitted.warning


def test_only_inseparable_elements_are_named():
    frames = numbers(["H2", "CO", "CO", "H2"])
    fitted = ReferenceShifts.fit(frames, np.array([2.0, 7.0, 7.0, 2.0]))
    assert set(fitted.undetermined) == {"C", "O"}
    assert fitted.eV_per_atom[1] == pytest.approx(1.0)


def test_residual_spread_is_what_the_shifts_leave():
    frames = numbers(["H2O"] * 2)
    fitted = ReferenceShifts.fit(frames, np.array([3.0, 9.0]))
    assert fitted.total_eV(frames[0]) == pytest.approx(6.0)
    assert fitted.residual_spread_eV_per_atom == pytest.approx(1.0)


def test_nan_and_nothing_are_refused():
    with pytest.raises(TrainingDataError, match="finite"):
        ReferenceShifts.fit(numbers(["H2"]), np.array([np.nan]))
    with pytest.raises(TrainingDataError, match="received 0 frames"):
        ReferenceShifts.fit([], np.array([]))


def test_the_prior_decides_only_what_the_compositions_leave_open():
    true = {1: -13.6, 6: 501.25, 8: -517.75}
    prior = {1: -13.0, 6: 500.0, 8: -518.0, 7: 3.0}
    frames = numbers(["CH3OH"] * 4)
    fitted = ReferenceShifts.fit(frames, np.array([sum(true[z] for z in f) for f in frames]), prior)
    assert fitted.total_eV(frames[0]) == pytest.approx(sum(true[z] for z in frames[0]))
    assert all(abs(fitted.eV_per_atom[z] - true[z]) < 1.5 for z in true)
    assert fitted.eV_per_atom[7] == 3.0
    assert set(fitted.undetermined) == {"H", "C", "O"}
    known = numbers()
    planted = np.array([sum(true[z] for z in f) for f in known])
    assert ReferenceShifts.fit(known, planted, prior).eV_per_atom[6] == pytest.approx(true[6])


def test_elements_without_a_prior_take_what_those_with_one_leave():
    true = {1: -13.6, 6: -1029.5}
    frames = numbers(["CH4"] * 3)
    planted = np.array([sum(true[z] for z in f) for f in frames])
    fitted = ReferenceShifts.fit(frames, planted, {6: -1029.5})
    assert fitted.eV_per_atom == pytest.approx(true, abs=1e-3)
    both = numbers(["CH4", "C2H6", "CH4"])
    planted = np.array([sum(true[z] for z in f) for f in both])
    assert ReferenceShifts.fit(both, planted, {6: 900.0}).eV_per_atom == pytest.approx(true)


@pytest.mark.parametrize(
    ("known", "composition", "determined"),
    [
        ([], "CH4", False),
        (["CH4"], "CH4", True),
        (["CH4"], "C2H6", False),
        (["CH4", "C2H6"], "C2H4", True),
        (["CH4", "C2H6"], "CH3OH", False),
    ],
)
def test_which_sums_of_shifts_are_determined(known, composition, determined):
    assert ReferenceShifts.determined(numbers(known), numbers([composition])[0]) is determined


def level_frames(level, names, shifts, energies, rng):
    """Labels whose energies differ from the foundation's by shifts and 5 meV per atom."""
    frames = []
    for i, (name, energy) in enumerate(zip(names, energies, strict=True)):
        atoms = molecule(name)
        total = energy + sum(shifts[z] for z in atoms.numbers) + rng.normal(0, 0.005) * len(atoms)
        frames.append(TrainingFrame(f"{level}{i}", atoms, total, level_of_theory=level))
    return frames


def test_levels_lose_shifts_of_their_own():
    rng = np.random.default_rng(0)
    names = NAMES * 3
    foundation = rng.normal(-20, 1, 2 * len(names))
    main = level_frames("main", names, {1: -13, 6: -1030, 8: -2040}, foundation[: len(names)], rng)
    other = level_frames("other", names, {1: 0.5, 6: 1.5, 8: -500}, foundation[len(names) :], rng)
    aligned = align_levels([*main, *other], foundation, "main")
    assert aligned.frames[: len(main)] == main
    for frame, energy in zip(aligned.frames[len(main) :], foundation[len(main) :], strict=True):
        assert frame.aligned
        assert abs(frame.energy_eV - energy) / len(frame.atoms) < 0.02
    assert aligned.shifts["other"].eV_per_atom[8] == pytest.approx(-500, abs=0.05)
    check_frames(aligned.frames, {1, 6, 8})
    water = other[1 :: len(NAMES)]
    prior = {"other": {1: 0.4, 8: -500.2, 7: 3.0}}
    energies = [foundation[0], *foundation[len(names) + 1 :: len(NAMES)]]
    found = align_levels([main[0], *water], energies, "main", prior).shifts["other"].eV_per_atom
    assert found[7] == 3.0
    assert [found[z] for z in (1, 8)] == pytest.approx([0.5, -500.0], abs=0.2)  # a minimum norm would split it evenly
    with pytest.raises(TrainingDataError, match=r"main0 is 'main'.*align\.other_labels"):
        check_frames([*main, *other], {1, 6, 8})


def test_a_committee_learns_from_two_levels_and_serves_the_zero_of_the_main_one(
    backbone, settings, make_methanol, make_frames, tmp_path
):
    frames = make_frames([make_methanol(seed) for seed in range(16)])
    main = [replace(frame, level_of_theory="main") for frame in frames[:2]]
    other = [replace(frame, energy_eV=frame.energy_eV + 7000.0, level_of_theory="other") for frame in frames[2:12]]
    energies = [float(backbone.evaluate([frame.atoms]).energy[0].detach()) for frame in [*main, *other]]
    given = align_levels([*main, *other], energies, "main").frames
    training = TrainingSettings(epochs=150, validation_fraction=0.2)
    learn = partial(train, backbone, committee=settings, training=training, seed=1)  # two levels held out too
    both = learn(given, cache_folder=tmp_path / "both")
    alone = learn(main, cache_folder=tmp_path / "alone")
    assert both.provenance.level_of_theory == "main"

    def errors(potential):
        found = potential.predict([frame.atoms for frame in frames[12:]])
        energy = [abs(p.energy - f.energy_eV) / 6 for p, f in zip(found, frames[12:], strict=True)]
        force = [np.abs(p.forces - f.forces_eV_per_A).mean() for p, f in zip(found, frames[12:], strict=True)]
        return np.mean(energy), np.mean(force)

    assert errors(both)[0] < 0.02
    assert errors(both)[1] < errors(alone)[1]
