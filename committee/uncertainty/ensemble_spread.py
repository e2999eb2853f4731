"""The committee's spread of forces and stress: exact from all members, or estimated from random probes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from committee.backbones.contract import Evaluation
from committee.model.correction import Correction, pull_back
from committee.model.latent import UNKNOWN_DISTANCE
from committee.uncertainty.screen import ForceScreen


@dataclass(frozen=True)
class Spread:
    """Force and stress spreads of a batch of N atoms in B frames; None where they were not computed.

    Attributes:
        forces_std: (N, 3) eV/Å.
        stress_std: (B, 3, 3) eV/Å³.
        forces: (K, N, 3) eV/Å, forces of each member.
        stress: (K, B, 3, 3) eV/Å³, stress of each member.
    """

    forces_std: Tensor | None = None
    stress_std: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None


MakeSpread = Callable[[Evaluation, Correction, Tensor, Tensor], Spread]
"""Maps evaluation, correction, mean forces (N, 3) and mean stress (B, 3, 3) to their spread."""


def no_spread(_evaluation: Evaluation, _correction: Correction, _forces: Tensor, _stress: Tensor) -> Spread:
    """Return an empty spread: the spread of the energy needs no derivative."""
    return Spread()


def exact_spread(evaluation: Evaluation, correction: Correction, forces: Tensor, stress: Tensor) -> Spread:
    """Compute every member's forces from K - 1 products, since the deviations sum to zero."""
    pulled_forces, pulled_stress = pull_back(evaluation, correction.deviation_slopes[:-1])
    member_forces = forces + torch.cat([pulled_forces, -pulled_forces.sum(0, keepdim=True)])
    member_stress = stress + torch.cat([pulled_stress, -pulled_stress.sum(0, keepdim=True)])
    return Spread(member_forces.std(0), member_stress.std(0), member_forces, member_stress)


def probed_spread(probes: int, generator: torch.Generator) -> MakeSpread:
    """Estimate the variance from g = Σ_k v_k (F_k - F̄) / √(K - 1) with v ~ N(0, 1): E[g∘g] is the variance (ddof 1)."""

    def spread(evaluation: Evaluation, correction: Correction, _forces: Tensor, _stress: Tensor) -> Spread:
        members = len(correction.deviations)
        weights = torch.randn(probes, members, generator=generator, dtype=torch.float64) / (members - 1) ** 0.5
        forces, stress = pull_back(evaluation, _mix(correction, weights))
        return Spread(forces.square().mean(0).sqrt(), stress.square().mean(0).sqrt())

    return spread


def screened_spread(screen: ForceScreen) -> MakeSpread:
    """Probe one frame and compute its exact spread where the screen requires it."""

    def spread(evaluation: Evaluation, correction: Correction, forces: Tensor, stress: Tensor) -> Spread:
        distance = _distance(correction, len(forces))
        if not screen.needs_exact:
            weights = torch.from_numpy(screen.draw(len(correction.deviations)))[None]
            probe, _ = pull_back(evaluation, _mix(correction, weights))
            if not screen.check(probe[0].double().square().sum(-1).cpu().numpy(), distance):
                return Spread()
        exact = exact_spread(evaluation, correction, forces, stress)
        if exact.forces_std is not None:
            screen.confirmed(exact.forces_std.double().norm(dim=-1).cpu().numpy(), distance)
        return exact

    return spread


def _distance(correction: Correction, n_atoms: int) -> NDArray[np.float64]:
    """Return the latent distance (n,); ``UNKNOWN_DISTANCE`` before the first training."""
    if correction.distance is None:
        return np.full(n_atoms, UNKNOWN_DISTANCE)
    return correction.distance.detach().double().cpu().numpy()


def _mix(correction: Correction, weights: Tensor) -> Tensor:
    """Return the slopes (P, N, D) of weighted sums of the deviations, weights (P, K)."""
    return torch.einsum("pk,knd->pnd", weights.to(correction.deviation_slopes), correction.deviation_slopes)
