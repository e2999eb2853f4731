"""K residual heads as one batched module: every weight carries the member axis first."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from committee.settings import CommitteeSettings

MAX_ATOMIC_NUMBER = 118


class HeadStack(nn.Module):
    """K two-layer perceptrons with per-element biases and a per-element last layer.

    δ_k(h, Z) = w3_k[Z] · silu(W2_k silu(W1_k h + b1_k[Z]) + b2_k); SiLU, because forces need smooth slopes.
    """

    def __init__(self, members: int, features: int, hidden: int, elements: int, generator: torch.Generator):
        super().__init__()

        def normal(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * scale)

        # Half the usual gain: with a few dozen labels smoother members generalise better (8 to 10 % of the error).
        self.w1 = normal(members, features, hidden, scale=0.5 / features**0.5)
        self.b1 = normal(members, elements, hidden, scale=0.5)
        self.w2 = normal(members, hidden, hidden, scale=hidden**-0.5)
        self.b2 = nn.Parameter(torch.zeros(members, 1, hidden))
        self.w3 = nn.Parameter(torch.zeros(members, elements, hidden))

    def forward(self, inputs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate every member and its slope; the slope is analytic so that training needs one backward pass only.

        Args:
            inputs: (N, D) standardised features.
            rows: (N,) row of each atom's element.

        Returns:
            values (K, N) in eV and slopes ∂value/∂input (K, N, D).
        """
        first = torch.einsum("nd,kdh->knh", inputs, self.w1) + self.b1[:, rows]
        second = torch.bmm(silu(first), self.w2) + self.b2
        last = self.w3[:, rows]
        values = (silu(second) * last).sum(-1)
        back = torch.bmm(last * _silu_slope(second), self.w2.transpose(1, 2)) * _silu_slope(first)
        return values, torch.bmm(back, self.w1.transpose(1, 2))


class ResidualHeads(nn.Module):
    """The committee's K corrections of an atom's energy, centred per element.

    The last layers start at zero, so the correction of an untrained committee is zero. The per-element constant of an
    atomic energy is a gauge freedom that a switching function would convert into spurious forces: it is subtracted
    and included in the reference shifts. Fixed random priors p_k with Σ_k p_k = 0 give a spread before training.
    """

    scale: Tensor
    mean: Tensor
    centers: Tensor
    row_of_element: Tensor

    def __init__(self, settings: CommitteeSettings, feature_size: int, elements: tuple[int, ...], seed: int):
        super().__init__()
        self.elements = elements
        generator = torch.Generator().manual_seed(seed)
        shape = (settings.members, feature_size, settings.hidden_channels, len(elements))
        self.stack = HeadStack(*shape, generator)
        self.prior = _prior(shape, settings.prior_scale_eV, generator) if settings.prior_scale_eV > 0 else None
        self.register_buffer("mean", torch.zeros(len(elements), feature_size))
        self.register_buffer("scale", torch.ones(len(elements), feature_size))
        self.register_buffer("centers", torch.zeros(settings.members, len(elements)))
        rows = torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.long)
        rows[list(elements)] = torch.arange(len(elements))
        self.register_buffer("row_of_element", rows)

    def rows(self, atomic_numbers: Tensor) -> Tensor:
        """Return the row of each atom's element in the per-element tables."""
        return self.row_of_element[atomic_numbers]

    def standardise_by(self, features: Tensor, rows: Tensor, settled: frozenset[int] = frozenset()) -> None:
        """Set mean and scale of the inputs from training atoms: features (N, D), element rows (N,).

        Elements in ``settled`` (atomic numbers) keep theirs, since trained weights depend on them.

        The scale is the geometric mean of a feature's own spread and that of all features of the element: its own
        spread alone gives noise the same weight as every other feature, and the common one suppresses all but the
        largest features (either raises the force error by 10 to 40 % with a few dozen labels).
        """
        pooled = features.std(0, correction=0).clamp_min(1e-12)
        for row in rows.unique().tolist():
            if self.elements[row] in settled:
                continue
            mine = features[rows == row]
            self.mean[row] = mine.mean(0)
            spread = mine.std(0, correction=0) if len(mine) > 1 else pooled
            common = spread.square().mean().sqrt().clamp_min(1e-6)
            self.scale[row] = (spread.clamp_min(1e-3 * common) * common).sqrt()

    def raw(self, features: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return values (K, N) before centring, and slopes in the unstandardised features (K, N, D)."""
        inputs = (features - self.mean[rows]) / self.scale[rows]
        values, slopes = self.stack(inputs, rows)
        if self.prior is not None:
            prior_values, prior_slopes = self.prior(inputs, rows)
            values = values + prior_values - prior_values.mean(0)
            slopes = slopes + prior_slopes - prior_slopes.mean(0)
        return values, slopes / self.scale[rows]

    def forward(self, features: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return centred values δ_k (K, N) in eV and slopes ∂δ_k/∂h (K, N, D)."""
        values, slopes = self.raw(features, rows)
        return values - self.centers[:, rows], slopes

    def mean_value(self, features: Tensor, rows: Tensor) -> Tensor:
        """Return the mean over the members (N,), differentiable by autograd; the priors cancel and are left out."""
        values: Tensor = self.stack((features - self.mean[rows]) / self.scale[rows], rows)[0]
        return values.mean(0) - self.centers.mean(0)[rows]

    def center(self, features: Tensor, rows: Tensor) -> None:
        """Set the centres so that each member's mean over these atoms is zero for each element."""
        with torch.no_grad():
            self.centers.copy_(element_means(self.raw(features, rows)[0], rows, len(self.elements)))


def element_means(values: Tensor, rows: Tensor, elements: int) -> Tensor:
    """Return the mean over the atoms of each element: values (K, N), rows (N,) -> (K, elements); 0 without atoms."""
    sums = values.new_zeros(len(values), elements).index_add(1, rows, values)
    return torch.div(sums, torch.bincount(rows, minlength=elements).clamp_min(1))


def _prior(shape: tuple[int, int, int, int], scale_eV: float, generator: torch.Generator) -> HeadStack:
    members, _, hidden, elements = shape
    prior = HeadStack(*shape, generator)
    with torch.no_grad():
        prior.w3.copy_(torch.randn(members, elements, hidden, generator=generator) * scale_eV / hidden**0.5)
    return prior.requires_grad_(False)


def _silu_slope(x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gate * (1 + x * (1 - gate))
