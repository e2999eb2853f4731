"""Labels in another unit, of the other sign or with their atoms exchanged, among labels that are sound.

Each label stands beside a model's answer for the same structure. A label is suspected where undoing a slip brings it to
the model, atom by atom, and leaving it as it is does not, while other labels agree with the model as they are. What a
model misjudges accuses nobody: a hot frame or a close contact differs on some atoms, and in no unit's proportion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_loop.stages.train.compared_labels import TELLING_FORCE, ComparedLabel
from al_loop.stages.train.energy_unit_mismatch import energy_slips
from al_loop.stages.train.exchanged_atoms import exchanged_atoms
from committee.checks.compared_forces import PAIR
from committee.checks.force_check import FAR_FACTOR, FORCE_UNITS, SMALLEST_FORCE_EV_PER_A
from committee.checks.stress_check import SMALLEST_STRESS_EV_PER_A3, STRESS_UNITS
from committee.checks.unit_mismatch import MIN_FRAMES

Array = NDArray[np.float64]

LEFT = 0.5  # of the model's force on an atom, and of the difference as it stands, that undoing a slip may leave
MOST = 0.75  # of the atoms: so many must agree
TELLING_ATOMS = 3  # a frame of fewer accuses only together with others
LIKE_FACTOR = 1.15  # units so near each other are named together


@dataclass(frozen=True)
class _Slip:
    """What ``factor`` times the right numbers would be."""

    factor: float
    words: str


_Pairs = dict[int, tuple[Array, Array]]  # place -> label and model, (rows, components) each


def slips(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    """Return the places of the labels that look like slips among the others, each with what it looks like.

    Where fewer than ``MIN_FRAMES`` labels agree with the model as they stand nobody is accused: then the labels as a
    whole are to be compared with the foundation.

    Args:
        compared: labels of one engine.

    Returns:
        Place -> in words, for example ``the forces are in Hartree/Å or Ry/bohr instead of eV/Å``.
    """
    found: dict[int, list[str]] = {}
    for judge in (_force_slips, energy_slips, _stress_slips):
        for place, words in judge(compared).items():
            found.setdefault(place, []).append(words)
    return {place: "; ".join(words) for place, words in sorted(found.items())}


def _force_slips(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    pairs: _Pairs = {}
    for place, label in enumerate(compared):
        model = label.model_forces_eV_per_A
        if _rms(model) > SMALLEST_FORCE_EV_PER_A and 0 < _rms(label.forces_eV_per_A) < np.inf and not _molecule(label):
            pairs[place] = label.forces_eV_per_A, model
    pairs = _on_one_scale(pairs)
    rest = {place: pair for place, pair in pairs.items() if _share(*pair) < MOST}
    if len(pairs) - len(rest) < MIN_FRAMES:
        return {}
    found = _explained(rest, _kinds(FORCE_UNITS, "eV/Å", "the forces", "they are energy gradients"), TELLING_ATOMS)
    return found | exchanged_atoms(compared, {place: pair for place, pair in rest.items() if place not in found})


def _stress_slips(compared: Sequence[ComparedLabel]) -> dict[int, str]:
    """Slips of what differs from the usual: an even pressure is a difference of equilibrium volumes, and honest."""
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


def _kinds(units: Mapping[str, float], right: str, what: str, sign: str) -> list[_Slip]:
    verb = "have" if what.endswith("s") and not what.endswith("ss") else "has"
    be = "are" if verb == "have" else "is"
    wrong = f"{what} {verb} the wrong sign ({sign})"
    found = [_Slip(-1.0, wrong)]
    # A model may be off by a smaller factor over whole frames, by that of Å to bohr for example.
    for factor in (value for value in units.values() if not 1 / FAR_FACTOR < value < FAR_FACTOR):
        near = [other for other, value in units.items() if abs(np.log(value / factor)) < np.log(LIKE_FACTOR)]
        near.sort(key=lambda other: abs(float(np.log(units[other] / factor))))
        words = f"{what} {be} in {' or '.join(near[:2])} instead of {right}"
        found += [_Slip(factor, words), _Slip(-factor, f"{words} and {verb} the wrong sign ({sign})")]
    return found


def _explained(rest: _Pairs, kinds: Sequence[_Slip], telling_rows: int) -> dict[int, str]:
    """Name for each label the slip that explains the most labels; where they have few rows it takes several labels."""
    found: dict[int, str] = {}
    while left := {place: pair for place, pair in rest.items() if place not in found}:
        tried = [(slip, _places(left, slip)) for slip in kinds]
        slip, places = max(tried, key=lambda entry: (len(entry[1]), -_left_over(left, *entry)))
        if len(places) < MIN_FRAMES:
            places = [i for i in places if _rows(left[i][1]).sum() >= telling_rows]
        if not places:
            kinds = [kind for kind in kinds if kind is not slip]
            if not kinds:
                break
            continue
        found |= dict.fromkeys(places, slip.words)
    return found


def _places(pairs: _Pairs, slip: _Slip) -> list[int]:
    return [place for place, (label, model) in pairs.items() if _share_undone(label, model, slip.factor) >= MOST]


def _left_over(pairs: _Pairs, slip: _Slip, places: Sequence[int]) -> float:
    """Median over labels of what undoing a slip leaves, in units of the model's numbers."""
    left = [_rms(pairs[i][0] / slip.factor - pairs[i][1]) / _rms(pairs[i][1]) for i in places]
    return float(np.median(left)) if left else np.inf


def _share(label: Array, model: Array) -> float:
    """Share of the telling rows that agree with the model as they stand."""
    agree = np.linalg.norm(label - model, axis=1) < LEFT * np.linalg.norm(model, axis=1)
    return float(agree[_rows(model)].mean())


def _share_undone(label: Array, model: Array, factor: float) -> float:
    """Share of the telling rows that agree with the model once the factor is undone, and not as they stand."""
    undone = np.linalg.norm(label / factor - model, axis=1)
    stands = np.linalg.norm(label - model, axis=1)
    agree = (undone < LEFT * np.linalg.norm(model, axis=1)) & (undone < LEFT * stands)
    return float(agree[_rows(model)].mean())


def _rows(model: Array) -> NDArray[np.bool_]:
    sizes = np.linalg.norm(model, axis=1)
    return np.asarray(sizes > TELLING_FORCE * np.sqrt(np.mean(sizes**2)))


def _on_one_scale(pairs: _Pairs) -> _Pairs:
    """Scale the model by how soft or stiff it is, as the labels show that are not off by a unit."""
    ratios = np.array([_rms(label) / _rms(model) for label, model in pairs.values()])
    usual = ratios[(ratios > 1 / FAR_FACTOR) & (ratios < FAR_FACTOR)]
    scale = float(np.median(usual)) if len(usual) >= MIN_FRAMES else 1.0
    return {place: (label, scale * model) for place, (label, model) in pairs.items()}


def _molecule(label: ComparedLabel) -> bool:
    """Whether there are two atoms, whose forces are opposite where the bond lengths of label and model differ."""
    return len(label.atoms) == PAIR and not label.atoms.pbc.any()


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)) * values.shape[-1]))
