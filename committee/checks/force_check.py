"""Labels against the foundation's own answers: a slip of unit, sign or order is recognised and named.

A foundation may be far off and still be told from a slip: what is compared are directions and sizes over whole frames
(medians, so that a few bad labels decide nothing), a slip is named only where undoing it makes both agree, and orders
of atoms that are found by fitting must also hold on frames that the fit has not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.symbols import Symbols
from ase.units import Bohr, Hartree, Ry, kcal, kJ, mol, nm

from committee.checks.compared_forces import PAIR, Array, ComparedForces, about_bond_length, kinds_of
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
"""Unit -> the number that stands for 1 eV/Å in it."""

ENERGY_UNITS = {"Hartree": 1 / Hartree, "Ry": 1 / Ry, "kcal/mol": mol / kcal, "kJ/mol": mol / kJ, "meV": 1000.0}
"""Unit -> the number that stands for 1 eV in it."""

SMALLEST_FORCE_EV_PER_A = 0.05  # root mean square of the foundation's: below it a frame says little
CLOSE_AGREEMENT = 0.95  # asked for, of forces and energies, where a factor may be the foundation's own error
UNLIKE = 0.5  # cosine below which an order of atoms is put in doubt
FAR_FACTOR = 5.0  # no foundation whose directions agree is off by so much
_BOHR_UNITS = {unit: factor for unit, factor in FORCE_UNITS.items() if 1 / FAR_FACTOR < factor < FAR_FACTOR}
TOLERANCE = 1.3  # factor between the observed ratio and a unit's, where the factor may be the foundation's error
STEADY = 0.15  # quartile range of the logarithm of a ratio that does not depend on the frame, as a unit's does not


@dataclass(frozen=True)
class Agreement:
    """How labels and foundation agree.

    Attributes:
        frames: how many could be compared.
        correlation: median over frames of the cosine between labels and foundation; NaN without frames.
        slope: median over frames of the labels' size in units of the foundation's; NaN without frames.
        slip: what is wrong with the labels, in one sentence; empty if nothing is clear.
    """

    frames: int
    correlation: float
    slope: float
    slip: str = ""

    def sentence(self, who: str) -> str:
        """Say it in one sentence.

        Args:
            who: the labels, for example ``The labels``.
        """
        if not self.frames:
            return f"{who} hold no forces that could be compared with the foundation's."
        doubt = ""
        if not self.slip and not 1 / FAR_FACTOR < self.slope < FAR_FACTOR:
            doubt = ": look whether they are in eV/Å"
        elif not self.slip and self.correlation < UNLIKE:
            doubt = (
                ": directions hardly agree, so the foundation knows little of these structures, or the forces belong "
                "to other ones"
            )
        return (
            f"{who} hold forces of {self.slope:.2g} times the size of the foundation's, with a correlation of "
            f"{self.correlation:.2f} (medians over {self.frames} frames){doubt}."
        )


def check_forces(frames: Sequence[ComparedForces]) -> Agreement:
    """Compare labelled forces with the foundation's and name the slip that explains a disagreement, if one does.

    Args:
        frames: of one engine.
    """
    compared = about_bond_length(frames)
    telling = [frame for frame in compared if _is_telling(frame)]
    missing = [frame for frame in compared if _is_large(frame.foundation) and not frame.label.any()]
    if len(missing) >= MIN_FRAMES and len(missing) > len(telling):
        return Agreement(len(missing), 0.0, 0.0, "the forces are zero where the foundation's are not")
    if not telling:
        return Agreement(0, float("nan"), float("nan"))
    cosines = np.array([cosine(frame.label, frame.foundation) for frame in telling])
    ratios = np.array([_size(frame.label) / _size(frame.foundation) for frame in telling])
    correlation, slope = float(np.median(cosines)), float(np.median(ratios))
    slip = _slip(telling, correlation, slope) if len(telling) >= MIN_FRAMES else ""
    return Agreement(len(telling), correlation, slope, slip)


def _slip(frames: Sequence[ComparedForces], correlation: float, slope: float) -> str:
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
    """Name the unit of the forces; empty if it is eV/Å or cannot be told.

    A foundation that is too soft or too stiff has the factor of Å to bohr too. Its energies are as soft or stiff as
    its forces, so that near 1 the forces are measured against the energies.
    """
    if max(slope, 1 / slope) > FAR_FACTOR:
        return near_units(slope, FORCE_UNITS) if agreement >= AGREEMENT else ""
    energies = _energy_slope(frames)
    if agreement < CLOSE_AGREEMENT or energies is None or not _is_steady(frames):
        return ""
    unit = near_units(slope, _BOHR_UNITS, TOLERANCE)
    return unit if unit == near_units(slope / energies, _BOHR_UNITS, TOLERANCE) else ""


def _energy_unit(frames: Sequence[ComparedForces], slope: float, agreement: float) -> str:
    """Name the unit of energies that vary just as the foundation's do but for its factor, which forces do not have."""
    energies = _energy_slope(frames)
    if energies is None or agreement < AGREEMENT or not 1 / FAR_FACTOR < slope < FAR_FACTOR:
        return ""
    unit = near_units(energies / slope, ENERGY_UNITS)
    return f"the energies are in {unit} instead of eV" if unit else ""


