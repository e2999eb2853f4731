import numpy as np
import pytest
from ase.build import molecule

from committee.errors import TrainingDataError
from committee.reference_shifts import ReferenceShifts

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
