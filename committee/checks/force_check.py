"""Comparison of labelled forces with the foundation's: detects errors of unit, sign and atom order.

An inaccurate foundation must not be taken for an error of the labels: directions and norms are compared over whole
frames (medians, so that a few bad labels do not decide), an error is reported only where correcting it makes both
agree, and atom orders found by fitting must also agree on held-out frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.symbols import Symbols
from ase.units import Bohr, Hartree, Ry, kcal, kJ, mol, nm

from committee.checks.compared_forces import PAIR, Array, ComparedForces, grouped_by_atoms, without_median_bond_force
from committee.checks.force_order import changing_order, common_order, named_order
from committee.checks.unit_mismatch import AGREEMENT, MIN_FRAMES, cosine, near_units

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

        Args:
            who: subject of the sentence, for example ``The labels``.
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


def check_forces(frames: Sequence[ComparedForces]) -> Agreement:
    """Compare labelled forces with the foundation's and identify the mismatch that explains a disagreement, if any.

    Args:
        frames: labelled frames of one engine.
    """
    compared = without_median_bond_force(frames)
    informative = [frame for frame in compared if _is_informative(frame)]
    zero = [frame for frame in compared if _is_large(frame.foundation) and not frame.label.any()]
    if len(zero) >= MIN_FRAMES and len(zero) > len(informative):
        return Agreement(len(zero), 0.0, 0.0, "the forces are zero where the foundation's are not")
    if not informative:
        return Agreement(0, float("nan"), float("nan"))
    cosines = np.array([cosine(frame.label, frame.foundation) for frame in informative])
    ratios = np.array([_norm(frame.label) / _norm(frame.foundation) for frame in informative])
    correlation, slope = float(np.median(cosines)), float(np.median(ratios))
    mismatch = _mismatch(informative, correlation, slope) if len(informative) >= MIN_FRAMES else ""
    return Agreement(len(informative), correlation, slope, mismatch)


def _mismatch(frames: Sequence[ComparedForces], correlation: float, slope: float) -> str:
    order, agreement = "", correlation
    if abs(correlation) < UNLIKE:
        order, agreement = _order(frames)
    unit = _unit(frames, slope, abs(agreement))
    exchanged = ", or the two atoms are exchanged" if all(len(frame.label) == PAIR for frame in frames) else ""
    found = [
        order or _order_of_some(frames),
        f"the forces have the wrong sign: they are energy gradients{exchanged}" if agreement <= -AGREEMENT else "",
        f"the forces are in {unit} instead of eV/Å" if unit else "",
        _energy_unit(frames, slope, agreement),
    ]
    return "; ".join(filter(None, found))


def _unit(frames: Sequence[ComparedForces], slope: float, agreement: float) -> str:
    """Return the unit of the forces; empty if it is eV/Å or cannot be determined.

    A foundation that is too soft or too stiff may differ by the factor of Å to bohr too. Its energies then differ by
    the same factor, so that the ratio of forces to energies decides where the factor is near 1.
    """
    if max(slope, 1 / slope) > FAR_FACTOR:
        return near_units(slope, FORCE_UNITS) if agreement >= AGREEMENT else ""
    energies = _energy_slope(frames)
    if agreement < CLOSE_AGREEMENT or energies is None or not _is_steady(frames):
        return ""
    unit = near_units(slope, _BOHR_UNITS, TOLERANCE)
    return unit if unit == near_units(slope / energies, _BOHR_UNITS, TOLERANCE) else ""


def _energy_unit(frames: Sequence[ComparedForces], slope: float, agreement: float) -> str:
    """Return the unit of energies that correlate with the foundation's and differ by a factor that forces lack."""
    energies = _energy_slope(frames)
    if energies is None or agreement < AGREEMENT or not 1 / FAR_FACTOR < slope < FAR_FACTOR:
        return ""
    unit = near_units(energies / slope, ENERGY_UNITS)
    return f"the energies are in {unit} instead of eV" if unit else ""


def _is_steady(frames: Sequence[ComparedForces]) -> bool:
    """Whether the ratio of the labels' norm to the foundation's is the same in every frame."""
    ratios = np.log([_norm(frame.label) / _norm(frame.foundation) for frame in frames])
    return bool(np.subtract(*np.percentile(ratios, [75, 25])) < STEADY)


def _energy_slope(frames: Sequence[ComparedForces]) -> float | None:
    """Return the ratio of energy differences within compositions, labels over foundation; None if uncorrelated."""
    compositions: dict[bytes, list[tuple[float, float]]] = {}
    for frame in frames:
        if np.isfinite(frame.label_energy_eV):
            key = np.sort(frame.atomic_numbers).tobytes()
            compositions.setdefault(key, []).append((frame.label_energy_eV, frame.foundation_energy_eV))
    if not compositions:
        return None
    both = np.concatenate([np.array(pairs) - np.median(pairs, axis=0) for pairs in compositions.values()])
    both = both[both.any(axis=1)]  # the only frame of its composition has no difference
    if len(both) < MIN_FRAMES or cosine(both[:, 0], both[:, 1]) < CLOSE_AGREEMENT:
        return None
    return float(np.median(np.abs(both[:, 0])) / np.median(np.abs(both[:, 1])))


def _order_of_some(frames: Sequence[ComparedForces]) -> str:
    """Describe a wrong atom order in single compositions: those that a sort leaves unchanged hide the others."""
    found = []
    for group in grouped_by_atoms(frames):
        correlation = float(np.median([cosine(frame.label, frame.foundation) for frame in group]))
        order = _order(group)[0] if len(group) >= MIN_FRAMES and abs(correlation) < UNLIKE else ""
        if order:
            found.append(f"in {Symbols(group[0].atomic_numbers).get_chemical_formula()}, {order}")
    return "; ".join(found)


def _order(frames: Sequence[ComparedForces]) -> tuple[str, float]:
    """Return the order of atoms in which the forces agree, and the agreement; empty and 0 if there is none."""
    pairs = [(frame.atomic_numbers, frame.label, frame.foundation) for frame in frames]
    for find in (named_order, common_order, changing_order):
        found = find(pairs)
        if found is not None and found.agreement >= AGREEMENT:
            return f"the forces belong to other atoms: {found.description}", found.agreement
    return "", 0.0


def _is_informative(frame: ComparedForces) -> bool:
    return _is_large(frame.foundation) and 0 < _norm(frame.label) < np.inf


def _is_large(forces: Array) -> bool:
    return _norm(forces) > SMALLEST_FORCE_EV_PER_A * float(np.sqrt(forces.size))


def _norm(forces: Array) -> float:
    return float(np.linalg.norm(forces))
