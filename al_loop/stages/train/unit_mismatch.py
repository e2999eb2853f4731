"""Find labels in another unit, with the wrong sign or with exchanged atoms among labels that are correct.

Each label is compared with a model's prediction for the same structure. A label is a mismatch if undoing a unit or sign
error makes it agree with the model, atom by atom, while it disagrees as it is and other labels agree. Errors of the
model are not mistaken for mismatches: in a hot frame or a close contact some atoms differ, and by no unit's factor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from al_loop.stages.train.compared_labels import composition, robust_spread
from al_loop.stages.train.outliers import robust_residuals
from committee.checks.compared_labels import MIN_FRAMES, ComparedLabel
from committee.checks.force_check import (
    BELONG_TO_OTHERS,
    ENERGY_UNITS,
    FAR_FACTOR,
    FORCE_UNITS,
    SMALLEST_FORCE_EV_PER_A,
    UNLIKE,
)
from committee.checks.force_order import FEWEST_ATOMS, fit_in_some_order, named_order
from committee.checks.stress_check import SMALLEST_STRESS_EV_PER_A3, STRESS_UNITS

Array = NDArray[np.float64]

LEFT = 0.5  # largest remaining difference, relative to the model's force and to the difference before the correction
MOST = 0.75  # smallest share of atoms that must agree
MIN_ATOMS = 3  # a frame of fewer is a mismatch only together with others
LIKE_FACTOR = 1.15  # units within this factor are named together
SIGNIFICANT_FORCE = 0.3  # of the root mean square of a frame's forces: smaller ones are not compared

ENERGY_LEFT = 1 / 3  # largest remaining difference, relative to the difference before the unit is converted
ENERGY_FACTOR = 1.25  # largest deviation of the ratio of energies from a unit's factor
SPREADS = 4.0  # robust standard deviations by which an energy must be off, and differ from zero
SMALLEST_EV_PER_ATOM = 0.01


@dataclass(frozen=True)
class _Mismatch:
    """A mismatch by a factor, with its description."""

    factor: float
    description: str


_Pairs = dict[int, tuple[Array, Array]]  # place -> label and model, (rows, components) each


def unit_mismatches(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    """Return the indices of the labels that have a mismatch while others agree, each with its description.

    Nothing is found where fewer than ``MIN_FRAMES`` labels agree with the model: then the labels as a whole are
    compared with the foundation elsewhere. A description is, for example, ``the forces are in Hartree/Å or Ry/bohr
    instead of eV/Å``.
    """
    found: dict[int, list[str]] = {}
    for find in (_force_mismatches, _energy_mismatches, _stress_mismatches):
        for place, description in find(compared).items():
            found.setdefault(place, []).append(description)
    return {place: "; ".join(descriptions) for place, descriptions in sorted(found.items())}


def _force_mismatches(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    pairs: _Pairs = {}
    for place, label in enumerate(compared):
        model = label.model_forces_eV_per_A
        known = 0 < _rms(label.forces_eV_per_A) < np.inf and not label.is_diatomic
        if known and _rms(model) > SMALLEST_FORCE_EV_PER_A:
            pairs[place] = label.forces_eV_per_A, model
    pairs = _on_one_scale(pairs)
    rest = {place: pair for place, pair in pairs.items() if _share(*pair) < MOST}
    if len(pairs) - len(rest) < MIN_FRAMES:
        return {}
    found = _explained(rest, _kinds(FORCE_UNITS, "eV/Å", "the forces", "they are energy gradients"), MIN_ATOMS)
    scaled = {
        place: replace(compared[place], model_forces_eV_per_A=model)
        for place, (_, model) in rest.items()
        if place not in found
    }
    return found | _exchanged_atoms(scaled)


def _stress_mismatches(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    """Mismatches beside the median difference: a uniform pressure is a difference of equilibrium volumes, no error."""
    known = {place: pair for place, label in enumerate(compared) if (pair := label.stress_pair) is not None}
    formulas = {place: compared[place].atoms.get_chemical_formula() for place in known}
    pairs: _Pairs = {}
    for place, (stress, model) in known.items():
        alike = [known[i][0] - known[i][1] for i in known if formulas[i] == formulas[place]]
        expected = model + np.median(alike, axis=0)
        if _rms(expected) > SMALLEST_STRESS_EV_PER_A3 and stress.any():
            pairs[place] = stress[None], expected[None]
    rest = {place: pair for place, pair in pairs.items() if _share(*pair) < MOST}
    if len(pairs) - len(rest) < MIN_FRAMES:
        return {}
    return _explained(rest, _kinds(STRESS_UNITS, "eV/Å³", "the stress", "expected: negative under compression"), 1)


def _kinds(units: Mapping[str, float], right: str, what: str, sign: str) -> list[_Mismatch]:
    verb = "have" if what.endswith("s") and not what.endswith("ss") else "has"
    be = "are" if verb == "have" else "is"
    wrong = f"{what} {verb} the wrong sign ({sign})"
    found = [_Mismatch(-1.0, wrong)]
    # A model may be off by a smaller factor over whole frames, by that of Å to bohr for example.
    for factor in (value for value in units.values() if not 1 / FAR_FACTOR < value < FAR_FACTOR):
        near = [other for other, value in units.items() if abs(np.log(value / factor)) < np.log(LIKE_FACTOR)]
        near.sort(key=lambda other: abs(float(np.log(units[other] / factor))))
        mismatch = f"{what} {be} in {' or '.join(near[:2])} instead of {right}"
        found += [_Mismatch(factor, mismatch), _Mismatch(-factor, f"{mismatch} and {verb} the wrong sign ({sign})")]
    return found


def _explained(rest: _Pairs, kinds: Sequence[_Mismatch], min_rows: int) -> dict[int, str]:
    """Give each label the mismatch that explains the most labels; labels with few rows count only together."""
    found: dict[int, str] = {}
    while left := {place: pair for place, pair in rest.items() if place not in found}:
        tried = [(kind, _places(left, kind)) for kind in kinds]
        best, places = max(tried, key=lambda entry: (len(entry[1]), -_left_over(left, *entry)))
        if len(places) < MIN_FRAMES:
            places = [i for i in places if _rows(left[i][1]).sum() >= min_rows]
        if not places:
            kinds = [kind for kind in kinds if kind is not best]
            if not kinds:
                break
            continue
        found |= dict.fromkeys(places, best.description)
    return found


def _places(pairs: _Pairs, kind: _Mismatch) -> list[int]:
    return [place for place, (label, model) in pairs.items() if _share_undone(label, model, kind.factor) >= MOST]


def _left_over(pairs: _Pairs, kind: _Mismatch, places: Sequence[int]) -> float:
    """Median relative difference over labels after the mismatch is undone."""
    left = [_rms(pairs[i][0] / kind.factor - pairs[i][1]) / _rms(pairs[i][1]) for i in places]
    return float(np.median(left)) if left else np.inf


def _share(label: Array, model: Array) -> float:
    """Share of the significant rows that agree with the model as they are."""
    agree = np.linalg.norm(label - model, axis=1) < LEFT * np.linalg.norm(model, axis=1)
    return float(agree[_rows(model)].mean())


def _share_undone(label: Array, model: Array, factor: float) -> float:
    """Share of the significant rows that agree with the model only once the factor is undone."""
    undone = np.linalg.norm(label / factor - model, axis=1)
    uncorrected = np.linalg.norm(label - model, axis=1)
    agree = (undone < LEFT * np.linalg.norm(model, axis=1)) & (undone < LEFT * uncorrected)
    return float(agree[_rows(model)].mean())


def _rows(model: Array) -> NDArray[np.bool_]:
    sizes = np.linalg.norm(model, axis=1)
    return np.asarray(sizes > SIGNIFICANT_FORCE * np.sqrt(np.mean(sizes**2)))


def _on_one_scale(pairs: _Pairs) -> _Pairs:
    """Scale the model's forces by the median ratio of the labels that are not off by a unit, for a soft model."""
    ratios = np.array([_rms(label) / _rms(model) for label, model in pairs.values()])
    usual = ratios[(ratios > 1 / FAR_FACTOR) & (ratios < FAR_FACTOR)]
    scale = float(np.median(usual)) if len(usual) >= MIN_FRAMES else 1.0
    return {place: (label, scale * model) for place, (label, model) in pairs.items()}


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)) * values.shape[-1]))


