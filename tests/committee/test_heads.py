import numpy as np
import pytest
import torch

from committee.model.heads import ResidualHeads, element_means
from committee.settings import CommitteeSettings

ELEMENTS = (1, 6, 8)


def heads_with(prior: float = 0.0, seed: int = 3) -> ResidualHeads:
    settings = CommitteeSettings(members=5, hidden_channels=7, prior_scale_eV=prior)
    return ResidualHeads(settings, 4, ELEMENTS, seed).double()


def randomise_last_layer(heads: ResidualHeads) -> None:
    with torch.no_grad():
        heads.stack.w3.normal_(generator=torch.Generator().manual_seed(0))


def atoms(count: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return features, torch.tensor([6, 1, 1, 8, 6, 1, 1, 1, 8])[:count]


def test_untrained_heads_correct_nothing():
    heads = heads_with()
    features, numbers = atoms()
    values, slopes = heads(features, heads.rows(numbers))
    assert torch.equal(values, torch.zeros(5, 9, dtype=torch.float64))
    assert torch.equal(slopes, torch.zeros(5, 9, 4, dtype=torch.float64))


@pytest.mark.parametrize("prior", [0.0, 0.3])
def test_written_slopes_are_the_derivative(prior):
    heads = heads_with(prior)
    randomise_last_layer(heads)
    features, numbers = atoms()
    rows = heads.rows(numbers)
    heads.standardise_by(features, rows)
    features.requires_grad_()
    values, slopes = heads(features, rows)
    for member in range(5):
        expected = torch.autograd.grad(values[member].sum(), features, retain_graph=True)[0]
        torch.testing.assert_close(slopes[member], expected, rtol=1e-10, atol=1e-12)


def test_batched_members_equal_members_one_by_one():
    heads = heads_with()
    randomise_last_layer(heads)
    features, numbers = atoms()
    rows = heads.rows(numbers)
    values, _ = heads(features, rows)
    stack = heads.stack
    for k in range(5):
        first = torch.nn.functional.silu(features @ stack.w1[k] + stack.b1[k][rows])
        second = torch.nn.functional.silu(first @ stack.w2[k] + stack.b2[k])
        torch.testing.assert_close(values[k], (second * stack.w3[k][rows]).sum(-1))


def test_members_differ_and_the_seed_fixes_them():
    first, again, other = heads_with(seed=1), heads_with(seed=1), heads_with(seed=2)
    assert torch.equal(first.stack.w1, again.stack.w1)
    assert not torch.equal(first.stack.w1, other.stack.w1)
    assert not torch.equal(first.stack.w1[0], first.stack.w1[1])


def test_priors_spread_the_members_and_leave_the_mean_alone():
    heads = heads_with(prior=0.5)
    features, numbers = atoms()
    rows = heads.rows(numbers)
    values, _ = heads(features, rows)
    assert values.std(0).min() > 0.01
    assert values.mean(0).abs().max() < 1e-12
    assert torch.equal(heads.mean_value(features, rows), torch.zeros(9, dtype=torch.float64))


def test_centring_removes_each_elements_constant_and_nothing_else():
    heads = heads_with(prior=0.2)
    randomise_last_layer(heads)
    features, numbers = atoms()
    rows = heads.rows(numbers)
    before, slopes_before = heads(features, rows)
    heads.center(features, rows)
    after, slopes_after = heads(features, rows)
    assert element_means(after, rows, len(ELEMENTS)).abs().max() < 1e-12
    assert torch.equal(slopes_before, slopes_after)
    for row in range(len(ELEMENTS)):
        moved = (before - after)[:, rows == row]
        torch.testing.assert_close(moved, moved[:, :1].expand_as(moved))
    torch.testing.assert_close(heads.mean_value(features, rows), after.mean(0))


def test_elements_have_their_own_heads():
    heads = heads_with()
    randomise_last_layer(heads)
    features = torch.ones(3, 4, dtype=torch.float64)
    values, _ = heads(features, heads.rows(torch.tensor(ELEMENTS)))
    assert np.unique(values[0].detach().numpy().round(9)).size == 3
