"""Gauss-Newton training of a foundation's weights, in the space of the labels.

The change of the weights is u in units of each tensor's root mean square. With the Jacobian J of all weighted residuals
with respect to u, the minimum of |r(u)|² + λ|u|² is sought: u = Jᵀ(JJᵀ + λ)⁻¹ t with the targets t = r + Ju, which
needs a matrix of the size of the labels only. λ follows from the residuals of trajectories that are left out, which
the linear model gives without another fit. That holds at the foundation, which has not seen the labels. A Jacobian
costs as much as dozens of evaluations of all residuals, so that many solutions follow from each (the chord method):
they converge to where the model itself, and not only its linearisation, fits the labels.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from committee.adaptation.objective import AdaptationData, Target, errors, held_out_loss
from committee.adaptation.stochastic import Progress
from committee.adaptation.trainable import Best, TrainableWeights
from committee.errors import FoundationError
from committee.model.directions import gaussian
from committee.model.tangents import structure_hash
from committee.settings import AdaptSettings, TrainingSettings
from committee.training.losses import ENERGY_SHARE
from committee.training.training_state import StateFile, TrainingState

_LOG = logging.getLogger(__name__)
CORRECTIONS = 25  # solutions with one Jacobian, each from the residuals of the last
_SHARES = (1.0, 0.5, 0.25, 0.125)  # of a solution's step, until the objective falls
RIDGES: tuple[float, ...] = tuple(
    10.0 ** (-k / 4) for k in range(2, 17)
)  # candidates for λ over the mean eigenvalue of JJᵀ; below them left-out trajectories no longer tell
RIDGE_FACTOR = 3.0  # of λ over the best for the linear model: the corrections do not converge far below
_RIDGE = "ridge"  # λ in a saved state
_UNTESTED_RIDGE = 1e-2  # with a single frame nothing can be left out
_PROGRESS = 2e-2  # least relative decrease of the objective that another correction needs
_BYTES = 4
_OTHER_ROWS = 7  # energy and stress
_MIN_DIRECTIONS = 8  # with fewer per frame the mini-batches of Adam use the labels better

Report = Callable[[int], None]


@dataclass(frozen=True)
class _Row:
    """A frame with the weight of its squared residuals and the displacements (m, n, 3) its forces are projected on.

    For a force error e and displacements v ~ N(0, 1) the mean of (e·v)² is |e|². None where all forces are compared.
    """

    target: Target
    weight: float
    displacements: Tensor | None


def directions_in_memory(weights: TrainableWeights, data: AdaptationData, settings: AdaptSettings) -> int:
    """Return the largest number of displacements per frame whose Jacobian fits into ``jacobian_memory_GB``.

    A frame of n atoms has 3n independent ones; with fewer, its forces are projected on random ones. The result is 0 if
    no Jacobian fits that is worth its time.
    """
    parameters = sum(weight.numel() for weight in weights.parameters)
    rows = int(settings.jacobian_memory_GB * 1e9 / (_BYTES * parameters))
    sizes = [3 * len(target.atoms) for target in [*data.labelled, *data.replayed]]
    for most in range(max(sizes), min(_MIN_DIRECTIONS, max(sizes)) - 1, -1):
        if sum(min(size, most) + _OTHER_ROWS for size in sizes) <= rows:
            return most
    return 0


def fit_gauss_newton(
    weights: TrainableWeights,
    data: AdaptationData,
    settings: AdaptSettings,
    training: TrainingSettings,
    state: StateFile | None,
    progress: Progress | None,
) -> None:
    """Fit in place; the fit is saved to ``state`` after each iteration and resumes from it.

    With held-out frames the weights of the best iteration are kept.
    """
    directions = directions_in_memory(weights, data, settings)
    if not directions:
        raise FoundationError(
            f"The Jacobian of {len(data.labelled)} labels does not fit into jacobian_memory_GB = "
            f"{settings.jacobian_memory_GB:g}; raise it, or set optimizer: adam."
        )
    saved = None if state is None else state.read()
    done, best, ridge = 0, Best(), None
    if saved is not None:
        weights.restore(saved.weights)
        ridge = saved.moments[_RIDGE].item()
        done, best = saved.epoch, Best(saved.best_score, saved.best_epoch, saved.best)
    elif data.held_out:
        best = Best(held_out_loss(weights.backbone, data, training), 0, weights.copy())
    for iteration in range(done + 1, settings.iterations + 1):
        rows = _rows(data, settings, weights, directions, iteration)

        def report(frame: int, before: int = (iteration - 1) * len(rows), every: int = len(rows)) -> None:
            if progress is not None:
                progress(before + frame, settings.iterations * every)

        ridge = _iterate(weights, rows, data.groups, training, report, ridge)
        if data.held_out and (score := held_out_loss(weights.backbone, data, training)) < best.score:
            best = Best(score, iteration, weights.copy())
        if state is not None:
            moments = {_RIDGE: torch.tensor([ridge], dtype=torch.float64)}
            state.write(TrainingState(iteration, weights.copy(), moments, best.weights, best.score, best.epoch))
    if best.weights:
        _LOG.info("lowest loss on the held-out frames after %d of %d iterations", best.epoch, settings.iterations)
        weights.restore(best.weights)


def _rows(
    data: AdaptationData,
    settings: AdaptSettings,
    weights: TrainableWeights,
    directions: int,
    iteration: int,
) -> list[_Row]:
    """Weight the frames; large ones get other random displacements in each iteration."""
    device = weights.parameters[0].device
    labelled, replayed = len(data.labelled), max(1, len(data.replayed))
    shares = [1.0 / labelled] * labelled
    shares += [settings.replay_weight * target.tolerance / replayed for target in data.replayed]
    found = []
    for target, share in zip([*data.labelled, *data.replayed], shares, strict=True):
        displacements = None
        if directions < 3 * len(target.atoms):
            shape = (directions, len(target.atoms), 3)
            drawn = gaussian(f"{iteration} {structure_hash(target.atoms)}", shape)
            displacements = torch.as_tensor(drawn, dtype=torch.float32, device=device)
        found.append(_Row(target, share, displacements))
    return found


def _iterate(
    weights: TrainableWeights,
    rows: Sequence[_Row],
    groups: Sequence[str],
    training: TrainingSettings,
    report: Report,
    given_ridge: float | None,
) -> float:
    """One Jacobian, and several solutions with it, of which the one with the lowest objective is kept.

    Returns:
        λ: the given one, or without one ``RIDGE_FACTOR`` times that of left-out trajectories.
    """
    start, scales = weights.start, weights.scales
    before = weights.flat()
    jacobian, residuals, roots = _jacobian(weights, rows, training, scales, report)
    kernel = _Kernel(jacobian)
    change = (before - start) / scales
    counts = [int((mine > 0).sum()) for mine in roots]
    targets = residuals.double() + (jacobian @ change).double()
    ridge = given_ridge or RIDGE_FACTOR * kernel.ridge(targets, [*groups, *[""] * (len(rows) - len(groups))], counts)

    def evaluated(change: Tensor) -> tuple[Tensor, float]:
        weights.set_flat(start + scales * change)
        parts = [_residuals(weights, row, training, mine)[0] for row, mine in zip(rows, roots, strict=True)]
        found = torch.cat(parts)
        return found, _objective(found, change, ridge)

    lowest = _objective(residuals, change, ridge)
    for _ in range(CORRECTIONS):
        targets = residuals.double() + (jacobian @ change).double()
        step = jacobian.T @ kernel.solve(targets, ridge).to(jacobian) - change
        for share in _SHARES:  # the Jacobian holds near its own weights only
            found, objective = evaluated(change + share * step)
            _LOG.info("λ %.2e, step %.2f: objective %.4e after %.4e", ridge, share, objective, lowest)
            if objective < lowest:
                break
        if not objective < lowest:
            break
        improved = objective < (1 - _PROGRESS) * lowest
        change, residuals, lowest = change + share * step, found, objective
        if not improved:
            break
    weights.set_flat(start + scales * change)
    return ridge


def _objective(residuals: Tensor, change: Tensor, ridge: float) -> float:
    return float(residuals.double().square().sum()) + ridge * float(change.double().square().sum())


def _jacobian(
    weights: TrainableWeights, rows: Sequence[_Row], training: TrainingSettings, scales: Tensor, report: Report
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return -∂r/∂u (M, P), the residuals r (M,), and the roots of the weights of each frame's rows."""
    most = sum(_moves(row) + _OTHER_ROWS for row in rows)
    jacobian = torch.empty(most, len(scales), dtype=scales.dtype, device=scales.device)
    residuals: list[Tensor] = []
    roots: list[Tensor] = []
    end = 0
    for number, row in enumerate(rows, 1):
        values, mine = _residuals(weights, row, training, None)
        for i, value in enumerate(values, end):
            gradients = torch.autograd.grad(value, weights.parameters, retain_graph=True, materialize_grads=True)
            torch.cat([gradient.flatten() for gradient in gradients], out=jacobian[i])
        residuals.append(values.detach())
        roots.append(mine)
        end += len(values)
        report(number)
    jacobian = jacobian[:end].mul_(-scales)
    if not bool(jacobian.sum().isfinite()):  # a mask of all elements would take as much memory again
        raise FoundationError(
            f"The adaptation of {weights.backbone.base_name} diverged: a derivative is NaN or infinite. Check the "
            "labels with the largest errors."
        )
    return jacobian, torch.cat(residuals), roots


