"""Comparison of labelled forces with the foundation's: detects errors of unit, sign and atom order.

An inaccurate foundation must not be taken for an error of the labels: directions and norms are compared over whole
frames (medians, so that a few bad labels do not decide), an error is reported only where correcting it makes both
agree, and an atom order found by fitting must agree far better than by chance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.units import Bohr, Hartree, Ry, kcal, kJ, mol, nm

from committee.checks.compared_labels import AGREEMENT, MIN_FRAMES, PAIR, Array, ComparedLabel, cosine, near_units
from committee.checks.force_order import described_order

FORCE_UNITS = {
    "Hartree/bohr": Bohr / Hartree,
    "Ry/bohr": Bohr / Ry,
    "Hartree/Å": 1 / Hartree,
    "Ry/Å": 1 / Ry,
    "eV/bohr": Bohr,
    "kcal/mol/Å": mol / kcal,
    "kcal/mol/bohr": Bohr * mol / kcal,
    "kJ/mol/Å": mol / kJ,
    "kJ/mol/nm": nm * mol / kJ,
    "meV/Å": 1000.0,
    "eV/Å converted as if from Hartree/bohr": Hartree / Bohr,
    "eV/Å converted as if from Ry/bohr": Ry / Bohr,
    "eV/Å converted as if from eV/bohr": 1 / Bohr,
}
"""Unit -> 1 eV/Å in this unit."""

ENERGY_UNITS = {"Hartree": 1 / Hartree, "Ry": 1 / Ry, "kcal/mol": mol / kcal, "kJ/mol": mol / kJ, "meV": 1000.0}
"""Unit -> 1 eV in this unit."""

SMALLEST_FORCE_EV_PER_A = 0.05  # root mean square of the foundation's forces; frames below it are not compared
CLOSE_AGREEMENT = 0.95  # required cosine of forces and of energies where a factor may be the foundation's own error
UNLIKE = 0.5  # cosine below which the order of atoms is checked
FAR_FACTOR = 5.0  # no foundation whose force directions agree has norms wrong by this factor
_BOHR_UNITS = {unit: factor for unit, factor in FORCE_UNITS.items() if 1 / FAR_FACTOR < factor < FAR_FACTOR}
TOLERANCE = 1.3  # factor between the observed ratio and a unit's, where the factor may be the foundation's error
ALONG_BOND = 0.9  # share of a force's norm along the bond above which it counts as a bond force
BELONG_TO_OTHERS = "the forces belong to other atoms"
_APART = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])  # forces that push two atoms apart
STEADY = 0.15  # largest interquartile range of the log ratio for it to count as constant, as that of a unit is


@dataclass(frozen=True)
class Agreement:
    """Agreement of labelled forces with the foundation's.

    Attributes:
        frames: number of compared frames.
        correlation: median over frames of the cosine between labels and foundation; NaN without frames.
        slope: median over frames of the labels' norm over the foundation's; NaN without frames.
        mismatch: the error of the labels, in one sentence; empty if none is identified.
    """

    frames: int
    correlation: float
    slope: float
    mismatch: str = ""

    def sentence(self, who: str) -> str:
        """Describe the agreement in one sentence.

        Its subject is ``who``, for example ``The labels``.
        """
        if not self.frames:
            return f"{who} hold no forces that could be compared with the foundation's."
        warning = ""
        if not self.mismatch and not 1 / FAR_FACTOR < self.slope < FAR_FACTOR:
            warning = ": check that they are in eV/Å"
        elif not self.mismatch and self.correlation < UNLIKE:
            warning = (
                ": the directions disagree, so the foundation is inaccurate for these structures, or the forces belong "
                "to other structures"
            )
        return (
            f"{who} hold forces of {self.slope:.2g} times the size of the foundation's, with a correlation of "
            f"{self.correlation:.2f} (medians over {self.frames} frames){warning}."
        )


def check_forces(labels: Sequence[ComparedLabel]) -> Agreement:
    """Compare labelled forces with the foundation's and identify the mismatch that explains a disagreement, if any.

    The labels are of one engine; those without forces are left out.
    """
    compared = _without_median_bond_force(labels)
    informative = [one for one in compared if _is_large(one) and 0 < _norm(one.forces_eV_per_A) < np.inf]
    zero = [one for one in compared if _is_large(one) and not one.forces_eV_per_A.any()]
    if len(zero) >= MIN_FRAMES and len(zero) > len(informative):
        return Agreement(len(zero), 0.0, 0.0, "the forces are zero where the foundation's are not")
    if not informative:
        return Agreement(0, float("nan"), float("nan"))
    correlation, slope = _correlation(informative), float(np.median(_ratios(informative)))
    mismatch = _mismatch(informative, correlation, slope) if len(informative) >= MIN_FRAMES else ""
    return Agreement(len(informative), correlation, slope, mismatch)


def _mismatch(labels: Sequence[ComparedLabel], correlation: float, slope: float) -> str:
    order = described_order(labels) if abs(correlation) < UNLIKE else ""
    agreement = AGREEMENT if order else correlation
    unit = _unit(labels, slope, abs(agreement))
    exchanged = ", or the two atoms are exchanged" if all(len(one.atoms) == PAIR for one in labels) else ""
    found = [
        f"{BELONG_TO_OTHERS}: {order}" if order else _order_of_some(labels),
        f"the forces have the wrong sign: they are energy gradients{exchanged}" if agreement <= -AGREEMENT else "",
        f"the forces are in {unit} instead of eV/Å" if unit else "",
        _energy_unit(labels, slope, agreement),
    ]
    return "; ".join(filter(None, found))


def _unit(labels: Sequence[ComparedLabel], slope: float, agreement: float) -> str:
    """Return the unit of the forces; empty if it is eV/Å or cannot be determined.

    A foundation that is too soft or too stiff may differ by the factor of Å to bohr too. Its energies then differ by
    the same factor, so that the ratio of forces to energies decides where the factor is near 1.
    """
    if max(slope, 1 / slope) > FAR_FACTOR:
        return near_units(slope, FORCE_UNITS) if agreement >= AGREEMENT else ""
    energies = _energy_slope(labels)
    if agreement < CLOSE_AGREEMENT or energies is None or not _is_steady(labels):
        return ""
    unit = near_units(slope, _BOHR_UNITS, TOLERANCE)
    return unit if unit == near_units(slope / energies, _BOHR_UNITS, TOLERANCE) else ""


def _energy_unit(labels: Sequence[ComparedLabel], slope: float, agreement: float) -> str:
    """Return the unit of energies that correlate with the foundation's and differ by a factor that forces lack."""
    energies = _energy_slope(labels)
    if energies is None or agreement < AGREEMENT or not 1 / FAR_FACTOR < slope < FAR_FACTOR:
        return ""
    unit = near_units(energies / slope, ENERGY_UNITS)
    return f"the energies are in {unit} instead of eV" if unit else ""


