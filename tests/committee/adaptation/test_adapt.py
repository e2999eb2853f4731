"""Adaptation of real foundations: what it learns, what it leaves alone, and that it can be repeated."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from committee import (
    AdaptSettings,
    CalculatorSettings,
    CommitteeSettings,
    SevenNetSettings,
    TrainingFrame,
    TrainingSettings,
    adapt,
    load,
    load_backbone,
    save,
    train,
)
from committee.adaptation.adapt import STATE
from committee.adaptation.low_rank import matrices_of
from committee.backbones.contract import OpenBackbone
from committee.checks.backbone_checks import (
    DOUBLE,
    check_position_derivatives,
    check_rotation,
    check_strain_derivatives,
)
from committee.errors import FoundationError, TrainingDataError

SHORT = AdaptSettings(optimizer="adam", epochs=2, batch_frames=3, replay_share=0.25)
METHODS = {
    "gauss_newton": AdaptSettings(optimizer="gauss_newton", replay_share=0),
    "full": AdaptSettings(optimizer="adam", epochs=12, batch_frames=3, learning_rate=2e-3, replay_share=0),
    "last_blocks": AdaptSettings(method="last_blocks", last_blocks=1, replay_share=0),
    "low_rank": AdaptSettings(method="low_rank", rank=2, epochs=12, batch_frames=3, learning_rate=2e-2, replay_share=0),
}


class InterruptedTrainingError(Exception):
    """A Ctrl-C of the user."""


def force_error(backbone: OpenBackbone, frames: list[TrainingFrame]) -> float:
    errors = []
    for frame in frames:
        forces, _ = backbone.evaluate([frame.atoms]).foundation()
        errors.append(np.abs(forces.numpy() - frame.forces_eV_per_A).mean())
    return float(np.mean(errors))


def same(one: OpenBackbone, other: OpenBackbone) -> bool:
    return one.changed_weights.keys() == other.changed_weights.keys() and all(
        torch.equal(value, other.changed_weights[name]) for name, value in one.changed_weights.items()
    )


def test_zero_epochs_leave_every_bit(foundation: OpenBackbone, frames: list[TrainingFrame]) -> None:
    adapted = adapt(foundation, frames, AdaptSettings(epochs=0, iterations=0))
    assert (adapted.fingerprint, adapted.name, adapted.changed_weights) == (foundation.fingerprint, foundation.name, {})
    one, two = (backbone.evaluate([frames[0].atoms]) for backbone in (foundation, adapted))
    assert torch.equal(one.energy, two.energy)
    assert torch.equal(one.foundation()[0], two.foundation()[0])


@pytest.mark.parametrize("method", list(METHODS))
def test_it_learns_and_stays_a_potential(
    foundation: OpenBackbone, frames: list[TrainingFrame], make_salt: Any, method: str
) -> None:
    before = foundation.evaluate([frames[0].atoms]).energy.detach()
    adapted = adapt(foundation, frames, METHODS[method])
    assert force_error(adapted, frames) < 0.7 * force_error(foundation, frames)
    assert torch.equal(foundation.evaluate([frames[0].atoms]).energy.detach(), before)
    assert not any(weight.requires_grad for weight in adapted.module.parameters())
    atoms, rng = make_salt(50), np.random.default_rng(0)
    exact = adapted.to(torch.float64)
    check_position_derivatives(exact, atoms, rng, DOUBLE)
    check_strain_derivatives(exact, atoms, rng, DOUBLE)
    check_rotation(exact, atoms, rng, 1e-4)


def test_low_rank_changes_have_that_rank(foundation: OpenBackbone, frames: list[TrainingFrame]) -> None:
    adapted = adapt(foundation, frames, SHORT.model_copy(update={"method": "low_rank", "rank": 2}))
    weights = dict(foundation.module.named_parameters())
    ranks = []
    for name, value in adapted.changed_weights.items():
        layer = foundation.module.get_submodule(name.rpartition(".")[0])
        difference = (value - weights[name]).double()
        for matrix in matrices_of(layer, name.rpartition(".")[2], weights[name]):
            part = difference.flatten()[matrix.start : matrix.stop].reshape(-1, *matrix.shape[-2:])
            sizes = torch.linalg.svdvals(part)
            ranks.append(int((sizes > 1e-3 * sizes.amax(-1, keepdim=True).clamp_min(1e-9)).sum(-1).max()))
            assert ranks[-1] <= 2
    assert ranks.count(2) > 5


def test_last_blocks_leave_the_first(foundation: OpenBackbone, frames: list[TrainingFrame]) -> None:
    adapted = adapt(foundation, frames, SHORT.model_copy(update={"method": "last_blocks", "last_blocks": 1}))
    *first, last, readout = foundation.weight_blocks
    assert adapted.changed_weights.keys() & set(last)
    assert adapted.changed_weights.keys() & set(readout)
    assert not adapted.changed_weights.keys() & {name for block in first for name in block}
    assert {name for block in foundation.weight_blocks for name in block} == {
        name for name, _ in foundation.module.named_parameters()
    }


@pytest.mark.parametrize("optimizer", ["gauss_newton", "adam"])
def test_labels_that_are_missing_have_no_influence(
    foundation: OpenBackbone, frames: list[TrainingFrame], optimizer: str
) -> None:
    """Forces alone, of one frame: neither the missing energy nor the missing stress pulls."""
    frame = replace(frames[0], energy_eV=np.nan, stress_eV_per_A3=None)
    alone = AdaptSettings(optimizer=optimizer, iterations=1, epochs=2, replay_share=0)
    weights = {"energy_weight": 1e3, "stress_weight": 1e3}
    masked = adapt(foundation, [frame], alone, training=TrainingSettings(**weights))
    plain = adapt(foundation, [frame], alone, training=TrainingSettings(energy_weight=0, stress_weight=0))
    assert same(masked, plain)
    whole = adapt(foundation, frames[:1], alone, training=TrainingSettings(energy_weight=0, stress_weight=0))
    assert same(whole, plain)
    assert not same(adapt(foundation, frames[:1], alone), plain)


def test_a_molecule_beside_a_crystal(foundation: OpenBackbone, frames: list[TrainingFrame], methane: Atoms) -> None:
    """A frame without a volume has no stress; it must not turn gradients into NaN."""
    if 6 not in foundation.elements:
        pytest.skip("the distilled model knows no carbon")
    forces = foundation.evaluate([methane]).foundation()[0].numpy() + 0.1
    gas = TrainingFrame("gas", methane, np.nan, forces)
    adapted = adapt(foundation, [*frames[:1], gas], SHORT)
    assert adapted.changed_weights


def test_reference_shifts_do_not_reach_the_weights(foundation: OpenBackbone, frames: list[TrainingFrame]) -> None:
    """Labels 1000 eV per atom away give the same weights, but for rounding."""
    moved = [replace(frame, energy_eV=frame.energy_eV + 1000.0 * len(frame.atoms)) for frame in frames]
    settings = AdaptSettings(iterations=1, replay_share=0)
    one, two = (adapt(foundation, chosen, settings) for chosen in (frames, moved))
    for name, value in one.changed_weights.items():
        assert torch.allclose(value, two.changed_weights[name], atol=1e-4)


RESUMED = {
    "gauss_newton": AdaptSettings(optimizer="gauss_newton", iterations=2, validation_fraction=0.3, replay_share=0),
    "adam": AdaptSettings(
        optimizer="adam", epochs=4, batch_frames=3, validation_fraction=0.3, pull_to_foundation=0.1, replay_share=0.2
    ),
}


@pytest.mark.parametrize("optimizer", list(RESUMED))
def test_an_interrupted_adaptation_ends_with_the_same_bits(
    foundation: OpenBackbone,
    frames: list[TrainingFrame],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    optimizer: str,
) -> None:
    settings = RESUMED[optimizer]
    steps: list[tuple[int, int]] = []
    whole = adapt(foundation, frames, settings, progress=lambda done, total: steps.append((done, total)))
    total = len(steps)
    assert steps == [(i + 1, total) for i in range(total)]

    def kill(done: int, _: int) -> None:
        if done == total:
            raise InterruptedTrainingError

    with pytest.raises(InterruptedTrainingError):
        adapt(foundation, frames, settings, state_folder=tmp_path, progress=kill)
    assert (tmp_path / STATE).is_file()
    again: list[int] = []
    resumed = adapt(foundation, frames, settings, state_folder=tmp_path, progress=lambda done, _: again.append(done))
    assert again[0] > 1
    assert same(whole, resumed)
    assert not (tmp_path / STATE).exists()
    with pytest.raises(InterruptedTrainingError):
        adapt(foundation, frames, settings, state_folder=tmp_path, progress=kill)
    with caplog.at_level(logging.INFO):
        adapt(foundation, frames, SHORT, state_folder=tmp_path)
    assert "another training" in caplog.text


def test_the_seed_decides_everything(foundation: OpenBackbone, frames: list[TrainingFrame]) -> None:
    for settings in (SHORT, AdaptSettings(iterations=1)):
        one, two, other = (adapt(foundation, frames[:3], settings, seed=seed) for seed in (3, 3, 4))
        assert one.fingerprint == two.fingerprint != other.fingerprint


def test_replay_reduces_the_change_far_away(foundation: OpenBackbone, frames: list[TrainingFrame]) -> None:
    far = [bulk("Na", cubic=True), bulk("NaCl", "cesiumchloride", a=3.4), bulk("NaCl", "zincblende", a=6.2)]
    for i, atoms in enumerate(far):
        atoms.rattle(0.1, rng=np.random.default_rng(i))

    def change(adapted: OpenBackbone) -> float:
        pairs = [(foundation.evaluate([a]).foundation()[0], adapted.evaluate([a]).foundation()[0]) for a in far]
        return float(np.mean([(one - two).abs().mean() for one, two in pairs]))

    free = adapt(foundation, frames, AdaptSettings(iterations=1, replay_share=0.0))
    kept = adapt(foundation, frames, AdaptSettings(iterations=1, replay_share=0.75, replay_weight=20))
    assert change(kept) < 0.8 * change(free)
    assert force_error(kept, frames) < 0.7 * force_error(foundation, frames)


def test_a_strong_pull_keeps_the_foundation(foundation: OpenBackbone, frames: list[TrainingFrame]) -> None:
    def distance(adapted: OpenBackbone) -> float:
        weights = dict(foundation.module.named_parameters())
        return sum(float((value - weights[name]).square().sum()) for name, value in adapted.changed_weights.items())

    free, pulled = (adapt(foundation, frames, SHORT.model_copy(update={"pull_to_foundation": p})) for p in (0, 500))
    assert distance(pulled) < 0.5 * distance(free)


def test_an_adaptation_that_only_harms_is_dropped(foundation: OpenBackbone, frames: list[TrainingFrame]) -> None:
    """Labels of some trajectories are the foundation's own with the opposite sign: nothing carries over."""
    groups = sorted({frame.group for frame in frames})
    wrong = [replace(f, forces_eV_per_A=-3 * f.forces_eV_per_A) if f.group != groups[0] else f for f in frames]
    settings = AdaptSettings(iterations=1, validation_fraction=0.2, replay_share=0)
    found = [adapt(foundation, wrong, settings, seed=seed) for seed in range(2)]
    assert any(adapted.fingerprint == foundation.fingerprint for adapted in found)


