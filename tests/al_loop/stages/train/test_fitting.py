"""Candidates on a real foundation, adapted or not: what is kept, what resumes, and that a queue's job does the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from al_loop.config import Config, GateSettings
from al_loop.config.settings import TrainSettings
from al_loop.records import LabelledFrame, Role
from al_loop.stages import queue_program
from al_loop.stages.queue_job import StageJob
from al_loop.stages.queue_tasks import (
    DONE,
    MODEL,
    TaskFile,
    TrainTask,
    atoms_as_text,
    frame_as_dict,
    kept_model,
    read_result,
    step_folder,
)
from al_loop.stages.train.adaptation import keeps_adapted
from al_loop.stages.train.candidate import campaign_fitting, compared_labels
from al_loop.stages.train.fitting import Backbones, Fitting, best_candidate
from al_loop.stages.train.training_frame import training_frame
from al_loop.utils.content_hash import frame_id
from al_loop.utils.progress import Advance, SilentProgress
from committee import CommitteePotential, CommitteeSettings, FairchemSettings, load, load_backbone, train
from committee.backbones.contract import Backbone
from committee.errors import FoundationError
from committee.settings import AdaptSettings, CalculatorSettings
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.settings import StageQueueSettings

DISTILLED = FairchemSettings(
    kind="fairchem", model=str(Path(__file__).parents[3] / "data" / "distilled" / "distilled.pt"), task_name="omat"
)
SHORT = AdaptSettings(optimizer="adam", epochs=2, learning_rate=2e-3, replay_share=0.1)
COMMITTEE = CommitteeSettings(members=2, hidden_channels=8)


class StoppedError(Exception):
    """A kill of the campaign."""


@dataclass
class Stages:
    """Notes the stages of a training, and ends it in one of them."""

    end_in: str = ""
    after: int = 0
    seen: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, *, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        assert total
        assert unit
        self.seen.append(name)

        def advance(count: int) -> None:
            self.first.setdefault(name, count)
            self.done[name] = self.done.get(name, 0) + count
            if name == self.end_in and self.done[name] >= self.after:
                raise StoppedError

        if name == self.end_in and not self.after:
            raise StoppedError
        yield advance


def copper(seed: int) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.12, seed=seed)
    return atoms


def labelled(count: int, first: int, role: Role = Role.EXPLORE) -> list[LabelledFrame]:
    frames = []
    for seed in range(first, first + count):
        atoms = copper(seed)
        atoms.calc = EMT()
        label = Label(
            LabelStatus.CONVERGED, "emt", atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        )
        atoms.calc = None
        frames.append(LabelledFrame(frame_id(atoms), atoms, role, "copper", f"copper/{seed % 6}", label=label))
    return frames


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def foundation() -> Backbone:
    return load_backbone(DISTILLED)


@pytest.fixture(scope="module")
def frames() -> list[LabelledFrame]:
    return labelled(16, 0)


@pytest.fixture(scope="module")
def held_back() -> list[LabelledFrame]:
    return labelled(6, 100, Role.CALIBRATION)


@pytest.fixture(scope="module")
def tangents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that keeps the foundation's tangents for all tests."""
    return tmp_path_factory.mktemp("tangents")


@pytest.fixture
def fitting(
    foundation: Backbone, frames: list[LabelledFrame], held_back: list[LabelledFrame], tangents: Path
) -> Fitting:
    return Fitting(
        backbones=Backbones(foundation, foundation),
        frames=[training_frame(frame) for frame in frames],
        prior_shifts_eV=lambda _: {},
        level="EMT",
        committee=COMMITTEE,
        train=TrainSettings(epochs=1, adaptation=SHORT),
        gate=GateSettings(force_tolerance_eV_per_A=1e-3),
        seed=5,
        folder=tangents,
        held_back=[(frame.atoms, frame.forces_eV_per_A) for frame in held_back],
    )


def with_mode(fitting: Fitting, adapt: str, **more: object) -> Fitting:
    return replace(fitting, train=fitting.train.model_copy(update={"adapt": adapt, **more}))


def same_heads(one: CommitteePotential, other: CommitteePotential) -> bool:
    first, second = one.heads.state_dict(), other.heads.state_dict()
    return one.shifts == other.shifts and all(torch.equal(value, second[name]) for name, value in first.items())


