"""The requirements that ``committee.testing.check_backbone`` checks, one function each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from committee.backbones.contract import Backbone, Evaluation, OpenBackbone
from committee.errors import StructureError, UnknownElementError

Array = NDArray[np.float64]

_STEP = 1e-4  # Å, or strain
_ENERGY_EV = 1e-7
_FORCES_EV_A = 1e-6
_FEATURES = 1e-6
_RELATIVE = 1e-5  # of a finite difference


@dataclass(frozen=True)
class Precision:
    """Tolerances for a foundation's own energies and forces; its features are always float64.

    The ``step`` of finite differences is in Å or strain, ``relative`` is the relative error of one.
    """

    energy_eV: float
    forces_eV_per_A: float
    step: float
    relative: float


DOUBLE = Precision(_ENERGY_EV, _FORCES_EV_A, _STEP, _RELATIVE)
SINGLE = Precision(energy_eV=1e-4, forces_eV_per_A=1e-3, step=3e-3, relative=1e-2)
"""Tolerances for a closed calculator that always works in float32."""


class BackboneCheckError(AssertionError):
    """A backbone violates the contract that the committee relies on."""


def check_identity(backbone: Backbone) -> None:
    """Check name, fingerprint, level of theory, elements, cutoff and feature size."""
    _require(isinstance(backbone, Backbone), f"{type(backbone).__name__} lacks a member of the Backbone protocol")
    _require(bool(backbone.name) and bool(backbone.level_of_theory), "name or level_of_theory is empty")
    digits = set("0123456789abcdef")
    _require(
        len(backbone.fingerprint) == 64 and set(backbone.fingerprint) <= digits,  # noqa: PLR2004 - SHA-256 in hex
        f"fingerprint is not a SHA-256 in hexadecimal: {backbone.fingerprint!r}",
    )
    in_range = all(isinstance(z, int) and 0 < z < 119 for z in backbone.elements)  # noqa: PLR2004
    _require(bool(backbone.elements) and in_range, f"elements are not atomic numbers: {backbone.elements}")
    _require(backbone.cutoff_A > 0 and backbone.feature_size > 0, "cutoff_A and feature_size must be positive")


def check_precision(backbone: Backbone, exact: Backbone) -> None:
    """Check that the model in float64 is the same model."""
    _require(exact.dtype == torch.float64, f"to(torch.float64) has dtype {exact.dtype}")
    _require(
        (exact.fingerprint, exact.elements, exact.feature_size, exact.cutoff_A)
        == (backbone.fingerprint, backbone.elements, backbone.feature_size, backbone.cutoff_A),
        "to(torch.float64) changed the fingerprint, the elements, the feature size or the cutoff",
    )


def check_shapes(backbone: Backbone, frames: Sequence[Atoms]) -> None:
    """Check the shapes and types of an evaluation, and that positions and strain are leaves of the graph."""
    evaluation = backbone.evaluate(frames)
    n, b, dtype = sum(len(atoms) for atoms in frames), len(frames), backbone.dtype
    expected = {"positions": (n, 3), "strain": (b, 3, 3), "features": (n, backbone.feature_size), "volumes": (b,)}
    for name, shape in expected.items():
        _expect_tensor(name, getattr(evaluation, name), shape, dtype)
    _expect_tensor("energy", evaluation.energy, (b,), evaluation.energy.dtype)
    _require(evaluation.energy.is_floating_point(), "energy is not a floating-point tensor")
    leaves = (evaluation.positions, evaluation.strain)
    _require(all(t.is_leaf and t.requires_grad for t in leaves), "positions and strain must be leaves with gradients")
    _require(not evaluation.strain.any(), "strain must be zero")
    numbers = np.concatenate([atoms.numbers for atoms in frames])
    frame_index = np.repeat(np.arange(b), [len(atoms) for atoms in frames])
    _require(np.array_equal(evaluation.atomic_numbers.cpu(), numbers), "atomic_numbers do not follow the frames")
    _require(np.array_equal(evaluation.frame_index.cpu(), frame_index), "frame_index does not follow the frames")
    volumes = np.array([atoms.cell.volume if atoms.pbc.all() else np.nan for atoms in frames])
    _close("volumes", evaluation.volumes, volumes, 1e-3)
    forces, stress = evaluation.foundation()
    finite = all(bool(t.isfinite().all()) for t in (evaluation.energy, evaluation.features, forces))
    _require(finite, "energy, features or forces are not finite")
    _expect_tensor("forces", forces, (n, 3), forces.dtype)
    _expect_tensor("stress", stress, (b, 3, 3), stress.dtype)


def check_untouched(backbone: Backbone, frames: Sequence[Atoms]) -> None:
    """Check that an evaluation does not modify the caller's atoms."""
    for atoms in frames:
        before, info, arrays = atoms.copy(), dict(atoms.info), {k: v.copy() for k, v in atoms.arrays.items()}
        backbone.evaluate([atoms])
        same_arrays = arrays.keys() == atoms.arrays.keys() and all(
            np.array_equal(arrays[key], atoms.arrays[key]) for key in arrays
        )
        _require(
            before == atoms and info == atoms.info and same_arrays and atoms.calc is None,
            f"evaluate modified the caller's {atoms.get_chemical_formula()}",
        )


