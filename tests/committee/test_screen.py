"""The screen: its miss rate, its false-alarm rate, and exact values at confirmations."""

from dataclasses import fields

import numpy as np
import pytest

from committee.uncertainty.calibration import Calibration
from committee.uncertainty.score import MEAN_OVER_ATOMS, mean_of_largest
from committee.uncertainty.screen import ForceScreen

MEMBERS = 8


def factors(rng: np.random.Generator, sigma: np.ndarray, rank: int) -> np.ndarray:
    """Deviations (K - 1, n, 3) of independent directions that give each atom this uncertainty, eV/Å."""
    raw = rng.normal(size=(rank, len(sigma), 3))
    raw *= sigma[:, None] / np.sqrt(np.square(raw).sum((0, 2)))[:, None]
    return raw


def probe(rng: np.random.Generator, deviations: np.ndarray) -> np.ndarray:
    return np.square(np.tensordot(rng.standard_normal(len(deviations)), deviations, 1)).sum(-1)


class Screen(ForceScreen):
    """Check with latent distances of 1."""

    def check(self, squares, latent_distance=None):
        return super().check(squares, np.ones(len(squares)) if latent_distance is None else latent_distance)

    def confirmed(self, sigma, latent_distance=None):
        super().confirmed(sigma, np.ones(len(sigma)) if latent_distance is None else latent_distance)


def trusted_screen(**settings) -> Screen:
    """A screen after a first exact value below its threshold of 1 eV/Å."""
    screen = Screen(1.0, **settings)
    screen.confirmed(np.zeros(1))
    return screen


def at_threshold(kind: str, rng: np.random.Generator, step: int) -> np.ndarray:
    """As many atoms at the threshold as a frame's uncertainty counts, the others below, with several shapes."""
    sigma = np.append(np.full(4, 0.1), np.ones(MEAN_OVER_ATOMS))
    rank = {"one direction": 1, "many directions": MEMBERS - 1, "changing": (1, 2, MEMBERS - 1)[step % 3]}[kind]
    return factors(rng, sigma, rank)


@pytest.mark.parametrize("kind", ["one direction", "many directions", "changing"])
@pytest.mark.parametrize(("window", "miss"), [(40, 0.01), (20, 0.05)])
def test_a_frame_above_the_threshold_is_missed_as_seldom_as_stated(kind, window, miss):
    """At the threshold itself, the worst case, over the whole window; statistical noise of the count: 4 sigma."""
    rng = np.random.default_rng(1)
    trials, missed = 400, 0
    for _ in range(trials):
        screen = trusted_screen(window=window, miss_probability=miss)
        fixed = at_threshold(kind, rng, 0)
        missed += not any(
            screen.check(probe(rng, at_threshold(kind, rng, step) if kind == "changing" else fixed))
            for step in range(window)
        )
    assert missed <= trials * miss + 4 * np.sqrt(trials * miss)
    if kind == "one direction":  # there the quantile is exact: the miss rate must not be lower either
        assert missed >= trials * miss - 4 * np.sqrt(trials * miss)


def test_what_came_before_does_not_hide_an_excursion():
    """The window slides: wherever an excursion of its length begins, the last sum is of the excursion alone."""
    rng = np.random.default_rng(2)
    missed = 0
    for quiet in range(300):
        screen = trusted_screen()
        low, high = (factors(rng, np.array([s]), 1) for s in (0.2, 1.0))
        for _ in range(quiet % 60):
            assert not screen.check(probe(rng, low))
        missed += not any(screen.check(probe(rng, high)) for _ in range(screen.window))
    assert missed <= 3 + 4 * np.sqrt(3)


@pytest.mark.parametrize(
    ("height", "rank", "checks"), [(2.0, 1, 16), (5.0, 1, 7), (2.0, MEMBERS - 1, 9), (5.0, MEMBERS - 1, 3)]
)
def test_far_excursions_are_found_early(height, rank, checks):
    """In 99 of 100 cases, as docs/how-it-works.md states; one direction of disagreement is the worst case."""
    rng = np.random.default_rng(3)
    delays = []
    for _ in range(300):
        screen = trusted_screen()
        low, high = (factors(rng, np.full(20, s), rank) for s in (0.3, height))
        for _ in range(50):
            screen.check(probe(rng, low))
        delays.append(next(step for step in range(1, 100) if screen.check(probe(rng, high))))
    assert np.quantile(delays, 0.99) <= checks