def _energy_mismatches(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    """Mismatches from the expected energies: the model's plus reference shifts that most labels agree on."""
    places = [i for i, label in enumerate(compared) if np.isfinite(label.energy_eV - label.model_energy_eV)]
    if len(places) < 2 * MIN_FRAMES:
        return {}
    labels = [compared[i] for i in places]
    counts = composition([label.atoms for label in labels])
    given = np.array([label.energy_eV for label in labels])
    residuals = robust_residuals(counts, given - np.array([label.model_energy_eV for label in labels]))
    expected, per_atom = given - residuals, residuals / counts.sum(1)
    least = max(SMALLEST_EV_PER_ATOM, SPREADS * robust_spread(per_atom)) * counts.sum(1)
    off = (np.abs(residuals) > least) & (np.abs(expected) > least) & (given != 0)
    if len(places) - int(off.sum()) < MIN_FRAMES:
        return {}
    found: dict[int, str] = {}
    for k in np.flatnonzero(off):
        for unit, factor in ENERGY_UNITS.items():
            is_near = abs(np.log(max(given[k] / (factor * expected[k]), 1e-9))) < np.log(ENERGY_FACTOR)
            if is_near and abs(given[k] / factor - expected[k]) < ENERGY_LEFT * abs(residuals[k]):
                found[places[int(k)]] = f"the energy is in {unit} instead of eV"
    return found


def _exchanged_atoms(unlike: Mapping[int, ComparedLabel]) -> dict[int, str]:
    """Return the indices of the labels whose forces agree with the model in another order of atoms."""
    found = {}
    for place, label in unlike.items():
        if _is_unlike(label) and fit_in_some_order([label]):
            order = named_order([label])
            found[place] = f"{BELONG_TO_OTHERS}{order and f': {order}'}"
    return found


def _is_unlike(label: ComparedLabel) -> bool:
    """Whether directions disagree on most atoms, not only on a few with by far the largest forces."""
    significant = _rows(label.model_forces_eV_per_A)
    sizes = np.linalg.norm(label.model_forces_eV_per_A, axis=1)
    unlike = (label.force_errors > UNLIKE * sizes)[significant]
    return bool(len(unlike) >= FEWEST_ATOMS and unlike.mean() > UNLIKE) and label.force_cosine < UNLIKE