def check_refusals(backbone: Backbone, atoms: Atoms) -> None:
    """Check that invalid structures and unknown elements raise their errors."""
    broken = atoms.copy()
    broken.positions[0, 0] = np.nan
    flat = atoms.copy()
    flat.set_cell(np.zeros((3, 3)))
    flat.pbc = True
    refused = {"no frames": [], "no atoms": [Atoms()], "NaN": [broken], "a flat cell": [flat]}
    refused["atoms in one place"] = [atoms + atoms]
    for what, frames in refused.items():
        _expect_refusal(backbone, what, frames, StructureError)
    unknown = next((z for z in range(1, 119) if z not in backbone.elements), None)
    if unknown is not None:
        foreign = atoms.copy()
        foreign.numbers[0] = unknown
        _expect_refusal(backbone, f"element {unknown}", [foreign], UnknownElementError)


def check_batch(backbone: Backbone, frames: Sequence[Atoms], precision: Precision) -> None:
    """Check that a batch of mixed frames gives the same results as the frames one by one."""
    together = backbone.evaluate(frames)
    forces, stress = together.foundation()
    start = 0
    for index, atoms in enumerate(frames):
        rows = slice(start, start := start + len(atoms))
        alone = backbone.evaluate([atoms])
        own_forces, own_stress = alone.foundation()
        _close(f"energy of frame {index} in a batch", together.energy[index], alone.energy[0], precision.energy_eV)
        _close(f"features of frame {index} in a batch", together.features[rows], alone.features, _FEATURES)
        _close(f"forces of frame {index} in a batch", forces[rows], own_forces, precision.forces_eV_per_A)
        _close(f"stress of frame {index} in a batch", stress[index], own_stress[0], precision.forces_eV_per_A)


def check_lone_atom(backbone: Backbone, atoms: Atoms) -> None:
    """Check that an atom without neighbours has finite energy and features, zero forces and no stress."""
    lone = Atoms(numbers=atoms.numbers[:1], positions=atoms.positions[:1], info=atoms.info)
    evaluation = backbone.evaluate([lone])
    finite = evaluation.energy.isfinite().all() and evaluation.features.isfinite().all()
    _require(bool(finite), f"a lone {lone.symbols} atom has energy {evaluation.energy.tolist()}")
    forces, stress = evaluation.foundation(retain_graph=True)
    _close("forces on a lone atom", forces, np.zeros((1, 3)), _FORCES_EV_A)
    _require(bool(stress.isnan().all()), "the stress of a frame without volume must be NaN")
    slopes, _ = evaluation.derivatives(evaluation.features.sum())
    _close("slope of a lone atom's features", slopes, np.zeros((1, 3)), _FORCES_EV_A)


def check_doubled_cell(backbone: Backbone, frames: Sequence[Atoms], precision: Precision) -> None:
    """Check that doubling a periodic cell doubles the energy and repeats the features."""
    for atoms in frames:
        if atoms.pbc.all():
            single, double = backbone.evaluate([atoms]), backbone.evaluate([atoms.repeat((1, 2, 1))])
            _close("energy of a doubled cell", double.energy, 2 * single.energy, precision.energy_eV * len(atoms))
            _close("features of a doubled cell", double.features, single.features.tile(2, 1), _FEATURES)