def test_never_is_the_fit_of_heads_alone(fitting: Fitting, foundation: Backbone, tangents: Path) -> None:
    stages = Stages()
    candidate, record = best_candidate(with_mode(fitting, "never"), stages)
    alone = train(
        foundation,
        fitting.frames,
        committee=COMMITTEE,
        training=fitting.train.fit,
        cache_folder=tangents,
        seed=5,
        level_of_theory="EMT",
    )
    assert record is None
    assert stages.seen == ["train"]
    assert same_heads(candidate, alone)
    assert candidate.backbone is foundation


def test_heads_that_stopped_learning_escalate_and_the_better_candidate_is_kept(fitting: Fitting) -> None:
    """Heads of one epoch are hardly better than the foundation, whichever half of the labels they see."""
    stages = Stages()
    candidate, record = best_candidate(fitting, stages)
    assert record is not None
    assert stages.seen == ["train", "learning curve", "adapt", "tangents", "train"]
    assert stages.done["adapt"] == 100
    assert stages.done["learning curve"] == 2
    assert stages.done["tangents"] == len(fitting.frames)
    assert record.within_tolerance == 0
    assert record.force_mae_half == pytest.approx(record.force_mae_heads, rel=0.15)
    assert record.kept
    assert keeps_adapted(record.force_mae_heads, record.force_mae_adapted)
    assert candidate.backbone.name == record.foundation != fitting.backbones.foundation.name
    assert record.attempted_labels == len(fitting.frames)
    assert fitting.errors(candidate).force_mae_eV_per_A == record.force_mae_adapted
    assert f"{record.force_mae_adapted:.4f} eV/Å with it, {record.force_mae_heads:.4f} with heads" in record.sentence


def test_an_adaptation_that_does_not_win_leaves_heads_alone_and_no_tangents(fitting: Fitting, tangents: Path) -> None:
    before = {path.name for path in tangents.iterdir()}
    slow = SHORT.model_copy(update={"learning_rate": 1e-7, "epochs": 1})
    candidate, record = best_candidate(with_mode(fitting, "auto", adaptation=slow), SilentProgress())
    assert record is not None
    assert (record.tried, record.kept) == (True, False)
    assert candidate.backbone is fitting.backbones.foundation
    assert "heads alone are kept" in record.sentence
    assert {path.name for path in tangents.iterdir()} <= {*before, "adaptation"}


def test_an_adaptation_that_diverges_leaves_heads_alone(fitting: Fitting) -> None:
    wild = SHORT.model_copy(update={"learning_rate": 1.0, "epochs": 6})
    candidate, record = best_candidate(with_mode(fitting, "auto", adaptation=wild), SilentProgress())
    assert record is not None
    assert (record.tried, record.kept) == (True, False)
    assert candidate.backbone is fitting.backbones.foundation


def test_enough_labels_within_the_tolerance_need_no_adaptation(fitting: Fitting) -> None:
    stages = Stages()
    _, record = best_candidate(replace(fitting, gate=GateSettings(force_tolerance_eV_per_A=100)), stages)
    assert record is not None
    assert stages.seen == ["train"]
    assert record.sentence.startswith("The foundation is not adapted: 100% of 6 calibration frames are within")
    _, record = best_candidate(replace(fitting, held_back=()), stages)
    assert record is not None
    assert (record.tried, record.frames) == (False, 0)
    assert "no calibration frames" in record.sentence


def test_a_foundation_is_adapted_again_once_the_labels_have_grown_by_half(
    fitting: Fitting, foundation: Backbone, tmp_path: Path
) -> None:
    """The learning curve does not decide: the features have seen the labels of both halves."""
    name, weight = next((n, w) for n, w in foundation.module.named_parameters() if w.ndim > 1)
    current = foundation.with_weights({name: weight * 1.001}, "EMT")
    later = replace(fitting, backbones=Backbones(foundation, current), folder=tmp_path, attempted_labels=11)
    stages = Stages()
    candidate, record = best_candidate(later, stages)
    assert stages.seen == ["tangents", "train"]
    assert (record.tried, record.attempted_labels) == (False, 11)
    assert "the last attempt had 11 of the 16 labels (the next one has at least 17)" in record.sentence
    assert candidate.backbone is current
    stages = Stages()
    _, record = best_candidate(replace(later, attempted_labels=10), stages)
    assert stages.seen == ["tangents", "train", "adapt", "tangents", "train"]
    assert (record.tried, record.attempted_labels, record.force_mae_half) == (True, 16, None)


