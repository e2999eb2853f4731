"""Comparison of labelled stress with the foundation's: unit, sign and order of components."""

from collections.abc import Sequence

import numpy as np
from ase.units import Bohr, GPa, Hartree, Ry
from numpy.typing import NDArray

from committee.checks.compared_labels import AGREEMENT, MIN_FRAMES, Array, ComparedLabel, cosine, near_units

STRESS_UNITS = {
    "kbar": 10 / GPa,
    "GPa": 1 / GPa,
    "bar": 1e4 / GPa,
    "Hartree/bohr³": Bohr**3 / Hartree,
    "Ry/bohr³": Bohr**3 / Ry,
}
"""Unit -> 1 eV/Å³ in this unit."""

ORDERS = {
    "xx yy zz xy yz zx, as VASP prints them": (0, 1, 2, 4, 5, 3),
    "xx yy zz xy xz yz": (0, 1, 2, 5, 4, 3),
    "xx xy xz yy yz zz": (0, 3, 5, 4, 2, 1),
}
"""Order of six components -> positions of xx yy zz yz xz xy in it."""

MIN_REORDERED_COSINE = 0.85  # of the shear components in another order
MAX_REMAINDER = 1 / 3  # largest 1 - cosine in another order, relative to the given order
FAR_FACTOR = 8.0  # no foundation whose stress correlates is wrong by this factor
OUTLIER_FACTOR = 10.0  # frames whose variation is this many times the median, such as close contacts, are left out
SMALLEST_STRESS_EV_PER_A3 = 1e-3  # root mean square of the foundation's variation; below it zero labels are plausible
SMALLEST_SHEAR_EV_PER_A3 = 1e-3  # root mean square of the foundation's, 0.16 GPa; below it the order is undetermined


def check_stress(labels: Sequence[ComparedLabel]) -> str:
    """Describe the error of labelled stress in one sentence; empty if none is identified.

    Only the variation among the frames of a composition is compared: a constant pressure is a difference of equilibrium
    volumes, and correct. The labels are of one engine; those without stress are left out.
    """
    pairs = [(one.atoms, one.stress_pair) for one in labels]
    known = [(atoms, pair) for atoms, pair in pairs if pair is not None]
    if len(known) < MIN_FRAMES:
        return ""
    label, foundation = np.array([pair for _, pair in known]).transpose(1, 0, 2)
    volumes = np.array([atoms.get_volume() for atoms, _ in known])
    order = _order(label, foundation)
    if order:
        label = label[:, ORDERS[order]]
    found = [f"the stress has its components in the order {order}, expected xx yy zz yz xz xy" if order else ""]
    systems = np.unique([atoms.get_chemical_formula() for atoms, _ in known], return_inverse=True)[1]
    variations = _without_outliers(_about_median(label, systems), _about_median(foundation, systems))
    found += [_sign_and_unit(*variations, volumes)]
    return "; ".join(filter(None, found))


def _about_median(stress: Array, systems: NDArray[np.int64]) -> Array:
    """Subtract the median over the frames of each system."""
    medians = np.array([np.median(stress[systems == system], axis=0) for system in range(systems.max() + 1)])
    return np.asarray(stress - medians[systems])


def _without_outliers(label: Array, foundation: Array) -> tuple[Array, Array]:
    """Leave out frames that are outliers of labels or foundation."""
    norms = [np.linalg.norm(stress, axis=1) for stress in (label, foundation)]
    kept = np.all([norm <= OUTLIER_FACTOR * np.median(norm[norm > 0]) for norm in norms if norm.any()], axis=0)
    kept = np.broadcast_to(kept, len(label))
    return label[kept], foundation[kept]


def _sign_and_unit(label: Array, foundation: Array, volumes: Array) -> str:
    if len(label) >= MIN_FRAMES and not label.any() and np.sqrt(np.mean(foundation**2)) > SMALLEST_STRESS_EV_PER_A3:
        return "the stress is the same in every frame, the foundation's is not"
    agreement = cosine(label, foundation)
    if abs(agreement) < AGREEMENT:
        return ""
    ratio = float(np.linalg.norm(label) / np.linalg.norm(foundation))
    unit = near_units(ratio, {**STRESS_UNITS, "eV (a virial, not divided by the volume)": float(volumes.mean())})
    far = not unit and max(ratio, 1 / ratio) > FAR_FACTOR
    found = [
        "the stress has the wrong sign (expected: negative under compression)" if agreement < 0 else "",
        f"the stress is in {unit} instead of eV/Å³" if unit else "",
        f"the stress is {ratio:.2g} times that of the foundation, expected in eV/Å³" if far else "",
    ]
    return "; ".join(filter(None, found))


def _order(label: Array, foundation: Array) -> str:
    """Return the order in which shear components agree although they disagree in the given one; empty if none does."""
    shear = slice(3, 6)
    if np.sqrt(np.mean(foundation[:, shear] ** 2)) < SMALLEST_SHEAR_EV_PER_A3:
        return ""
    tried = {name: abs(cosine(label[:, order][:, shear], foundation[:, shear])) for name, order in ORDERS.items()}
    best = max(tried, key=tried.__getitem__)
    given = abs(cosine(label[:, shear], foundation[:, shear]))
    return best if tried[best] >= MIN_REORDERED_COSINE and 1 - tried[best] < MAX_REMAINDER * (1 - given) else ""