def check_translation(backbone: Backbone, atoms: Atoms, rng: np.random.Generator, precision: Precision) -> None:
    """Check that results are invariant when all atoms are shifted."""
    moved = atoms.copy()
    moved.positions += rng.normal(scale=40.0, size=3)
    _same(backbone, "translation", atoms, moved, tolerance=precision.forces_eV_per_A)


def check_permutation(backbone: Backbone, atoms: Atoms, rng: np.random.Generator, precision: Precision) -> None:
    """Check that reordering atoms reorders forces and features."""
    order = rng.permutation(len(atoms))
    _same(backbone, "permutation", atoms, atoms[order], order=order, tolerance=precision.forces_eV_per_A)


def check_rotation(backbone: Backbone, atoms: Atoms, rng: np.random.Generator, tolerance: float) -> None:
    """Check that rotating atoms and cell rotates the forces and leaves energy and features unchanged."""
    matrix = Rotation.random(rng=rng).as_matrix()
    rotated = atoms.copy()
    rotated.set_cell(atoms.cell.array @ matrix.T)
    rotated.positions = atoms.positions @ matrix.T
    _same(backbone, "rotation", atoms, rotated, matrix=matrix, tolerance=tolerance)


def check_position_derivatives(
    backbone: Backbone, atoms: Atoms, rng: np.random.Generator, precision: Precision
) -> None:
    """Check forces and feature tangents against finite differences along a random displacement of all atoms."""
    direction = rng.normal(size=(len(atoms), 3))
    direction /= np.linalg.norm(direction)
    evaluation = backbone.evaluate([atoms])
    tangent = _tangent(evaluation, evaluation.positions, direction)
    forces, _ = evaluation.foundation()

    def moved(step: float) -> Atoms:
        other = atoms.copy()
        other.positions += step * direction
        return other

    slope, feature_slope = _differences(backbone, moved, precision.step)
    work = -np.einsum("ni,ni->", _numpy(forces), direction)
    _close("forces against finite differences", work, slope, precision.relative, relative=True)
    _close("feature tangents against finite differences", tangent, feature_slope, _RELATIVE, relative=True)


def check_strain_derivatives(backbone: Backbone, atoms: Atoms, rng: np.random.Generator, precision: Precision) -> None:
    """Check stress and feature tangents against finite differences along a random symmetric strain.

    A closed foundation may have no stress; its stress is NaN then.
    """
    direction = rng.normal(size=(3, 3))
    direction = (direction + direction.T) / 2
    evaluation = backbone.evaluate([atoms])
    tangent = _tangent(evaluation, evaluation.strain, direction[None])
    _, stress = evaluation.foundation()

    def strained(step: float) -> Atoms:
        deformation = np.eye(3) + step * direction
        other = atoms.copy()
        other.set_cell(atoms.cell.array @ deformation)
        other.positions = atoms.positions @ deformation
        return other

    slope, feature_slope = _differences(backbone, strained, precision.step)
    _close("feature tangents against finite differences", tangent, feature_slope, _RELATIVE, relative=True)
    without_stress = evaluation.closed_stress is not None and bool(stress.isnan().all())
    if atoms.pbc.all() and not without_stress:
        work = atoms.cell.volume * np.einsum("ij,ij->", _numpy(stress[0]), direction)
        _close("stress against finite differences", work, slope, precision.relative, relative=True)
        _close("symmetry of the stress", stress, stress.transpose(1, 2), precision.forces_eV_per_A)


def check_adaptable(backbone: OpenBackbone, atoms: Atoms) -> None:
    """Check that changed weights change a copy only, and that a trainable copy has gradients with respect to them."""
    before = backbone.evaluate([atoms]).energy.detach()
    copied = backbone.with_weights({})
    _require(copied.fingerprint == backbone.fingerprint, "with_weights({}) changed the fingerprint")
    _require(torch.equal(copied.evaluate([atoms]).energy.detach(), before), "with_weights({}) changed the energy")
    training = backbone.trainable()
    forces, stress = (evaluation := training.evaluate([atoms])).derivatives(evaluation.energy.sum(), create_graph=True)
    loss = evaluation.energy.sum() + forces.square().sum() + stress.nan_to_num().square().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    moved = {
        name: changed
        for name, weight in training.module.named_parameters()
        if weight.grad is not None
        # In a symmetric frame some gradients are rounding errors, and such a step changes no digit of a weight.
        and not torch.equal(changed := weight.detach() - 0.01 * weight.grad, weight.detach())
    }
    _require(bool(moved), "no weight of a trainable copy has a gradient")
    adapted = backbone.with_weights(moved)
    _require(adapted.fingerprint != backbone.fingerprint, "other weights have the same fingerprint")
    _require(adapted.base_fingerprint == backbone.base_fingerprint, "adaptation changed base_fingerprint")
    _require(set(adapted.changed_weights) >= set(moved), "changed_weights lacks weights that were changed")
    _require(not torch.equal(adapted.evaluate([atoms]).energy.detach(), before), "other weights give the same energy")
    frozen = not any(weight.requires_grad for weight in adapted.module.parameters())
    _require(frozen, "with_weights returned weights that require gradients")
    after = backbone.evaluate([atoms]).energy.detach()
    _require(torch.equal(after, before), "a copy with other weights changed the backbone itself")