@pytest.mark.parametrize("after", [75, 0], ids=["in the middle of it", "before the heads"])
def test_an_adaptation_that_is_interrupted_is_not_repeated(fitting: Fitting, tmp_path: Path, after: int) -> None:
    two_steps = SHORT.model_copy(update={"batch_frames": 2})  # in each of two epochs
    always = with_mode(replace(fitting, frames=fitting.frames[:4]), "always", adaptation=two_steps)
    expected, record = best_candidate(replace(always, folder=tmp_path / "one"), SilentProgress())
    assert record is not None
    assert record.kept
    there = replace(always, folder=tmp_path / "other")
    with pytest.raises(StoppedError):
        best_candidate(there, Stages(end_in="adapt" if after else "tangents", after=after))
    stages = Stages()
    candidate, again = best_candidate(there, stages)
    assert again == record
    assert same_heads(candidate, expected)
    assert candidate.backbone.fingerprint == expected.backbone.fingerprint
    assert stages.first.get("adapt", 0) == after  # the first step that was not done
    assert len(list((tmp_path / "other" / "adaptation").iterdir())) == 1


def test_a_closed_foundation_keeps_its_weights(fitting: Fitting, tmp_path: Path) -> None:
    closed = load_backbone(
        CalculatorSettings(kind="calculator", import_path="ase.calculators.emt.EMT", features=DISTILLED)
    )
    there = replace(fitting, backbones=Backbones(closed, closed), folder=tmp_path)
    candidate, record = best_candidate(there, SilentProgress())
    assert record is None
    assert candidate.backbone is closed
    with pytest.raises(FoundationError, match="weights are not open"):
        best_candidate(with_mode(there, "always"), SilentProgress())


def test_a_job_of_a_queue_does_the_same(
    foundation: Backbone, frames: list[LabelledFrame], held_back: list[LabelledFrame], tmp_path: Path
) -> None:
    """On a served model whose foundation was adapted in an earlier round."""
    config = Config.model_validate(
        {
            "name": "copper",
            "folder": tmp_path,
            "foundation": DISTILLED.model_dump(),
            "committee": COMMITTEE.model_dump(),
            "systems": [{"file": "copper.cif"}],
            "explore": {"temperatures_K": [600]},
            "gate": {"force_tolerance_eV_per_A": 1e-3},
            "train": {"epochs": 1, "adaptation": SHORT.model_dump()},
            "label": {"engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
        }
    )
    replay = [copper(seed) for seed in range(200, 203)]
    name, weight = next((n, w) for n, w in foundation.module.named_parameters() if w.ndim > 1)
    served = CommitteePotential.untrained(foundation.with_weights({name: weight * 1.001}, "EMT"), COMMITTEE)
    backbones = Backbones(foundation, served.backbone)
    assert backbones.adapted
    task = TrainTask(
        threads=1,
        config=config,
        level="EMT",
        first=False,
        frames=[frame_as_dict(frame) for frame in frames],
        compared_only=[],
        held_back=[frame_as_dict(frame) for frame in held_back],
        replay=[atoms_as_text(atoms) for atoms in replay],
        served=kept_model(served, tmp_path),
    )
    place = step_folder(tmp_path, "train", TaskFile(task=task).model_dump_json())
    queue_program.run(place)
    done = read_result(place / DONE)
    assert done is not None
    stages = Stages()
    job = StageJob(place, "train", StageQueueSettings(partition="main"), cores=1)
    assert job.wait(progress=stages) == done
    assert stages.seen == ["train"]  # the last part
    assert stages.done == {"train": 1}
    here = config.model_copy(update={"folder": tmp_path / "here"})
    given = compared_labels(here, backbones, frames, ())
    candidate, record = best_candidate(
        campaign_fitting(here, backbones, given, "EMT", held_back, replay, 0), SilentProgress()
    )
    assert record is not None
    assert record.tried
    assert done["adaptation"] == record.as_dict()
    found = load(place / MODEL, foundation)
    assert found.backbone.fingerprint == candidate.backbone.fingerprint
    assert same_heads(found, candidate)
    assert np.isfinite(record.force_mae_adapted)
