"""Exploration in lockstep with a real foundation."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.records import GateCheck, Role, VerdictKind
from al_loop.structures.start import Start
from benchmarks.in_memory import explore
from committee.backbones import load_backbone
from committee.backbones.calculator import CalculatorBackbone
from committee.potential import CommitteePotential
from committee.settings import CalculatorSettings, CommitteeSettings, SevenNetSettings, TrainingSettings
from committee.training.train import TrainingFrame, train
from committee.uncertainty.calibration import Calibration

SETTINGS = ExploreSettings(temperatures_K=(300,), steps=12, check_every=4)


@pytest.fixture(scope="module")
def potential():
    return CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))


def start(atoms, name, seed=0, temperature_K=300.0):
    return Start(name, f"{name}/0", Role.EXPLORE, atoms, atoms.copy(), temperature_K, (seed,))


def run(potential, *starts, settings=SETTINGS, **physics):
    return explore(potential, starts, settings, PhysicsSettings(**physics))


def test_replicas_of_different_size_are_gated_every_few_steps(potential):
    visits = run(potential, start(molecule("CH3OH"), "methanol"), start(bulk("Cu", cubic=True), "copper"))
    assert [(v.trajectory, v.step) for v in visits] == [
        (f"{name}/0", step) for name in ("copper", "methanol") for step in (0, 4, 8, 12)
    ]
    assert {v.verdict.check for v in visits} == {GateCheck.UNCALIBRATED}
    checks = {
        GateCheck.PHYSICS: "trusted",
        GateCheck.FORCE_UNCERTAINTY: "suspect",
        GateCheck.LATENT_DISTANCE: "suspect",
    }
    assert all({check: verdict.kind.value for check, verdict in v.checks.items()} == checks for v in visits)
    assert not any(v.atoms.has("momenta") or v.atoms.calc for v in visits)


def test_a_trajectory_does_not_depend_on_its_neighbours(potential):
    alone = run(potential, start(molecule("CH3OH"), "methanol", seed=5))
    together = run(potential, start(molecule("H2O"), "water"), start(molecule("CH3OH"), "methanol", seed=5))
    together = [v for v in together if v.system == "methanol"]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.atoms.positions, other.atoms.positions, atol=1e-5)


def test_the_same_seed_gives_the_same_frames(potential):
    first, second = (run(potential, start(molecule("CH3OH"), "methanol", seed=9)) for _ in range(2))
    assert [v.frame_id for v in first] == [v.frame_id for v in second]


def test_a_broken_trajectory_stops_alone_and_at_once(potential):
    overlapping = molecule("CH3OH")
    overlapping.set_distance(0, 2, 0.25, fix=0)
    broken = Start("broken", "broken/0", Role.EXPLORE, overlapping, molecule("CH3OH"), 300.0, (1,))
    visits = run(potential, broken, start(molecule("CH3OH"), "methanol"))
    assert len([v for v in visits if v.system == "methanol"]) == 4
    stopped = [v for v in visits if v.system == "broken"]
    assert [v.step for v in stopped] == [0]
    assert all(v.verdict.check is GateCheck.PHYSICS for v in stopped)


class TiredEMT(EMT):
    """Predicts nickel a few times only, as a server that drops its connection."""

    calls_left = 6

    def calculate(self, atoms, properties, system_changes):
        if "Ni" in atoms.symbols:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise ConnectionError("the server hung up")
        super().calculate(atoms, properties, system_changes)


def test_a_frame_without_an_answer_stops_its_own_trajectory(potential):
    settings = CalculatorSettings(
        kind="calculator",
        import_path="ase.calculators.emt.EMT",
        features=SevenNetSettings(kind="sevennet"),
    )
    closed = CommitteePotential.untrained(CalculatorBackbone(settings, TiredEMT(), potential.backbone))
    doubled = bulk("Cu", cubic=True) + bulk("Cu", cubic=True)[:1]
    starts = [
        start(bulk("Ni", cubic=True), "nickel"),
        start(bulk("Si", cubic=True), "silicon"),  # EMT has no parameters for it
        Start("doubled", "doubled/0", Role.EXPLORE, doubled, bulk("Cu", cubic=True), 300.0, (0,)),
        start(bulk("Cu", cubic=True), "copper", seed=3),
    ]
    visits = run(closed, *starts)
    steps = {name: [v.step for v in visits if v.system == name] for name in ("copper", "nickel", "silicon", "doubled")}
    assert steps["copper"] == [0, 4, 8, 12]
    assert steps["silicon"] == steps["doubled"] == [0]
    assert steps["nickel"][:1] == [0]
    assert 0 < steps["nickel"][-1] < 12
    stopped = {v.system: v.verdict for v in visits if v.verdict.stop}
    assert set(stopped) == {"nickel", "silicon", "doubled"}
    assert all(v.kind is VerdictKind.DISCARD and "not computable" in v.reason for v in stopped.values())
    assert "the server hung up" in stopped["nickel"].reason
    assert "0 Å apart" in stopped["doubled"].reason
    alone = run(closed, starts[-1])
    for one, other in zip(alone, [v for v in visits if v.system == "copper"], strict=True):
        np.testing.assert_allclose(one.atoms.positions, other.atoms.positions, atol=1e-5)


def test_a_thermostat_at_20000_K_is_caught(potential):
    hot = Start("hot", "hot/0", Role.EXPLORE, molecule("CH3OH"), molecule("CH3OH"), 20000.0, (2,))
    settings = SETTINGS.model_copy(update={"steps": 50})
    visits = run(potential, hot, settings=settings)
    assert visits[-1].verdict.check is GateCheck.PHYSICS
    assert visits[-1].step < 50
    assert visits[-1].verdict.kind in {VerdictKind.SUSPECT, VerdictKind.DISCARD}


def test_the_bar_moves_once_a_step(potential):
    steps = []
    explore(potential, [start(molecule("H2O"), "water")], SETTINGS, PhysicsSettings(), steps.append)
    assert steps == [1] * 12


@pytest.fixture(scope="module")
def trained(potential, tmp_path_factory):
    frames = [molecule("CH3OH") for _ in range(4)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    labels = [TrainingFrame(str(i), atoms, -30.0, np.zeros((6, 3)), group=str(i)) for i, atoms in enumerate(frames)]
    return train(
        potential.backbone,
        labels,
        committee=CommitteeSettings(members=2, hidden_channels=4),
        training=TrainingSettings(epochs=2),
        cache_folder=tmp_path_factory.mktemp("tangents"),
        seed=0,
    )


def gated(trained, **thresholds):
    ones = [np.ones(6)] * 12
    return trained.with_calibration(replace(Calibration.fit(ones, ones, ones, tolerance_eV_per_A=0.2), **thresholds))


def test_a_start_that_the_gate_trusts_is_stored_as_trusted(trained):
    """It counts towards the time until the first suspect frame."""
    sure = gated(trained, trust_threshold=np.inf, discard_threshold=None, latent_threshold=np.inf)
    visits = run(sure, start(molecule("CH3OH"), "methanol"))
    assert [(v.step, v.verdict.kind) for v in visits] == [(step, VerdictKind.TRUSTED) for step in (0, 4, 8, 12)]


def test_a_start_is_labelled_however_uncertain_it_is(trained):
    """A committee with every spread above the discard threshold must still be able to learn."""
    unsure = gated(trained, trust_threshold=-2.0, discard_threshold=-1.0)
    visits = run(unsure, start(molecule("CH3OH"), "methanol"))
    assert [(v.step, v.verdict.kind) for v in visits] == [(0, VerdictKind.SUSPECT), (4, VerdictKind.DISCARD)]
    verdicts = [v.checks[GateCheck.FORCE_UNCERTAINTY] for v in visits]
    assert [(verdict.kind, verdict.reason) for verdict in verdicts] == [
        (v.verdict.kind, v.verdict.reason) for v in visits
    ]
