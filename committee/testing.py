"""The contract test that every foundation adapter must pass (``Backbone``).

A new adapter's whole test may be: ``check_backbone(load_my_backbone())``.
"""

from collections.abc import Sequence, Set

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

from committee.backbones.contract import Backbone, OpenBackbone
from committee.checks import backbone_checks as checks
from committee.checks.backbone_checks import DOUBLE, SINGLE, BackboneCheckError
from committee.names import CHARGE, SPIN

__all__ = ["BackboneCheckError", "check_backbone", "example_frames"]


def check_backbone(
    backbone: Backbone,
    frames: Sequence[Atoms] | None = None,
    *,
    rotation_tolerance: float = 1e-4,
    single_precision: bool = False,
    periodic_only: bool = False,
) -> None:
    """Check every property of a foundation that the committee relies on.

    Names, shapes and dtypes; evaluation does not modify the caller's atoms; a batch equals its frames one by one;
    translation, rotation and permutation; a doubled cell; forces, stress and feature tangents against central
    finite differences in float64; an isolated atom; a molecule without a cell; invalid structures raise. If its weights
    can be adapted (``OpenBackbone``): other weights change a copy only.

    Args:
        backbone: the adapter, in any precision that it supports.
        frames: small structures of elements it covers; by default a molecule, a crystal and a one-atom crystal.
        rotation_tolerance: eV and eV/Å by which a rotated frame may differ; raise it for models that are
            invariant on a grid only.
        single_precision: the foundation is a closed calculator that always works in float32: its energies and forces
            are compared at float32 precision, its features as usual.
        periodic_only: the foundation cannot evaluate a frame without a cell; the isolated atom and the molecule
            without a cell are then left out.

    Raises:
        BackboneCheckError: the first violation of the contract, with the numbers.
    """
    checks.check_identity(backbone)
    chosen = example_frames(backbone.elements) if frames is None else [atoms.copy() for atoms in frames]
    checks.check_shapes(backbone, chosen)
    checks.check_untouched(backbone, chosen)
    checks.check_refusals(backbone, chosen[0])
    if isinstance(backbone, OpenBackbone):
        checks.check_adaptable(backbone, chosen[-1])
    exact = backbone.to(torch.float64)
    checks.check_precision(backbone, exact)
    precision = SINGLE if single_precision else DOUBLE
    checks.check_batch(exact, chosen, precision)
    if not periodic_only:
        checks.check_lone_atom(exact, chosen[0])
    checks.check_doubled_cell(exact, chosen, precision)
    rng = np.random.default_rng(0)
    for atoms in chosen if periodic_only else [*chosen, _without_cell(chosen[0])]:
        checks.check_translation(exact, atoms, rng, precision)
        checks.check_permutation(exact, atoms, rng, precision)
        checks.check_rotation(exact, atoms, rng, max(rotation_tolerance, precision.forces_eV_per_A))
        checks.check_position_derivatives(exact, atoms, rng, precision)
        checks.check_strain_derivatives(exact, atoms, rng, precision)


def example_frames(elements: Set[int]) -> list[Atoms]:
    """Return a distorted molecule, a distorted sheared crystal and a one-atom crystal of given elements.

    Carbon, hydrogen, oxygen, sodium, chlorine and aluminium are used if available, otherwise others in their place.
    """
    rng = np.random.default_rng(7)
    crystal = bulk("NaCl", "rocksalt", a=5.5)
    crystal.set_cell(crystal.cell.array @ (np.eye(3) + 0.04 * rng.normal(size=(3, 3))), scale_atoms=True)
    frames = [molecule("CH3OH"), crystal, bulk("Al", a=4.1)]
    available = sorted(elements)
    for atoms in frames:
        atoms.numbers = [z if z in elements else available[z % len(available)] for z in atoms.numbers]
        atoms.info = {CHARGE: 0, SPIN: 1}
        if len(atoms) > 1:
            atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
    return frames


def _without_cell(atoms: Atoms) -> Atoms:
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, info=atoms.info)
