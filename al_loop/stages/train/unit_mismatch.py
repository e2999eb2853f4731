"""Find labels in another unit, with the wrong sign or with exchanged atoms among labels that are correct.

Each label is compared with a model's prediction for the same structure. A label is a mismatch if undoing a unit or sign
error makes it agree with the model, atom by atom, while it disagrees as it is and other labels agree. Errors of the
model are not mistaken for mismatches: in a hot frame or a close contact some atoms differ, and by no unit's factor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_loop.stages.train.compared_labels import SIGNIFICANT_FORCE, ComparedLabel
from al_loop.stages.train.energy_unit_mismatch import energy_mismatches
from al_loop.stages.train.exchanged_atoms import exchanged_atoms
from committee.checks.compared_forces import PAIR
from committee.checks.force_check import FAR_FACTOR, FORCE_UNITS, SMALLEST_FORCE_EV_PER_A
from committee.checks.stress_check import SMALLEST_STRESS_EV_PER_A3, STRESS_UNITS
from committee.checks.unit_mismatch import MIN_FRAMES

Array = NDArray[np.float64]

LEFT = 0.5  # largest remaining difference, relative to the model's force and to the difference before the correction
MOST = 0.75  # smallest share of atoms that must agree
MIN_ATOMS = 3  # a frame of fewer is a mismatch only together with others
LIKE_FACTOR = 1.15  # units within this factor are named together


@dataclass(frozen=True)
class _Mismatch:
    """A mismatch by a factor, with its description."""

    factor: float
    description: str


_Pairs = dict[int, tuple[Array, Array]]  # place -> label and model, (rows, components) each


def unit_mismatches(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    """Return the indices of the labels that have a mismatch while others agree, each with its description.

    Nothing is found where fewer than ``MIN_FRAMES`` labels agree with the model: then the labels as a whole are
    compared with the foundation elsewhere.

    Args:
        compared: labels of one engine.

    Returns:
        Index -> description, for example ``the forces are in Hartree/Å or Ry/bohr instead of eV/Å``.
    """
    found: dict[int, list[str]] = {}
    for find in (_force_mismatches, energy_mismatches, _stress_mismatches):
        for place, description in find(compared).items():
            found.setdefault(place, []).append(description)
    return {place: "; ".join(descriptions) for place, descriptions in sorted(found.items())}


def _force_mismatches(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    pairs: _Pairs = {}
    for place, label in enumerate(compared):
        model = label.model_forces_eV_per_A
        if _rms(model) > SMALLEST_FORCE_EV_PER_A and 0 < _rms(label.forces_eV_per_A) < np.inf and not _molecule(label):
            pairs[place] = label.forces_eV_per_A, model
    pairs = _on_one_scale(pairs)
    rest = {place: pair for place, pair in pairs.items() if _share(*pair) < MOST}
    if len(pairs) - len(rest) < MIN_FRAMES:
        return {}
    found = _explained(rest, _kinds(FORCE_UNITS, "eV/Å", "the forces", "they are energy gradients"), MIN_ATOMS)
    return found | exchanged_atoms(compared, {place: pair for place, pair in rest.items() if place not in found})


def _stress_mismatches(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    """Mismatches beside the median difference: a uniform pressure is a difference of equilibrium volumes, no error."""
    known: dict[int, tuple[Array, Array]] = {}
    for place, label in enumerate(compared):
        if np.isfinite(label.stress_error):
            known[place] = np.asarray(label.stress_eV_per_A3), np.asarray(label.model_stress_eV_per_A3)
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


def _molecule(label: ComparedLabel) -> bool:
    """Whether it is a dimer, whose forces change sign where the bond lengths of label and model differ."""
    return len(label.atoms) == PAIR and not label.atoms.pbc.any()


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)) * values.shape[-1]))