def run(rng: np.random.Generator, screen: Screen, sigma: float, checks: int, n_atoms: int = 64) -> int:
    """Count exact values over several checks at this uncertainty."""
    before = screen.confirmations
    for _ in range(checks):
        if screen.check(probe(rng, factors(rng, np.full(n_atoms, sigma), 3))):
            screen.confirmed(np.full(n_atoms, sigma))
    return screen.confirmations - before


def test_well_inside_the_threshold_no_exact_value_is_needed():
    assert run(np.random.default_rng(4), trusted_screen(), sigma=0.5, checks=2000) <= 2


def test_close_to_the_threshold_one_per_window():
    screen = trusted_screen()
    assert 40 <= run(np.random.default_rng(5), screen, sigma=0.95, checks=40 * 50) <= 52
    assert screen.checks == 40 * 50 + 1


@pytest.mark.parametrize("n_atoms", [1, 64])
def test_false_alarms_are_as_rare_as_stated(n_atoms):
    """All atoms at the threshold, windows that never fill; one atom with one direction is the case of equality."""
    rng, alarms, checks = np.random.default_rng(6), 0, 0
    for _ in range(400):
        screen = trusted_screen(false_alarm_probability=0.01)
        for _ in range(10):
            checks += 1
            if screen.check(probe(rng, factors(rng, np.ones(n_atoms), 1))):
                alarms += 1
                break
    assert alarms <= 0.01 * checks + 4 * np.sqrt(0.01 * checks)
    if n_atoms == 1:
        assert alarms >= 0.001 * checks


def test_first_check_and_those_after_a_bad_value_are_exact():
    screen = Screen(1.0)
    assert screen.needs_exact
    assert screen.check(np.zeros(2))
    screen.confirmed(np.array([0.1, 2.0]))
    assert screen.needs_exact
    screen.confirmed(np.array([0.1, 1.8]))
    assert not screen.needs_exact
    assert not screen.check(np.zeros(2))
    screen.restart()
    assert screen.needs_exact
    screen.confirmed(np.array([0.1, np.nan]))
    assert screen.needs_exact
    assert (screen.checks, screen.confirmations) == (4, 3)


def test_nan_needs_the_exact_value():
    assert trusted_screen().check(np.array([0.0, np.nan]))


def test_bound_holds_with_its_confidence_and_is_below_the_threshold_where_the_screen_passes():
    rng = np.random.default_rng(7)
    below, trials = 0, 600
    for _ in range(trials):
        screen = trusted_screen(window=20, miss_probability=0.05)
        deviations = factors(rng, np.array([0.5]), 1)
        for _ in range(19):
            screen.check(probe(rng, deviations))
            assert screen.relative_bound is None
        passed = not screen.check(probe(rng, deviations))
        assert passed == bool(screen.relative_bound[0] <= 1.0)
        below += bool(screen.relative_bound[0] < 0.5)
    assert below <= 0.05 * trials + 4 * np.sqrt(0.05 * trials)


def calibration(trust_threshold: float | None) -> Calibration:
    plain = {field.name: None for field in fields(Calibration)}
    return Calibration(**(plain | {"tolerance_eV_per_A": 0.1, "trust_threshold": trust_threshold}))


def test_the_screen_trusts_what_the_calibration_trusts():
    """For each frame an exact value passes the screen if and only if the frame's uncertainty is below the threshold."""
    known = calibration(0.08)
    rng = np.random.default_rng(8)
    passed = []
    for n_atoms in rng.integers(1, 40, 300):
        sigma, latent = rng.uniform(0.0, 0.1, n_atoms), rng.uniform(0.05, 3.0, n_atoms)
        screen = ForceScreen.from_calibration(known)
        screen.confirmed(sigma, latent)
        passed.append(not screen.needs_exact)
        assert passed[-1] == (known.frame_uncertainty(sigma, latent) <= known.trust_threshold)
    assert 50 < sum(passed) < 250


def test_where_no_frame_can_be_trusted_every_check_is_exact():
    screen = Screen.from_calibration(calibration(0.0))
    screen.confirmed(np.full(3, 1e-6))
    assert screen.needs_exact