def _is_steady(frames: Sequence[ComparedForces]) -> bool:
    """Whether labels have the same size in units of the foundation's in every frame."""
    ratios = np.log([_size(frame.label) / _size(frame.foundation) for frame in frames])
    return bool(np.subtract(*np.percentile(ratios, [75, 25])) < STEADY)


def _energy_slope(frames: Sequence[ComparedForces]) -> float | None:
    """Size of the labels' energy differences within compositions, in units of the foundation's; None if unlike."""
    kinds: dict[bytes, list[tuple[float, float]]] = {}
    for frame in frames:
        if np.isfinite(frame.label_energy_eV):
            key = np.sort(frame.atomic_numbers).tobytes()
            kinds.setdefault(key, []).append((frame.label_energy_eV, frame.foundation_energy_eV))
    if not kinds:
        return None
    both = np.concatenate([np.array(pairs) - np.median(pairs, axis=0) for pairs in kinds.values()])
    both = both[both.any(axis=1)]  # the only frame of its composition says nothing
    if len(both) < MIN_FRAMES or cosine(both[:, 0], both[:, 1]) < CLOSE_AGREEMENT:
        return None
    return float(np.median(np.abs(both[:, 0])) / np.median(np.abs(both[:, 1])))


def _order_of_some(frames: Sequence[ComparedForces]) -> str:
    """The order of atoms in compositions that it spoils: what a sort leaves as it is hides the others."""
    found = []
    for kind in kinds_of(frames):
        correlation = float(np.median([cosine(frame.label, frame.foundation) for frame in kind]))
        order = _order(kind)[0] if len(kind) >= MIN_FRAMES and abs(correlation) < UNLIKE else ""
        if order:
            found.append(f"in {Symbols(kind[0].atomic_numbers).get_chemical_formula()}, {order}")
    return "; ".join(found)


def _order(frames: Sequence[ComparedForces]) -> tuple[str, float]:
    """What the order of atoms is and how well forces agree in it; nothing and 0 where no order mends them."""
    pairs = [(frame.atomic_numbers, frame.label, frame.foundation) for frame in frames]
    for find in (named_order, common_order, changing_order):
        found = find(pairs)
        if found is not None and found.agreement >= AGREEMENT:
            return f"the forces belong to other atoms: {found.description}", found.agreement
    return "", 0.0


def _is_telling(frame: ComparedForces) -> bool:
    return _is_large(frame.foundation) and 0 < _size(frame.label) < np.inf


def _is_large(forces: Array) -> bool:
    return _size(forces) > SMALLEST_FORCE_EV_PER_A * float(np.sqrt(forces.size))


def _size(forces: Array) -> float:
    return float(np.linalg.norm(forces))
