"""How far the spread of energy differences is believed, against planted and real errors."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from al_loop.tools.ranking.statistics import FRAMES_NEEDED, UNCALIBRATED, EnergyScale, energy_scale


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def planted(potential, held_out, size: float):
    """Energies of which the first member, taken ``size`` times as far from the mean, is right, on another zero."""
    predictions = potential.predict([atoms for atoms, _ in held_out])
    return [
        (atoms, 500.0 + p.energy + size * (p.energy_ensemble[0] - p.energy))
        for (atoms, _), p in zip(held_out, predictions, strict=True)
    ]


def test_errors_three_times_as_large_make_the_scale_three_times_as_large(copper, held_out) -> None:
    once, thrice = (EnergyScale.fit(copper, planted(copper, held_out, size), 0.9, rng()) for size in (1.0, 3.0))
    assert once is not None
    assert thrice is not None
    assert thrice.value == pytest.approx(3 * once.value, rel=1e-6)
    assert 0.2 < once.value < 3


def test_a_dozen_frames_leave_the_factor_uncertain_itself(copper, held_out) -> None:
    """It lies above the plain quantile of all differences, though not by far."""
    labels = planted(copper, held_out, 1.0)
    predictions = copper.predict([atoms for atoms, _ in labels])
    errors = np.array([p.energy - energy for p, (_, energy) in zip(predictions, labels, strict=True)])
    deviations = np.stack([p.energy_ensemble - p.energy for p in predictions])
    i, j = np.triu_indices(len(labels), 1)
    ratios = np.abs(errors[i] - errors[j]) / np.std(deviations[i] - deviations[j], axis=1, ddof=1)
    plain = np.quantile(ratios, 0.8) / student.ppf(0.9, copper.settings.members - 1)
    assert plain < EnergyScale.fit(copper, labels, 0.9, rng()).value < 2 * plain


def test_differences_of_real_labels_calibrate_it(copper, held_out) -> None:
    scale = energy_scale(copper, held_out, [], 0.9, rng())
    assert scale.calibrated
    assert "10 labelled frames" in scale.source
    assert 0.2 < scale.value < 5


def test_too_few_labels_or_of_compositions_that_differ_calibrate_nothing(copper, held_out) -> None:
    assert EnergyScale.fit(copper, held_out[: FRAMES_NEEDED - 1], 0.9, rng()) is None
    alone = [(atoms[: len(atoms) - i % 5], energy) for i, (atoms, energy) in enumerate(held_out[:5])]
    assert EnergyScale.fit(copper, alone, 0.9, rng()) is None


def test_without_labels_the_force_calibration_is_borrowed_and_never_below_one(copper, held_out) -> None:
    predictions = copper.predict([atoms for atoms, _ in held_out[:3]], "exact")
    calibration = copper.calibration
    values = [
        EnergyScale.from_forces(replace(calibration, quantile=quantile), predictions).value
        for quantile in (1e-3, calibration.quantile, 2 * calibration.quantile)
    ]
    assert values[0] == 1.0
    assert 1.0 < values[1] < 20
    assert values[2] == pytest.approx(2 * values[1])
    assert not energy_scale(copper, (), predictions, 0.9, rng()).calibrated


def test_without_anything_the_members_stand_as_they_are(copper, held_out) -> None:
    predictions = copper.predict([held_out[0][0]], "exact")
    assert energy_scale(copper.with_calibration(None), (), predictions, 0.9, rng()) is UNCALIBRATED
    few = replace(copper.calibration, quantile=None)
    assert energy_scale(copper.with_calibration(few), (), predictions, 0.9, rng()) is UNCALIBRATED
    assert np.isfinite(UNCALIBRATED.value)
