"""Initial moments of spin-polarised calculations, and the lowest result of several starts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from dft_interfaces.engines.calculation import Engine, Strategy
from dft_interfaces.label import Failure, Label, LabelStatus
from dft_interfaces.settings.crystals import PeriodicEngineSettings, SpinStart
from dft_interfaces.structure import CannotCalculateError, require_computable

MAGNETIC_ELEMENTS = frozenset(
    "V Cr Mn Fe Co Ni Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm U Np Pu Am Cm".split()  # noqa: SIM905 - reads better
)
"""Elements with open d or f shells that stay magnetic in many solids; other elements need given moments."""

LIGANDS = frozenset("N O F P S Cl As Se Br Te I".split())  # noqa: SIM905
"""Elements that carry superexchange between magnetic atoms."""

EXCHANGE_RANGE_A = 8.0
LIGAND_BOND_A = 3.0
STRAIGHT_ANGLE_COSINE = -0.87
"""Cosine of 150°: bridges this straight couple their ends antiparallel (the Goodenough-Kanamori rules)."""

EXCHANGE_DECAY = 10
"""Exchange decays with the tenth power of the bond length: Bloch's rule, J. Phys. Chem. Solids 27, 881 (1966)."""

SAME_STATE_EV = 1e-3
"""Total energies closer than this belong to the same state; the earlier start is kept."""

_T = TypeVar("_T")


def spin_starts(atoms: Atoms, kinds: Sequence[SpinStart]) -> dict[str, NDArray[np.float64]]:
    """Return initial magnetic moments to try, in the order of ``kinds`` and without repeats.

    ``given`` are the frame's own moments (all zero if it has none). ``ferromagnetic`` gives every magnetic atom the
    size of its given moment or, if the frame has none, that of the free atom by Hund's rules
    (``ase.data.ground_state_magnetic_moments``), all parallel: a high-spin start. ``antiferromagnetic`` has the
    same sizes with signs that differ between neighbours. ``none`` is all zero: a calculation without spin.

    Args:
        atoms: the structure; magnetic are the atoms with a given moment, or else those of ``MAGNETIC_ELEMENTS``.
        kinds: the starts.

    Returns:
        Moments by kind, (n,) µB. A kind with the same moments as an earlier one (or with all signs reversed) is
        omitted, so that a structure without magnetic atoms is calculated once; so is an ``antiferromagnetic`` start
        for which the cell is too small.

    Raises:
        CannotCalculateError: given moments that are vectors, or no start that fits the cell.
    """
    given = _given(atoms)
    sizes = np.abs(given) if given.any() else free_atom_moments(atoms)
    starts: dict[str, NDArray[np.float64]] = {}
    for kind in kinds:
        moments = _moments(kind, atoms, given, sizes)
        parallel = kind == "antiferromagnetic" and sizes.any() and _same(moments, sizes)
        if not parallel and not any(_same(moments, other) for other in starts.values()):
            starts[kind] = moments
    if not starts:
        raise CannotCalculateError(
            "received the spin start antiferromagnetic for a cell whose magnetic atoms have no magnetic neighbours "
            "but their own images: repeat the cell, or add another spin start"
        )
    return starts


def spin_channels(atoms: Atoms, kinds: Sequence[SpinStart]) -> list[int]:
    """Return the number of spin channels of each start, which the cost of a label depends on.

    A structure without a suitable start counts as one calculation without spin; its label is refused at once.
    """
    try:
        starts = spin_starts(atoms, kinds)
    except CannotCalculateError:
        return [1]
    return [2 if moments.any() else 1 for moments in starts.values()]


def free_atom_moments(atoms: Atoms) -> NDArray[np.float64]:
    """Return the moments (n,) µB of free atoms for ``MAGNETIC_ELEMENTS``, zero for all others."""
    magnetic = [atomic_numbers[symbol] for symbol in MAGNETIC_ELEMENTS]
    moments = ground_state_magnetic_moments[atoms.numbers]
    return np.where(np.isin(atoms.numbers, magnetic), moments, 0.0)