def _tangent(evaluation: Evaluation, leaf: Tensor, direction: Array) -> Tensor:
    """Return ∂h/∂leaf · direction (N, D): the derivative of a vector-Jacobian product, batched over two directions."""
    weights = torch.zeros_like(evaluation.features, requires_grad=True)
    (back,) = torch.autograd.grad((evaluation.features * weights).sum(), leaf, create_graph=True)
    vector = torch.as_tensor(direction, dtype=leaf.dtype, device=leaf.device)
    both = torch.stack([vector, 2 * vector])
    (tangents,) = torch.autograd.grad(
        back, weights, both, is_grads_batched=True, retain_graph=True, materialize_grads=True
    )
    _close("linearity of feature tangents", tangents[1], 2 * tangents[0], _RELATIVE, relative=True)
    return torch.as_tensor(tangents[0])


def _differences(backbone: Backbone, changed: Callable[[float], Atoms], energy_step: float) -> tuple[Array, Array]:
    """Return the central differences of energy and features along a path of frames."""
    up, down = (backbone.evaluate([changed(sign * _STEP)]) for sign in (1.0, -1.0))
    features = (_numpy(up.features) - _numpy(down.features)) / (2 * _STEP)
    if energy_step != _STEP:
        up, down = (backbone.evaluate([changed(sign * energy_step)]) for sign in (1.0, -1.0))
    return (_numpy(up.energy) - _numpy(down.energy)) / (2 * energy_step), features


def _same(
    backbone: Backbone,
    what: str,
    atoms: Atoms,
    other: Atoms,
    *,
    order: NDArray[np.int64] | None = None,
    matrix: Array | None = None,
    tolerance: float,
) -> None:
    rows = np.arange(len(atoms)) if order is None else order
    before, after = backbone.evaluate([atoms]), backbone.evaluate([other])
    expected = _numpy(before.foundation()[0])[rows] @ (np.eye(3) if matrix is None else matrix.T)
    _close(f"energy after {what}", after.energy, before.energy, tolerance)
    _close(f"features after {what}", after.features, _numpy(before.features)[rows], tolerance)
    _close(f"forces after {what}", after.foundation()[0], expected, tolerance)


def _numpy(values: Tensor | ArrayLike) -> Array:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)


def _close(
    what: str, found: Tensor | ArrayLike, expected: Tensor | ArrayLike, tolerance: float, *, relative: bool = False
) -> None:
    values, reference = _numpy(found), _numpy(expected)
    allowed = tolerance * (1 + np.abs(reference).max()) if relative else tolerance
    if not np.allclose(values, reference, rtol=0, atol=allowed, equal_nan=True):
        raise BackboneCheckError(
            f"{what}: off by {np.abs(values - reference).max():.3g} where {allowed:.3g} is allowed; "
            f"found {values.ravel()[:3]}, expected {reference.ravel()[:3]}"
        )


def _expect_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    _require(
        tuple(tensor.shape) == shape and tensor.dtype == dtype,
        f"{name} is {tuple(tensor.shape)} {tensor.dtype}, expected {shape} {dtype}",
    )


def _expect_refusal(backbone: Backbone, what: str, frames: list[Atoms], error: type[Exception]) -> None:
    try:
        backbone.evaluate(frames)
    except error:
        return
    raise BackboneCheckError(f"a batch with {what} must raise {error.__name__}, but was evaluated")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BackboneCheckError(message)
