"""Calibrate a model again on frames of the run that it is used in: ``al-loop recalibrate``."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from al_loop.config import GateSettings
from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.names import given_keys
from al_loop.files.sources import find_sources
from al_loop.gate.applicability import check_suitable
from al_loop.gate.calibrate import ForceComparison, with_fitted_calibration
from al_loop.records import Frame
from al_loop.tools.open_model import FoundationArgument, open_model
from al_loop.tools.single_steps.arguments import EngineArgument
from al_loop.tools.single_steps.audit import Stream, check_chosen, draw, labels_of_chosen, write_chosen
from al_loop.tools.single_steps.label import label
from al_loop.utils.paths import Paths, as_paths, check_source, check_target_folder
from al_loop.utils.progress import Advance, show_nothing
from committee.checkpoint import save
from committee.potential import CommitteePotential
from committee.uncertainty.conformal import frames_needed, frames_to_prove

SPARE = 1.5  # labels by default, in units of those that would suffice if every frame were trusted and none exceeded


@dataclass(frozen=True)
class Recalibrated:
    """Result of a calibration on frames of a run.

    Attributes:
        frames: number of labelled frames that the new calibration is based on.
        trusted_before: how many of them the earlier calibration trusts; None if there was none.
        exceeding_before: how many of those exceed the tolerance.
        trusted: how many of them the new calibration trusts.
        exceeding: how many of those exceed the tolerance.
        before: the earlier calibration's guarantee and what it was worth on these frames, in words.
        after: the new guarantee, in words.
        proven: the new guarantee is proven.
        force_mae_eV_per_A: of the model on these frames.
        notes: sentences on the frames and their labels.
    """

    frames: int
    trusted_before: int | None
    exceeding_before: int | None
    trusted: int
    exceeding: int
    before: str
    after: str
    proven: bool
    force_mae_eV_per_A: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChosenFrames:
    """Frames of a run that were written to be labelled.

    Attributes:
        frames: number of frames.
        needed: smallest number of labels that a calibration needs.
        notes: sentences on the stream.
    """

    frames: int
    needed: int
    notes: tuple[str, ...] = ()


def choose_frames(
    model: str | Path,
    to: str | Path,
    *,
    stream: str | Path,
    count: int | None = None,
    since_step: int = 0,
    frame_every: int = 1,
    foundation: FoundationArgument | None = None,
    seed: int = 0,
) -> ChosenFrames:
    """Write the frames that ``recalibrate`` would label, to label them elsewhere.

    Each frame has an id, under ``frame`` in its entry ``al_loop``. The labels come back as ``labels`` of
    ``recalibrate``, with this file as ``frames``: each then finds its frame.

    Args:
        model: as for ``recalibrate``.
        to: the file, .extxyz; it appears once it is complete.
        stream: as for ``recalibrate``, and so are all others.
        count: frames to label.
        since_step: frames of earlier steps are left out.
        frame_every: MD steps between two frames, if the stream does not state its steps.
        foundation: the foundation under a checkpoint.
        seed: of the choice of frames.

    Returns:
        How many frames were written.

    Raises:
        InputError: numbers out of range, files that cannot be read or written, or frames that are not for this model.

    Examples:
        >>> from al_loop import choose_frames
        >>> chosen = choose_frames("model", "chosen.extxyz", stream="others.extxyz", count=10,
        ...     foundation="fairchem:distilled.pt:omat")
        >>> chosen.frames, chosen.needed
        (10, 9)
    """
    source, target = Stream(Path(stream), since_step, frame_every), Path(to)
    _check_count(count)
    source.check()
    check_chosen("--write-frames", target, [source.path])
    potential = open_model(Path(model), foundation).potential
    confidence = _gate(potential, None).confidence
    notes: list[str] = []
    frames = draw(potential, source, count or _usual_count(confidence), seed, notes)
    write_chosen("--write-frames", target, frames)
    return ChosenFrames(len(frames), frames_needed(confidence), tuple(notes))


def recalibrate(
    model: str | Path,
    to: str | Path,
    *,
    stream: str | Path | None = None,
    engine: EngineArgument | None = None,
    labels: Paths = (),
    frames: str | Path | None = None,
    count: int | None = None,
    since_step: int = 0,
    frame_every: int = 1,
    foundation: FoundationArgument | None = None,
    tolerance_eV_per_A: float | None = None,
    seed: int = 0,
    energy_key: str | None = None,
    forces_key: str | None = None,
    advance: Advance = show_nothing,
) -> Recalibrated:
    """Label a few frames of a run, calibrate the model on them, and write it as a new checkpoint.

    The earlier calibration frames are replaced, not pooled: they come from other conditions than the run, and a
    guarantee over a mixture of both would say nothing about either. The frames are a random audit of the stream, one
    from each of equal parts of it, so that they are what a frame of the run is like. The model is not trained.

    Args:
        model: a checkpoint's folder, or a campaign's YAML file, whose served model is taken and not changed.
        to: the folder of the new checkpoint. With ``engine`` the chosen frames and their labels are kept beside it, in
            ``<to>-audit.extxyz`` and ``<to>-audit-labelled.extxyz``: the same call goes on where it was interrupted.
        stream: the trajectory of the run, from any code; with ``engine``.
        engine: labels the chosen frames: as for ``al_loop.label``.
        labels: instead of both, files with labelled frames that were drawn from the run at random.
        frames: the file of ``choose_frames``, if ``labels`` are of its frames: each label must then be one of them.
        count: frames to label; by default one and a half times the smallest number that can prove the guarantee.
        since_step: frames of the stream of earlier steps are left out: ``since_step`` of the monitor.
        frame_every: MD steps between two frames of the stream, if it does not state its steps: LAMMPS dumps do, and
            trajectories that ``al-loop monitor`` wrote. By default the step of a frame is its number, from 0.
        foundation: the foundation under a checkpoint, as for ``al_loop.predict``.
        tolerance_eV_per_A: largest acceptable force error; by default that of the earlier calibration.
        seed: of the choice of frames.
        energy_key: name of the energies in ``labels``, eV, as for ``al_loop.train``.
        forces_key: name of the forces in ``labels``, eV/Å.
        advance: called with the number of structures that were labelled.

    Returns:
        The guarantee before and after, in words and numbers.

    Raises:
        InputError: options that do not fit together, files that cannot be read or written, frames that are not for this
            model, labels of other frames than the chosen ones, or too few labels; no checkpoint is written.
        CampaignError: not one frame could be labelled, with the first reason.

    Examples:
        >>> from al_loop import recalibrate
        >>> done = recalibrate("model", "model-again", labels="others.extxyz", foundation="fairchem:distilled.pt:omat")
        >>> done.frames, done.after != done.before
        (12, True)
    """
    folder, given = Path(to), as_paths(labels)
    _check_options(stream, engine, given, frames, tolerance_eV_per_A)
    _check_count(count)
    check_target_folder("--to", folder)
    source = None if stream is None else Stream(Path(stream), since_step, frame_every)
    if source is not None:
        source.check()
    if given:
        find_sources(given)  # refused before a model is loaded
    if frames is not None:
        check_source(f"--frames {frames}", Path(frames), "name the file that --write-frames wrote")
    potential = open_model(Path(model), foundation).potential
    gate = _gate(potential, tolerance_eV_per_A)
    notes: list[str] = []
    if source is not None and engine is not None:
        chosen = draw(potential, source, count or _usual_count(gate.confidence), seed, notes)
        given = [_labelled(chosen, engine, folder, notes, advance)]
    known = _labels(given, None if frames is None else Path(frames), energy_key, forces_key, gate.confidence, notes)
    for number, frame in enumerate(known):
        check_suitable(potential, frame.atoms, f"labelled frame {number}", any_periodicity=True)
    return _calibrated(potential, gate, known, folder, notes)


def _usual_count(confidence: float) -> int:
    return ceil(SPARE * frames_to_prove(confidence))


def _check_count(count: int | None) -> None:
    if count is not None and count < 1:
        raise InputError(f"--count: received {count}, expected a number of frames, at least 1")


def _check_options(
    stream: str | Path | None,
    engine: EngineArgument | None,
    labels: Sequence[Path],
    frames: str | Path | None,
    tolerance_eV_per_A: float | None,
) -> None:
    if bool(labels) == (engine is not None) or (engine is None) != (stream is None):
        raise InputError(
            "expected either --stream with --engine, to label frames of a run, or --labels with frames of it that are "
            "labelled already"
        )
    if frames is not None and not labels:
        raise InputError(f"--frames: received {frames} without --labels; it names the frames that labels are of")
    if tolerance_eV_per_A is not None and not 0 < tolerance_eV_per_A < float("inf"):
        raise InputError(f"--tolerance: received {tolerance_eV_per_A:g}, expected a finite force error above 0 in eV/Å")


def _gate(potential: CommitteePotential, tolerance_eV_per_A: float | None) -> GateSettings:
    """The tolerance and confidence of the earlier calibration, unless others are given."""
    gate, known = GateSettings(), potential.calibration
    if potential.latent is None:
        raise InputError("the model was never trained, so that it has no uncertainty to calibrate; train it first")
    if known is not None:
        same = {"force_tolerance_eV_per_A": known.tolerance_eV_per_A, "confidence": known.confidence}
        gate = gate.model_copy(update=same)
    if tolerance_eV_per_A is not None:
        gate = gate.model_copy(update={"force_tolerance_eV_per_A": tolerance_eV_per_A})
    return gate


def _labelled(
    chosen: Sequence[Frame], engine: EngineArgument, folder: Path, notes: list[str], advance: Advance
) -> Path:
    """Label the chosen frames and return the file with them."""
    audit = folder.with_name(f"{folder.name}-audit.extxyz")
    target = folder.with_name(f"{folder.name}-audit-labelled.extxyz")
    write_chosen("--to", audit, chosen)
    done = label(audit, engine, target, advance=advance)
    notes += [f"frame {index} of {audit} has no label: {reason}" for index, reason in done.failed.items()]
    return target


def _labels(
    files: Sequence[Path],
    chosen: Path | None,
    energy_key: str | None,
    forces_key: str | None,
    confidence: float,
    notes: list[str],
) -> list[Frame]:
    """Read the labels that have forces, and find the chosen frame of each."""
    read = read_labelled(files, given_keys(energy_key, forces_key, None))
    notes += read.notes
    usable = [frame for frame in read.frames if np.isfinite(frame.forces_eV_per_A).all()]
    if chosen is not None:
        usable = labels_of_chosen(usable, chosen, notes)
    needed = frames_needed(confidence)
    if len(usable) < needed:
        raise InputError(
            f"{', '.join(map(str, files))}: {len(usable)} frames have forces, and a calibration at {confidence:.0%} "
            f"needs at least {needed}; label more"
        )
    return usable


def _calibrated(
    potential: CommitteePotential,
    gate: GateSettings,
    frames: Sequence[Frame],
    folder: Path,
    notes: Sequence[str],
) -> Recalibrated:
    """Fit and write the new calibration, and compare it with the earlier one on the same frames."""
    forces = [np.asarray(frame.forces_eV_per_A) for frame in frames]
    compared = ForceComparison.of(potential, [frame.atoms for frame in frames], forces)
    values = (compared.errors, compared.sigmas, compared.latent)
    old = potential.calibration
    before, was = "the model was not calibrated", None
    if old is not None:
        was = old.coverage(*values)
        before = (
            f"{old.summary}. On these {was.frames} frames: {was.trusted} trusted, {was.trusted_exceeding} of them "
            f"exceed {old.tolerance_eV_per_A:g} eV/Å"
        )
    again = with_fitted_calibration(potential, *values, gate)
    new = again.calibration
    assert new is not None  # noqa: S101 - just made
    save(again, folder)
    counts = new.coverage(*values)
    return Recalibrated(
        frames=len(frames),
        trusted_before=None if was is None else was.trusted,
        exceeding_before=None if was is None else was.trusted_exceeding,
        trusted=counts.trusted,
        exceeding=counts.trusted_exceeding,
        before=before,
        after=new.summary,
        proven=new.guarantee_proven,
        force_mae_eV_per_A=compared.mae_eV_per_A,
        notes=tuple(notes),
    )