def alternating_signs(atoms: Atoms) -> NDArray[np.float64]:
    """Return a sign (n,) for each atom with a moment so that neighbours differ; 0 for all others.

    The strongest couplings are those across a ligand (the second neighbours of NiO), then those of nearest neighbours.
    There are two guesses, of which the one with the lower energy of antiferromagnetic couplings is used: alternating
    signs along the minimum spanning tree of the strongest couplings (exact for bipartite structures with little
    distortion), and the signs of the couplings' lowest eigenvector (robust to thermal motion). In both, single signs
    are flipped while that lowers the energy, which resolves frustrated triangles. The first magnetic atom is up.

    Args:
        atoms: the structure, with the moments' sizes as its initial magnetic moments.
    """
    signs = np.zeros(len(atoms))
    magnetic = np.flatnonzero(atoms.get_initial_magnetic_moments())
    couplings = _couplings(atoms, magnetic)
    guesses = (_two_colours(couplings), _lowest_mode(couplings))
    refined = [_flip_while_lower(guess, couplings) for guess in guesses]
    best = min(refined, key=lambda guess: float(guess @ couplings @ guess))
    signs[magnetic] = best * best[:1]
    return signs


Settings = TypeVar("Settings", bound=PeriodicEngineSettings)


class CrystalEngine(Engine[Settings, Strategy]):
    """An engine of which a label is the lowest of the calculations from several spin starts."""

    def label(self, atoms: Atoms, strategy: Strategy | None = None) -> Label:
        """Calculate one structure; see ``DFTEngine.label``."""
        try:
            require_computable(atoms)
            starts = spin_starts(atoms, self._settings.spin_starts)
        except CannotCalculateError as error:
            fingerprint = self.level_of_theory.fingerprint
            return Label(LabelStatus.REJECTED, fingerprint, message=str(error), failure=Failure.UNSUITABLE)
        own = {kind: atoms if kind == "given" else _with_moments(atoms, moments) for kind, moments in starts.items()}
        return lowest(lambda start: super(CrystalEngine, self).label(start, strategy), own, "moments")


def spin_treatment(kinds: Sequence[SpinStart]) -> str:
    """Return the spin treatment for a level of theory; several starts are another treatment than one."""
    if tuple(kinds) == ("given",):
        return "polarised where initial moments are given"
    return f"lowest of the starts {', '.join(kinds)}"


def unpolarised_remark(atoms: Atoms) -> str:
    """Return a remark on a label without spin whose elements or stated multiplicity may need spin; else empty."""
    if atoms.get_initial_magnetic_moments().any():
        return ""
    elements, multiplicity = sorted(MAGNETIC_ELEMENTS & set(atoms.symbols)), atoms.info.get("spin") or 1
    if elements:
        return f"calculated without spin: no initial magnetic moments for {', '.join(elements)}"
    if multiplicity > 1:
        return f"calculated without spin: spin multiplicity {multiplicity} is stated, but no initial magnetic moments"
    return ""


def lowest(label_one: Callable[[_T], Label], candidates: Mapping[str, _T], what: str) -> Label:
    """Run a calculation from several starts and keep the lowest converged label.

    Args:
        label_one: labels from one start.
        candidates: starts by name, the campaign's usual one first.
        what: the quantity in which the starts differ, for example ``moments``; with the name it describes an attempt.

    Returns:
        The lowest label with the cost of all, each start as an attempt, and a message with the energy of the first
        start above it. If none converged, the label of the first start. With one candidate, its label unchanged.
    """
    labels = {name: label_one(start) for name, start in candidates.items()}
    if len(labels) == 1:
        return next(iter(labels.values()))
    first = next(iter(labels))
    kept = _lowest_name(labels) or first
    return replace(
        labels[kept],
        cost_s=sum(label.cost_s for label in labels.values()),
        message="\n".join(filter(None, [_choice(labels, kept, what), labels[kept].message])),
        attempts=tuple(label.as_attempt(f"{what} {name}") for name, label in labels.items()),
    )


def _with_moments(atoms: Atoms, moments: NDArray[np.float64]) -> Atoms:
    copy = atoms.copy()
    copy.set_initial_magnetic_moments(moments)
    return copy


def _given(atoms: Atoms) -> NDArray[np.float64]:
    moments = np.asarray(atoms.get_initial_magnetic_moments(), dtype=np.float64)
    if moments.shape != (len(atoms),):
        raise CannotCalculateError(
            f"received initial magnetic moments of shape {moments.shape}, expected ({len(atoms)},): one number in µB "
            "for each atom; vectors (non-collinear magnetism) are not calculated"
        )
    return moments


