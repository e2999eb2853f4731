"""A candidate on an adapted foundation is compared with the foundation as it was before, and forgetting is seen."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from al_loop.gate.beside_foundation import predict_each_beside
from al_loop.records import LabelledFrame, Role
from al_loop.stages.evaluate.errors import evaluate
from al_loop.stages.promote.dimer_repulsion import repulsion
from al_loop.stages.promote.forgetting import ProbeFrames, foundation_distances, is_far, no_harm, probe_frames
from al_loop.stages.promote.predictions import ForceErrors, FoundationDeviation
from al_loop.utils.content_hash import frame_id
from committee import CommitteePotential, FairchemSettings, load_backbone
from committee.backbones.contract import OpenBackbone
from committee.errors import RefusedFrameError
from dft_interfaces.label import Label, LabelStatus

DISTILLED = Path(__file__).parents[3] / "data" / "distilled" / "distilled.pt"
READOUT = "output_heads.efs.head.energy_block.4"


@pytest.fixture(scope="module")
def foundation() -> CommitteePotential:
    settings = FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat")
    return CommitteePotential.untrained(load_backbone(settings))


@pytest.fixture(scope="module")
def inverted(foundation: CommitteePotential) -> CommitteePotential:
    """All forces have the opposite sign: the worst that an adaptation can do."""
    backbone = foundation.backbone
    assert isinstance(backbone, OpenBackbone)
    weights = dict(backbone.module.named_parameters())
    changed = {name: -weights[name] for name in (f"{READOUT}.weight", f"{READOUT}.bias")}
    return CommitteePotential.untrained(backbone.with_weights(changed, "EMT"))


@pytest.fixture(scope="module")
def frames(foundation: CommitteePotential) -> list[LabelledFrame]:
    found = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        (prediction,) = foundation.predict([atoms])
        label = Label(LabelStatus.CONVERGED, "level", prediction.energy, 1.1 * prediction.forces)
        found.append(LabelledFrame(frame_id(atoms), atoms, Role.EXPLORE, "copper", f"copper/{seed}", label=label))
    return found


def test_errors_of_the_foundation_are_those_before_adaptation(foundation, inverted, frames) -> None:
    seen = evaluate(frames, inverted, frozenset({"Cu4"}), foundation)
    bare = np.concatenate([one.forces for one in foundation.predict([frame.atoms for frame in frames])])
    np.testing.assert_allclose(seen.forces_foundation, bare, atol=1e-5)
    np.testing.assert_allclose(seen.forces_served, -bare, atol=1e-4)
    assert seen.energy_foundation.tolist() == pytest.approx(seen.energy_dft.tolist(), abs=1e-5)
    errors = ForceErrors.of(inverted, foundation, frames, foundation)
    new, old, before = errors.mae(frames)
    assert old == pytest.approx(before, rel=1e-3)
    assert new == pytest.approx(21 * before, rel=1e-3)


def test_a_refused_frame_stays_refused(foundation, inverted, frames) -> None:
    broken = frames[0].atoms.copy()
    broken.positions[0] = np.nan
    good, bad = predict_each_beside(inverted, foundation, [frames[0].atoms, broken])
    np.testing.assert_allclose(good.foundation_forces, -good.forces, atol=1e-4)
    assert isinstance(bad, RefusedFrameError)


def test_forgetting_is_measured_against_the_foundation_before_adaptation(foundation, inverted, frames) -> None:
    rng = np.random.default_rng(0)
    probe = probe_frames([bulk("Cu", cubic=True)], 3, inverted, 3.0, rng, foundation)
    bare = foundation.predict(list(probe.atoms))
    for stored, one in zip(probe.forces, bare, strict=True):
        np.testing.assert_allclose(stored, one.forces, atol=1e-5)
    deviation = FoundationDeviation(0.1, 1.0)
    assert not no_harm(inverted, probe, deviation, 0.05, 3.0).passed
    assert no_harm(foundation, probe, deviation, 0.05, 3.0).passed
    assert repulsion(inverted, {29}).passed  # against its own foundation
    assert not repulsion(inverted, {29}, foundation).passed
    assert repulsion(foundation, {29}, foundation).passed


def test_what_is_far_follows_from_the_features_before_adaptation(foundation, inverted, frames) -> None:
    distances = partial(foundation_distances, foundation, frames)
    near, far = frames[0].atoms, bulk("Cu", cubic=True, a=4.6)
    measured = distances([near, far])
    assert [len(one) for one in measured] == [4, 4]
    assert (is_far(measured[0], 3.0), is_far(measured[1], 3.0)) == (False, True)
    forces = tuple(one.forces for one in foundation.predict([near, far]))
    probe = ProbeFrames((near, far), forces)
    counted = no_harm(inverted, probe, FoundationDeviation(0.1, 1.0), 0.05, 3.0, distances)
    assert counted.sentence.startswith("1 of 2 probe frames are far")
