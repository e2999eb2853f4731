"""Detection of labelled forces whose rows are not in the order of the atoms."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from committee.checks.compared_labels import AGREEMENT, ComparedLabel, cosine

Indices = NDArray[np.int64]

FEWEST_ATOMS = 4  # with fewer, some order makes any forces agree with any others
BEYOND_CHANCE = 1 / 3  # largest 1 - cosine, in units of the value by chance


def _by_symbol(numbers: Indices) -> Indices:
    return np.argsort([chemical_symbols[z] for z in numbers], kind="stable")


def _by_number(numbers: Indices) -> Indices:
    return np.argsort(numbers, kind="stable")


def _grouped(numbers: Indices) -> Indices:
    elements = list(dict.fromkeys(numbers.tolist()))
    return np.argsort([elements.index(z) for z in numbers.tolist()], kind="stable")


def _reversed(numbers: Indices) -> Indices:
    return np.arange(len(numbers))[::-1]


NAMED: dict[str, Callable[[Indices], Indices]] = {
    "sorted by element symbol": _by_symbol,
    "sorted by atomic number": _by_number,
    "grouped by element": _grouped,
    "in reversed order": _reversed,
}


def described_order(labels: Sequence[ComparedLabel]) -> str:
    """Describe the order of atoms in which the forces of labels agree with the model's; empty if there is none."""
    return named_order(labels) or ("they follow no common convention" if fit_in_some_order(labels) else "")


def named_order(labels: Sequence[ComparedLabel]) -> str:
    """Describe the convention in which labels agree best with the model; empty if they agree in none."""
    tried = {}
    for name, order in NAMED.items():
        orders = [order(label.atoms.numbers) for label in labels]
        if any((rows != np.arange(len(rows))).any() for rows in orders):
            tried[name] = _median_cosine(labels, orders)
    best = max(tried, key=tried.__getitem__, default="")
    if not best or tried[best] < AGREEMENT:
        return ""
    return f"they are {best}" + ("" if NAMED[best] is _reversed else ", the structure is not")


def fit_in_some_order(labels: Sequence[ComparedLabel]) -> bool:
    """Whether labels agree with the model when each has an order of its own, by more than chance.

    The best of n! orders agrees to some degree by chance. The same forces with their axes permuted, which have the same
    norms and belong to no atom, measure how much. Labels of fewer than ``FEWEST_ATOMS`` atoms, most of which agree in
    some order, are left out; if they are the majority, False is returned.
    """
    large = [label for label in labels if len(label.atoms) >= FEWEST_ATOMS]
    if 2 * len(large) < len(labels):
        return False
    permuted = [replace(label, forces_eV_per_A=label.forces_eV_per_A[:, [1, 2, 0]]) for label in large]
    agreement, chance = (_median_cosine(some, [_best_order(one) for one in some]) for some in (large, permuted))
    return agreement >= AGREEMENT and 1 - agreement <= BEYOND_CHANCE * (1 - chance)


def _best_order(label: ComparedLabel) -> Indices:
    """Return for each row of the forces the atom that it fits best, one to one."""
    _, atoms = linear_sum_assignment(label.forces_eV_per_A @ label.model_forces_eV_per_A.T, maximize=True)
    return np.asarray(atoms, dtype=np.int64)


def _median_cosine(labels: Sequence[ComparedLabel], orders: Sequence[Indices]) -> float:
    """Return the agreement if row k of a label's forces belongs to atom ``order[k]``."""
    pairs = zip(labels, orders, strict=True)
    return float(np.median([cosine(one.forces_eV_per_A, one.model_forces_eV_per_A[order]) for one, order in pairs]))