def _moments(
    kind: SpinStart, atoms: Atoms, given: NDArray[np.float64], sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    if kind == "given":
        return given
    if kind == "none":
        return np.zeros(len(atoms))
    if kind == "ferromagnetic":
        return sizes
    return sizes * alternating_signs(_with_moments(atoms, sizes))


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return np.array_equal(one, other) or np.array_equal(one, -other)


def _couplings(atoms: Atoms, magnetic: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return couplings (m, m) between magnetic atoms, summed over periodic images; images of one atom do not count."""
    place = np.full(len(atoms), -1)
    place[magnetic] = np.arange(len(magnetic))
    first, second, distances = neighbor_list("ijd", atoms[magnetic], EXCHANGE_RANGE_A)
    couplings = np.zeros((len(magnetic), len(magnetic)))
    np.add.at(couplings, (first, second), distances**-EXCHANGE_DECAY)
    for ends, vectors in _ligand_bonds(atoms, magnetic):
        lengths = np.linalg.norm(vectors, axis=1)
        straight = vectors @ vectors.T < STRAIGHT_ANGLE_COSINE * np.outer(lengths, lengths)
        one, other = np.nonzero(straight)
        halves = (lengths[one] + lengths[other]) / 2
        np.add.at(couplings, (place[ends[one]], place[ends[other]]), halves**-EXCHANGE_DECAY)
    np.fill_diagonal(couplings, 0.0)
    return couplings


def _ligand_bonds(atoms: Atoms, magnetic: NDArray[np.intp]) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Return for each ligand the magnetic atoms it is bonded to and the bonds' vectors."""
    ligands = np.flatnonzero(np.isin(atoms.symbols, list(LIGANDS)))
    first, second, vectors = neighbor_list("ijD", atoms, LIGAND_BOND_A)
    bonds = np.isin(first, ligands) & np.isin(second, magnetic) & ~np.isin(first, magnetic)
    return [(second[own], vectors[own]) for ligand in ligands if (own := bonds & (first == ligand)).any()]


def _two_colours(couplings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Alternate signs along the tree of the strongest couplings."""
    lengths = csr_array(np.divide(1.0, couplings, out=np.zeros_like(couplings), where=couplings > 0))
    tree = minimum_spanning_tree(lengths)
    signs = np.ones(len(couplings))
    components, member = connected_components(tree, directed=False)
    for component in range(components):
        root = np.flatnonzero(member == component)[0]
        order, parents = breadth_first_order(tree, root, directed=False)
        for atom in order[1:]:
            signs[atom] = -signs[parents[atom]]
    return signs


def _lowest_mode(couplings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the signs of the eigenvector of the lowest eigenvalue."""
    lowest_vector = np.linalg.eigh(couplings).eigenvectors[:, :1].sum(axis=1)
    return np.where(lowest_vector < 0, -1.0, 1.0)


def _flip_while_lower(signs: NDArray[np.float64], couplings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Flip the sign that lowers the sum of couplings times signs most, until none does."""
    signs, significant = signs.copy(), 1e-9 * couplings.sum()
    while len(signs):
        gains = signs * (couplings @ signs)
        worst = int(gains.argmax())
        if gains[worst] <= significant:
            break
        signs[worst] *= -1
    return signs


def _lowest_name(labels: Mapping[str, Label]) -> str | None:
    energies = {name: label.energy_eV for name, label in labels.items() if label.energy_eV is not None}
    return next((name for name, energy in energies.items() if energy <= min(energies.values()) + SAME_STATE_EV), None)


def _choice(labels: Mapping[str, Label], kept: str, what: str) -> str:
    """Return which start was kept, and why not the first one if it was another."""
    first = next(iter(labels))
    if labels[kept].status is not LabelStatus.CONVERGED:
        return f"none of the {what} {', '.join(labels)} converged"
    if kept == first:
        failed = [name for name, label in labels.items() if label.status is not LabelStatus.CONVERGED]
        lost = f"; {', '.join(failed)} did not converge" if failed else ""
        return f"{what} {kept} kept, lowest of {', '.join(name for name in labels if name not in failed)}{lost}"
    usual, lowest_eV = labels[first].energy_eV, labels[kept].energy_eV
    if usual is None or lowest_eV is None:
        return f"{what} {kept} kept: {first} did not converge"
    return f"{what} {kept} kept: {usual - lowest_eV:.3f} eV below {first}, which ended in a higher state"