def _is_steady(labels: Sequence[ComparedLabel]) -> bool:
    """Whether the ratio of the labels' norm to the foundation's is the same in every frame."""
    return bool(np.subtract(*np.percentile(np.log(_ratios(labels)), [75, 25])) < STEADY)


def _energy_slope(labels: Sequence[ComparedLabel]) -> float | None:
    """Return the ratio of energy differences within compositions, labels over foundation; None if uncorrelated."""
    known = [one for one in labels if np.isfinite(one.energy_eV)]
    groups = _grouped(known, lambda one: bytes(np.sort(one.atoms.numbers).tobytes()))
    if not groups:
        return None
    pairs = [np.array([(one.energy_eV, one.model_energy_eV) for one in group]) for group in groups]
    both = np.concatenate([pair - np.median(pair, axis=0) for pair in pairs])
    both = both[both.any(axis=1)]  # the only frame of its composition has no difference
    if len(both) < MIN_FRAMES or cosine(both[:, 0], both[:, 1]) < CLOSE_AGREEMENT:
        return None
    return float(np.median(np.abs(both[:, 0])) / np.median(np.abs(both[:, 1])))


def _order_of_some(labels: Sequence[ComparedLabel]) -> str:
    """Describe a wrong atom order in single compositions: those that a sort leaves unchanged hide the others."""
    found = []
    for group in _grouped(labels, _kind):
        order = described_order(group) if len(group) >= MIN_FRAMES and abs(_correlation(group)) < UNLIKE else ""
        if order:
            found.append(f"in {group[0].atoms.get_chemical_formula()}, {BELONG_TO_OTHERS}: {order}")
    return "; ".join(found)


def _without_median_bond_force(labels: Sequence[ComparedLabel]) -> list[ComparedLabel]:
    """Subtract from the bond forces of each diatomic molecule their median over its frames.

    If the bond lengths of labels and foundation differ, correct forces at lengths in between have opposite signs: only
    the variation is comparable. Molecules with too few frames are left out; forces that are not along the bond are
    unchanged.
    """
    compared = [one for one in labels if not _is_along_bond(one)]
    for group in _grouped([one for one in labels if _is_along_bond(one)], _kind):
        if len(group) < MIN_FRAMES:
            continue
        pulls = np.array([[_pull(one, one.forces_eV_per_A), _pull(one, one.model_forces_eV_per_A)] for one in group])
        for one, (label, model) in zip(group, pulls - np.median(pulls, axis=0), strict=True):
            compared.append(replace(one, forces_eV_per_A=label * _APART, model_forces_eV_per_A=model * _APART))
    return compared


def _is_along_bond(label: ComparedLabel) -> bool:
    if not label.is_diatomic:
        return False
    pull = abs(_pull(label, label.forces_eV_per_A)) * np.sqrt(2)
    return bool(pull >= ALONG_BOND * np.linalg.norm(label.forces_eV_per_A))


def _pull(label: ComparedLabel, forces: Array) -> float:
    """Return the force that pushes two atoms apart, eV/Å."""
    axis = label.atoms.positions[1] - label.atoms.positions[0]
    return float(np.vdot(forces[1] - forces[0], axis) / (2 * np.linalg.norm(axis)))


def _kind(label: ComparedLabel) -> bytes:
    """Return the elements in their order."""
    return bytes(label.atoms.numbers.tobytes())


def _grouped(labels: Sequence[ComparedLabel], key: Callable[[ComparedLabel], bytes]) -> list[list[ComparedLabel]]:
    groups: dict[bytes, list[ComparedLabel]] = {}
    for label in labels:
        groups.setdefault(key(label), []).append(label)
    return list(groups.values())


def _correlation(labels: Sequence[ComparedLabel]) -> float:
    return float(np.median([one.force_cosine for one in labels]))


def _ratios(labels: Sequence[ComparedLabel]) -> Array:
    return np.array([_norm(one.forces_eV_per_A) / _norm(one.model_forces_eV_per_A) for one in labels])


def _is_large(label: ComparedLabel) -> bool:
    forces = label.model_forces_eV_per_A
    return _norm(forces) > SMALLEST_FORCE_EV_PER_A * float(np.sqrt(forces.size))


def _norm(forces: Array) -> float:
    return float(np.linalg.norm(forces))
