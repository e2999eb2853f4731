"""A committee on each real foundation, in double precision and inside the fade: its derivatives are consistent."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from committee.backbones import load_backbone
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentDistance, switching_function
from committee.model.reference_shifts import ReferenceShifts
from committee.model.tangents import VOIGT
from committee.potential import CommitteePotential, Provenance
from committee.settings import CommitteeSettings, FairchemSettings, SevenNetSettings
from committee.uncertainty.screen import ForceScreen


def crystal(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.rattle(0.12, rng=rng)
    return atoms


@pytest.fixture(scope="module", params=["sevennet", "fairchem"])
def potential(request: pytest.FixtureRequest) -> CommitteePotential:
    """Heads that disagree and an active fade, as after training; differentiation needs no training."""
    if request.param == "sevennet":
        settings = SevenNetSettings(kind="sevennet")
    else:
        path: Path = request.getfixturevalue("dense_checkpoint")
        settings = FairchemSettings(kind="fairchem", model=str(path), task_name="omat")
    backbone = load_backbone(settings).to(torch.float64)
    frames = [crystal(seed) for seed in range(4)]
    evaluation = backbone.evaluate(frames)
    features = evaluation.features.detach()
    latent = LatentDistance().fit(features.numpy(), evaluation.atomic_numbers.numpy(), evaluation.frame_index.numpy())
    near = latent.predict(backbone.evaluate([crystal(9)]).features.detach().numpy(), frames[0].numbers)
    committee = CommitteeSettings(
        members=3, hidden_channels=8, switch_start=float(near.min() / 2), switch_end=float(near.max() * 1.2)
    )
    heads = ResidualHeads(committee, backbone.feature_size, tuple(sorted(backbone.elements)), seed=0).double()
    with torch.no_grad():
        heads.stack.w3.normal_(generator=torch.Generator().manual_seed(1))
    rows = heads.rows(evaluation.atomic_numbers)
    heads.standardise_by(features, rows)
    heads.center(features, rows)
    shifts, provenance = ReferenceShifts(), Provenance("planted")
    return CommitteePotential(backbone, committee, heads, latent, shifts, provenance)


def test_forces_and_stress_are_derivatives_of_the_energy(potential: CommitteePotential) -> None:
    atoms = crystal(9)
    prediction = potential.predict([atoms], foundation=True)[0]
    factors = switching_function(
        torch.tensor(prediction.latent_distance), potential.settings.switch_start, potential.settings.switch_end
    )
    assert ((factors > 0.01) & (factors < 0.99)).all()
    assert np.abs(prediction.forces - prediction.foundation_forces).max() > 0.05  # the correction has its share

    def energies(*frames: Atoms) -> float:
        up, down = potential.predict(frames)
        return up.energy - down.energy

    for i, axis in ((0, 0), (5, 2)):
        up, down = atoms.copy(), atoms.copy()
        up.positions[i, axis] += 1e-4
        down.positions[i, axis] -= 1e-4
        assert prediction.forces[i, axis] == pytest.approx(-energies(up, down) / 2e-4, abs=1e-5)
    for component in (0, 5):
        row, column = VOIGT[component]
        strained = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[row, column] += sign * 5e-6
            strain[column, row] += sign * 5e-6
            strained.append(atoms.copy())
            strained[-1].set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        numeric = energies(*strained) / 2e-5 / atoms.get_volume()
        assert prediction.stress[component] == pytest.approx(numeric, abs=1e-5)


def test_exact_equals_a_loop_over_members(potential: CommitteePotential) -> None:
    atoms = crystal(9)
    evaluation = potential.backbone.evaluate([atoms])
    values, _ = potential.heads(evaluation.features, potential.heads.rows(evaluation.atomic_numbers))
    members = [evaluation.derivatives(value.sum(), retain_graph=True)[0].numpy() for value in values]
    prediction = potential.predict([atoms], "exact")[0]
    np.testing.assert_allclose(prediction.forces_uncertainty, np.std(members, axis=0, ddof=1), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        prediction.forces_ensemble - prediction.forces, members - np.mean(members, axis=0), atol=1e-8
    )


def test_probes_are_mixtures_of_the_members_deviations(potential: CommitteePotential) -> None:
    """A probe with these weights has the committee's variance as its mean square, since E[v vᵀ] is the identity."""
    atoms, one, two = crystal(9), ForceScreen(10.0, seed=3), ForceScreen(10.0, seed=3)
    exact = potential.predict([atoms], "exact")[0]
    for screen in (one, two):
        screen.confirmed(np.zeros(8), exact.latent_distance)
    deviations = exact.forces_ensemble - exact.forces
    expected = np.square(np.tensordot(two.draw(3), deviations, 1)).sum(-1)
    recorded: list[np.ndarray] = []
    take = one.check
    one.check = lambda squares, latent: bool(recorded.append(squares)) or take(squares, latent)
    assert potential.predict_screened(atoms, one).forces_uncertainty is None
    np.testing.assert_allclose(recorded[0], expected, rtol=1e-6)