def _moves(row: _Row) -> int:
    """Return the number of displacements along which a frame's forces are compared."""
    return 3 * len(row.target.atoms) if row.displacements is None else len(row.displacements)


def _residuals(
    weights: TrainableWeights, row: _Row, training: TrainingSettings, roots: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return target minus prediction of one frame times the roots of all weights, and these roots.

    Components without a label have the root 0 and no residual.

    Args:
        weights: the weights, at which the graph is kept if no roots are given.
        row: the frame.
        training: weights of energies, forces and stress. With Huber's loss that of a residual beyond the threshold
            falls as its inverse, which gives the same gradient.
        roots: those of the same rows at the start of an iteration, which minimises a sum of squares.
    """
    found = errors(weights.backbone, [row.target], training, train=roots is None)
    parts = [(found.energies[0], found.energy_weights, ENERGY_SHARE)]
    for direction in found.directions:
        values, squares = direction.values[0, 0], direction.weights[0]
        split = direction.n_moves
        if row.displacements is not None and split:
            moves = torch.einsum("mnc,nc->m", row.displacements.to(values), values[:split].view(-1, 3))
            share = squares[:1].expand(len(moves)) / len(moves)
            values, squares = torch.cat([moves, values[split:]]), torch.cat([share, squares[split:]])
        parts.append((values, squares, 1.0))
    values = -torch.cat([values for values, _, _ in parts])
    if roots is not None:
        return (roots * values.detach())[roots > 0], roots
    squares = row.weight * torch.cat([squares for _, squares, _ in parts])
    if training.loss == "huber":
        scales = torch.cat([torch.full_like(values, scale) for values, _, scale in parts])
        threshold = scales * training.huber_threshold_eV_per_A
        squares = squares * threshold / values.detach().abs().maximum(threshold)
    return (squares.sqrt() * values)[squares > 0], squares.sqrt()


class _Kernel:
    """K = JJᵀ in float64, with its eigenvectors."""

    def __init__(self, jacobian: Tensor) -> None:
        self.matrix = (jacobian @ jacobian.T).double()
        values, self._vectors = torch.linalg.eigh(self.matrix)
        self._values = values.clamp_min(0)

    def solve(self, targets: Tensor, ridge: float) -> Tensor:
        """Return (K + λ)⁻¹ t."""
        solution: Tensor = self._vectors @ ((self._vectors.T @ targets) / (self._values + ridge))
        return solution

    def ridge(self, targets: Tensor, groups: Sequence[str], counts: Sequence[int]) -> float:
        """Return the λ with the smallest squared residuals of frames whose trajectory is left out.

        The residuals of rows G without their own group are A_GG⁻¹ (A t)_G with A = (K + λ)⁻¹.

        Args:
            targets: (M,).
            groups: trajectory of each frame; empty for frames that are never left out.
            counts: number of rows of each frame.
        """
        of_rows = np.repeat(np.array(groups, dtype=object), counts)
        members = [torch.as_tensor(np.flatnonzero(of_rows == name)) for name in sorted({*groups} - {""})]
        mean: float = self._values.mean().item()
        if len(members) < 2:  # noqa: PLR2004
            return _UNTESTED_RIDGE * mean
        scores = [self._left_out(targets, members, share * mean) for share in RIDGES]
        return RIDGES[int(np.argmin(scores))] * mean

    def _left_out(self, targets: Tensor, members: Sequence[Tensor], ridge: float) -> float:
        inverse = (self._vectors / (self._values + ridge)) @ self._vectors.T
        solution = inverse @ targets
        total = 0.0
        for rows in members:
            part = rows.to(inverse.device)
            total += float(torch.linalg.solve(inverse[part][:, part], solution[part]).square().sum())
        return total