def test_a_diverging_adaptation_is_one_message(foundation: OpenBackbone, frames: list[TrainingFrame]) -> None:
    broken = [replace(frames[0], forces_eV_per_A=np.full((2, 3), 3e38))]
    with pytest.raises(FoundationError, match="diverged"):
        adapt(foundation, broken, AdaptSettings(optimizer="adam", epochs=3, replay_share=0))


def test_a_closed_foundation_is_refused(frames: list[TrainingFrame]) -> None:
    emt = CalculatorSettings(
        kind="calculator", import_path="ase.calculators.emt.EMT", features=SevenNetSettings(kind="sevennet")
    )
    with pytest.raises(FoundationError, match="cannot be adapted: its weights are not open"):
        adapt(load_backbone(emt), frames)
    with pytest.raises(TrainingDataError, match="at least one labelled frame"):
        adapt(load_backbone(SevenNetSettings(kind="sevennet")), [])


def test_heads_on_an_adapted_foundation_round_trip(
    foundation: OpenBackbone, frames: list[TrainingFrame], tmp_path: Path
) -> None:
    adapted = adapt(foundation, frames, SHORT)
    potential = train(
        adapted,
        frames,
        committee=CommitteeSettings(members=2, hidden_channels=8),
        training=TrainingSettings(epochs=5),
        cache_folder=tmp_path / "tangents",
    )
    save(potential, tmp_path / "model")
    opened = load(tmp_path / "model", foundation)
    one, two = (p.predict([frames[0].atoms], "exact")[0] for p in (potential, opened))
    assert one.energy == two.energy
    assert np.array_equal(one.forces_ensemble, two.forces_ensemble)


@pytest.mark.gpu
def test_adaptation_on_a_gpu(frames: list[TrainingFrame], foundation: OpenBackbone) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    if "sevennet" not in foundation.name:
        pytest.skip("one foundation is enough")
    on_gpu = load_backbone(SevenNetSettings(kind="sevennet", device="cuda"))
    adapted = adapt(on_gpu, frames)
    assert next(adapted.module.parameters()).is_cuda
    expected = adapt(foundation, frames)
    assert force_error(foundation.with_weights(adapted.changed_weights), frames) == pytest.approx(
        force_error(expected, frames), rel=0.05
    )