def test_threshold_follows_the_latent_distance_between_checks():
    """The same probes pass near the training frames and fail far from them."""
    screen = Screen.from_calibration(calibration(0.08), window=10)
    near, far = np.ones(2), np.array([1.0, 60.0])
    screen.confirmed(np.zeros(2))
    squares = np.full(2, 0.02**2)
    assert not any(screen.check(squares, near) for _ in range(12))
    assert any(screen.check(squares, far) for _ in range(10))


def test_uncalibrated_committee_is_refused():
    for known in (None, calibration(None)):
        with pytest.raises(ValueError, match="needs a calibrated committee"):
            ForceScreen.from_calibration(known)


def test_probes_follow_their_seed_and_have_the_right_size():
    one, two, other = (ForceScreen(1.0, seed=s) for s in (3, 3, 4))
    first = one.draw(MEMBERS)
    assert np.array_equal(first, two.draw(MEMBERS))
    assert not np.allclose(first, other.draw(MEMBERS))
    squares = np.array([np.square(one.draw(MEMBERS)) for _ in range(2000)])
    assert squares.mean() == pytest.approx(1 / (MEMBERS - 1), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trust_threshold_eV_per_A": 0.0}, "positive number, received 0.0"),
        ({"trust_threshold_eV_per_A": float("nan")}, "positive number, received nan"),
        ({"trust_threshold_eV_per_A": 1.0, "window": 0}, "at least 1 check, received 0"),
        ({"trust_threshold_eV_per_A": 1.0, "miss_probability": 0.0}, "miss_probability"),
    ],
)
def test_invalid_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ForceScreen(**arguments)


def test_another_number_of_atoms_is_refused():
    screen = trusted_screen()
    screen.check(np.zeros(3))
    with pytest.raises(ValueError, match=r"expected 3 atoms .* received 4"):
        screen.check(np.zeros(4))


def frames(atoms, count: int):
    """A slow trajectory around a structure."""
    rng = np.random.default_rng(0)
    start, velocity = atoms.positions.copy(), rng.normal(size=atoms.positions.shape) * 0.02
    for step in range(count):
        atoms.positions = start + velocity * np.sin(0.2 * step)
        yield atoms


def test_trusted_frames_of_a_committee_are_left_alone(trained, make_crystal):
    atoms = make_crystal(70)
    exact = trained.predict([frame.copy() for frame in frames(atoms.copy(), 32)], "exact")
    screen = ForceScreen(2.5 * max(p.atomic_force_uncertainty.max() for p in exact), seed=1)
    predictions = [trained.predict_screened(frame, screen) for frame in frames(atoms, 60)]
    exact = [step for step, prediction in enumerate(predictions) if prediction.forces_uncertainty is not None]
    assert exact == [0]
    assert (screen.checks, screen.confirmations) == (60, 1)
    assert screen.relative_bound.max() < 1
    mean = trained.predict([atoms])[0]
    assert predictions[-1].energy == pytest.approx(mean.energy, abs=1e-9)
    np.testing.assert_allclose(predictions[-1].forces, mean.forces, atol=1e-9)


def test_planted_frames_above_the_threshold_are_found_and_measured_exactly(trained, make_crystal):
    """After trusted steps the same atoms are rattled beyond the threshold: detected in time, then exact."""
    quiet, loud = make_crystal(71, amplitude=0.02), make_crystal(71, amplitude=0.2)
    low, high = (mean_of_largest(trained.predict([a], "exact")[0].atomic_force_uncertainty) for a in (quiet, loud))
    threshold = 0.999 * high
    assert low < 0.6 * threshold
    found = []
    for seed in range(6):
        screen = ForceScreen(threshold, seed=seed, window=20)
        for _ in range(8):
            trained.predict_screened(quiet, screen)
        predictions = [trained.predict_screened(loud, screen) for _ in range(20)]
        first = next((i for i, prediction in enumerate(predictions) if prediction.forces_uncertainty is not None), None)
        found.append(first)
        if first is not None:
            assert all(prediction.forces_uncertainty is not None for prediction in predictions[first:])
            assert mean_of_largest(predictions[first].atomic_force_uncertainty) == pytest.approx(high, rel=1e-9)
    assert found.count(None) <= 1
