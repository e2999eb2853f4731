"""The fits of a round: heads on the served model's foundation, and where needed on one that is adapted anew."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.config import GateSettings
from al_loop.config.settings import TrainSettings
from al_loop.stages.train.adaptation import (
    AdaptationRecord,
    HeldBackErrors,
    halves_of,
    is_flat,
    keeps_adapted,
    may_escalate,
)
from al_loop.utils.progress import Advance, Progress
from committee.adaptation.adapt import adapt
from committee.backbones.contract import Backbone, OpenBackbone
from committee.checkpoint import load, save
from committee.errors import CheckpointError, FoundationError
from committee.model.tangents import structure_hash
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings
from committee.training.train import TrainingFrame, train
from committee.training.training_frame import label_hash
from committee.training.training_set import TrainingSet

logger = logging.getLogger("al_loop.stages")

ADAPTATION, WEIGHTS = "adaptation", "adapted"
PERCENT = 100


@dataclass(frozen=True)
class Backbones:
    """Foundations of a round.

    Attributes:
        foundation: before any adaptation; its weights may be open or closed.
        current: under the heads of the served model, adapted in an earlier round or not.
    """

    foundation: Backbone
    current: Backbone

    @property
    def adapted(self) -> bool:
        """Whether the served model stands on an adapted foundation."""
        return self.foundation.fingerprint != self.current.fingerprint


@dataclass(frozen=True)
class Fitting:
    """Inputs of all fits of a round.

    Attributes:
        backbones: the foundations.
        frames: labelled frames.
        prior_shifts_eV: reference shifts that a foundation needs where the labels do not determine them.
        level: level of theory of the labels, in words.
        committee: settings of the heads.
        train: settings of the fits.
        gate: tolerance and confidence.
        seed: random seed.
        folder: cached tangents, and the state of an adaptation.
        held_back: calibration frames with forces (n, 3) in eV/Å, on which no candidate is trained.
        replay: explored frames whose foundation predictions should be kept.
        attempted_labels: number of labels at the last attempt to adapt the foundation; 0 if there was none.
    """

    backbones: Backbones
    frames: Sequence[TrainingFrame]
    prior_shifts_eV: Callable[[Backbone], Mapping[int, float]]
    level: str
    committee: CommitteeSettings
    train: TrainSettings
    gate: GateSettings
    seed: int
    folder: Path
    held_back: Sequence[tuple[Atoms, NDArray[np.float64]]] = ()
    replay: Sequence[Atoms] = field(default=(), repr=False)
    attempted_labels: int = 0

    def heads(self, backbone: Backbone, progress: Progress) -> CommitteePotential:
        """Fit heads to all labels; the result is reproducible."""
        if (
            backbone.fingerprint != self.backbones.foundation.fingerprint
        ):  # whose tangents the comparison of labels computes
            with progress.stage("tangents", total=len(self.frames), unit="frames") as advance:
                TrainingSet.read(backbone, self.frames, self.folder, self.train.fit, incremental(advance))
        with progress.stage("train", total=self.train.epochs, unit="epochs") as advance:
            return self._train(backbone, self.frames, advance)

    def half_mae(self, backbone: Backbone, progress: Progress) -> float:
        """Force MAE of heads fitted to half of the labels, whose tangents are cached; NaN without calibration frames.

        The mean over both halves of a random division: that of one half depends on the division by a tenth.
        """
        found = []
        halves = halves_of([frame.independent_group for frame in self.frames], self.seed)
        with progress.stage("learning curve", total=len(halves) * self.train.epochs, unit="epochs") as advance:
            for chosen in halves:
                errors = self.errors(self._train(backbone, [self.frames[i] for i in chosen], advance))
                found.append(float("nan") if errors is None else errors.force_mae_eV_per_A)
        return float(np.mean(found))

    def adapted(self, progress: Progress) -> OpenBackbone:
        """Adapt the foundation to all labels, or resume or reuse the adaptation to the same labels.

        Its weights are kept until another adaptation begins.

        Raises:
            FoundationError: the foundation has no open weights, or the adaptation diverged.
        """
        place = self.folder / ADAPTATION / self._key()
        for other in place.parent.glob("*"):
            if other.name != place.name:
                if (former := _kept(other / WEIGHTS, self.backbones.foundation)) is not None:
                    self.forget(former)
                shutil.rmtree(other)
        known = _kept(place / WEIGHTS, self.backbones.foundation)
        if known is not None:
            return known
        with progress.stage("adapt", total=PERCENT, unit="%") as advance:
            found = adapt(
                self.backbones.foundation,
                self.frames,
                self.train.adaptation,
                training=self.train.fit,
                replay=self.replay,
                seed=self.seed,
                state_folder=place,
                level_of_theory=self.level,
                prior_shifts_eV=self.prior_shifts_eV(self.backbones.foundation),
                progress=in_parts(advance, PERCENT),
            )
        save(CommitteePotential.untrained(found), place / WEIGHTS)
        return found

    def errors(self, candidate: CommitteePotential) -> HeldBackErrors | None:
        """Force errors of a candidate on the calibration frames; None if there are none."""
        if not self.held_back:
            return None
        predictions = candidate.predict([atoms for atoms, _ in self.held_back])
        pairs = zip(predictions, self.held_back, strict=True)
        differences = [found.forces - forces for found, (_, forces) in pairs]
        return HeldBackErrors.of(differences, self.gate.force_tolerance_eV_per_A)

    def forget(self, adapted: Backbone) -> None:
        """Remove the tangents of an adapted foundation that no model stands on."""
        if adapted.fingerprint not in {self.backbones.foundation.fingerprint, self.backbones.current.fingerprint}:
            shutil.rmtree(self.folder / adapted.fingerprint, ignore_errors=True)

    def _train(self, backbone: Backbone, frames: Sequence[TrainingFrame], advance: Advance) -> CommitteePotential:
        return train(
            backbone,
            frames,
            committee=self.committee,
            training=self.train.fit,
            cache_folder=self.folder,
            seed=self.seed,
            level_of_theory=self.level,
            prior_shifts_eV=self.prior_shifts_eV(backbone),
            progress=incremental(advance),
        )

    def _key(self) -> str:
        """Hash of all inputs of an adaptation."""
        train, foundation = self.train, self.backbones.foundation
        digest = hashlib.sha256(f"{foundation.fingerprint} {foundation.dtype} {self.seed}".encode())
        digest.update(f"{self.level} {train.adaptation.model_dump_json()} {train.fit.model_dump_json()}".encode())
        for frame in self.frames:
            digest.update(f"{frame.id} {frame.group} {frame.aligned} {label_hash(frame)}".encode())
        for atoms in self.replay:
            digest.update(structure_hash(atoms).encode())
        digest.update(repr(sorted(self.prior_shifts_eV(foundation).items())).encode())
        return digest.hexdigest()[:16]


def best_candidate(fitting: Fitting, progress: Progress) -> tuple[CommitteePotential, AdaptationRecord | None]:
    """Fit heads, adapt the foundation if ``train.adapt`` asks for it or they are not enough, and return the better.

    Returns:
        The candidate, not calibrated, and what was decided; None where nothing had to be decided.

    Raises:
        FoundationError: ``train.adapt`` is ``always``, and the foundation has no open weights or adapting it diverged.
    """
    mode, count = fitting.train.adapt, len(fitting.frames)
    if mode == "always":
        candidate = fitting.heads(fitting.adapted(progress), progress)
        errors = fitting.errors(candidate)
        return candidate, _always(candidate.backbone.name, count, errors)
    last = fitting.attempted_labels
    heads = fitting.heads(fitting.backbones.current, progress)
    if mode == "never" or not isinstance(fitting.backbones.foundation, OpenBackbone):
        return heads, None
    errors = fitting.errors(heads)
    name = fitting.backbones.current.name
    record = AdaptationRecord(mode, name, tried=False, kept=False, sentence="", attempted_labels=last)
    if errors is not None:
        record = replace(
            record,
            frames=errors.frames,
            within_tolerance=errors.within_tolerance,
            force_mae_heads=errors.force_mae_eV_per_A,
        )
    enough = may_escalate(errors, count, last, fitting.gate)
    if enough or errors is None:
        return heads, replace(record, sentence=f"The foundation is not adapted: {enough}.")
    if fitting.backbones.adapted:
        why = f"after {count} labels {errors.share(fitting.gate)} on one that was adapted earlier"
        return _tried(fitting, heads, record, why, progress)
    half = fitting.half_mae(fitting.backbones.current, progress)
    record = replace(record, force_mae_half=half)
    why = _why(record, errors, fitting.gate)
    if not is_flat(half, errors.force_mae_eV_per_A):
        return heads, replace(record, sentence=f"The foundation is not adapted: {why}, so that more labels help.")
    return _tried(fitting, heads, record, f"after {count} labels {why}", progress)


def _tried(
    fitting: Fitting, heads: CommitteePotential, record: AdaptationRecord, why: str, progress: Progress
) -> tuple[CommitteePotential, AdaptationRecord]:
    """Adapt the foundation, fit heads on it, and keep the better candidate."""
    began = f"The foundation was adapted, since {why}"
    record = replace(record, tried=True, attempted_labels=len(fitting.frames))
    try:
        adapted = fitting.adapted(progress)
    except FoundationError as error:
        logger.warning("%s", error)
        return heads, replace(record, sentence=f"{began}; this failed, and heads alone are kept: {error}")
    candidate = fitting.heads(adapted, progress)
    errors, alone = fitting.errors(candidate), record.force_mae_heads
    mae = float("nan") if errors is None else errors.force_mae_eV_per_A
    kept = keeps_adapted(float("inf") if alone is None else alone, mae)
    if not kept:
        fitting.forget(adapted)
    result = "the adapted foundation is kept" if kept else "heads alone are kept"
    sentence = f"{began}. Force MAE {mae:.4f} eV/Å with it, {alone:.4f} with heads alone: {result}."
    name = adapted.name if kept else record.foundation
    record = replace(record, kept=kept, foundation=name, force_mae_adapted=mae, sentence=sentence)
    return (candidate if kept else heads), record


def _why(record: AdaptationRecord, errors: HeldBackErrors, gate: GateSettings) -> str:
    return (
        f"{errors.share(gate)}, and the force MAE of heads went from {record.force_mae_half:.4f} eV/Å with half of the "
        f"labels to {record.force_mae_heads:.4f} with all"
    )


def _always(name: str, count: int, errors: HeldBackErrors | None) -> AdaptationRecord:
    sentence = f"The foundation was adapted to {count} labels (train.adapt: always)"
    record = AdaptationRecord("always", name, tried=True, kept=True, sentence=f"{sentence}.", attempted_labels=count)
    if errors is None:
        return record
    mae = errors.force_mae_eV_per_A
    sentence += f": force MAE {mae:.4f} eV/Å on {errors.frames} calibration frames."
    return replace(record, sentence=sentence, frames=errors.frames, force_mae_adapted=mae)


def incremental(advance: Advance) -> Callable[[int, int], None]:
    """Turn a count, which starts again with each part of the work, into increments."""
    last = 0

    def progress(done: int, _total: int) -> None:
        nonlocal last
        advance(done - last if done > last else done)
        last = done

    return progress


def in_parts(advance: Advance, parts: int) -> Callable[[int, int], None]:
    """Turn a count of steps into increments of ``parts`` in all."""
    last = 0

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = done * parts // total
        if now > last:
            advance(now - last)
        last = now

    return progress


def _kept(folder: Path, foundation: Backbone) -> OpenBackbone | None:
    """The adapted foundation that was written there; None if there is none that can be used."""
    if not folder.exists():
        return None
    try:
        found = load(folder, foundation).backbone
    except CheckpointError as error:
        logger.warning("%s", error)
        shutil.rmtree(folder)
        return None
    return found if isinstance(found, OpenBackbone) else None
