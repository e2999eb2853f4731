"""Calibrate a model again on frames of the run that it is used in: ``al-loop recalibrate``."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import ceil
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

from al_loop.config import GateSettings
from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.names import given_keys
from al_loop.files.sources import find_sources
from al_loop.files.trajectories import read_frames
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.gate.applicability import check_suitable
from al_loop.gate.calibrate import ForceComparison, with_fitted_calibration
from al_loop.tools.open_model import FoundationArgument, open_model
from al_loop.tools.single_steps.arguments import EngineArgument
from al_loop.tools.single_steps.label import label
from al_loop.utils.paths import Paths, as_paths, check_source, check_target_folder, writing
from al_loop.utils.progress import Advance, show_nothing
from committee.atomic_write import replacing_path
from committee.checkpoint import save
from committee.potential import CommitteePotential
from committee.uncertainty.conformal import frames_needed, frames_to_prove
from committee.uncertainty.drift import decorrelated_every

SPARE = 1.5  # labels by default, in units of those that would suffice if every frame were trusted and none exceeded
COMPARED = 512  # frames of the stream whose latent distances show how long it is correlated


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


def recalibrate(
    model: str | Path,
    to: str | Path,
    *,
    stream: str | Path | None = None,
    engine: EngineArgument | None = None,
    labels: Paths = (),
    count: int | None = None,
    skip: int = 0,
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
        count: frames to label; by default one and a half times the smallest number that can prove the guarantee.
        skip: frames at the beginning of the stream that are left out, for example those before the conditions changed.
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
            model, or too few labels; no checkpoint is written.
        CampaignError: not one frame could be labelled, with the first reason.

    Examples:
        >>> from al_loop import recalibrate
        >>> done = recalibrate("model", "model-again", labels="others.extxyz", foundation="fairchem:distilled.pt:omat")
        >>> done.frames, done.after != done.before
        (12, True)
    """
    folder, given = Path(to), as_paths(labels)
    _check_options(stream, engine, given, count, skip, tolerance_eV_per_A)
    check_target_folder("--to", folder)
    if stream is not None:
        check_source(f"--stream {stream}", Path(stream), "name the trajectory of the run")
    if given:
        find_sources(given)  # refused before a model is loaded
    potential = open_model(Path(model), foundation).potential
    gate = _gate(potential, tolerance_eV_per_A)
    notes: list[str] = []
    if stream is not None and engine is not None:
        wanted = count or ceil(SPARE * frames_to_prove(gate.confidence))
        chosen = _audit(potential, Path(stream), wanted, skip, seed, notes)
        given = [_labelled(chosen, engine, folder, notes, advance)]
    frames, forces = _labels(given, energy_key, forces_key, gate.confidence, notes)
    for number, atoms in enumerate(frames):
        check_suitable(potential, atoms, f"labelled frame {number}", any_periodicity=True)
    return _calibrated(potential, gate, frames, forces, folder, notes)


def _check_options(
    stream: str | Path | None,
    engine: EngineArgument | None,
    labels: Sequence[Path],
    count: int | None,
    skip: int,
    tolerance_eV_per_A: float | None,
) -> None:
    if bool(labels) == (engine is not None) or (engine is None) != (stream is None):
        raise InputError(
            "expected either --stream with --engine, to label frames of a run, or --labels with frames of it that are "
            "labelled already"
        )
    if count is not None and count < 1:
        raise InputError(f"--count: received {count}, expected a number of frames, at least 1")
    if skip < 0:
        raise InputError(f"--skip: received {skip}, expected a number of frames, at least 0")
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


def _audit(
    potential: CommitteePotential, stream: Path, count: int, skip: int, seed: int, notes: list[str]
) -> list[Atoms]:
    """Draw one frame at random from each of ``count`` equal parts of a stream, and say how independent they are."""
    first = list(islice(read_frames(stream), skip, skip + COMPARED))
    if first:
        check_suitable(potential, first[0], f"{stream}, frame {skip}", any_periodicity=True)
    total = sum(1 for _ in read_frames(stream)) - skip
    if total < count:
        raise InputError(
            f"{stream} holds {max(0, total)} frames after the first {skip}, expected at least {count}; write frames "
            "more often, run longer, or give a smaller --count"
        )
    distances = [float(np.max(p.latent_distance)) for p in potential.predict(first) if p.latent_distance is not None]
    stride = decorrelated_every([distances])
    if stride is None:
        notes.append(f"{stream}: the frames are too few or too much alike to tell how many of them are independent.")
    elif total < count * stride:
        notes.append(
            f"{stream}: frames are correlated over about {stride}, so that {count} of {total} are worth about "
            f"{total // stride} independent ones; a longer run makes the guarantee worth its confidence."
        )
    edges = np.linspace(0, total, count + 1).astype(int)
    rng = np.random.default_rng(seed)
    wanted = {skip + int(rng.integers(low, high)) for low, high in pairwise(edges)}
    found = [atoms for index, atoms in enumerate(read_frames(stream)) if index in wanted]
    if any("verdict" in atoms.info and "reason" in atoms.info for atoms in found):
        notes.append(
            f"{stream} holds frames of alarms, which are not a random sample of the run: the calibration is more "
            "cautious than the run needs."
        )
    return [plain_atoms(atoms) for atoms in found]


def _labelled(
    chosen: Sequence[Atoms], engine: EngineArgument, folder: Path, notes: list[str], advance: Advance
) -> Path:
    """Label the chosen frames and return the file with them."""
    audit = folder.with_name(f"{folder.name}-audit.extxyz")
    target = folder.with_name(f"{folder.name}-audit-labelled.extxyz")
    with writing("--to", audit), replacing_path(audit) as part:
        write(part, list(chosen), format="extxyz")
    done = label(audit, engine, target, advance=advance)
    notes += [f"frame {index} of {audit} has no label: {reason}" for index, reason in done.failed.items()]
    return target


def _labels(
    files: Sequence[Path], energy_key: str | None, forces_key: str | None, confidence: float, notes: list[str]
) -> tuple[list[Atoms], list[np.ndarray]]:
    read = read_labelled(files, given_keys(energy_key, forces_key, None))
    notes += read.notes
    usable = [frame for frame in read.frames if np.isfinite(frame.forces_eV_per_A).all()]
    needed = frames_needed(confidence)
    if len(usable) < needed:
        raise InputError(
            f"{', '.join(map(str, files))}: {len(usable)} frames have forces, and a calibration at {confidence:.0%} "
            f"needs at least {needed}; label more"
        )
    return [frame.atoms for frame in usable], [np.asarray(frame.forces_eV_per_A) for frame in usable]


def _calibrated(
    potential: CommitteePotential,
    gate: GateSettings,
    frames: Sequence[Atoms],
    forces: Sequence[np.ndarray],
    folder: Path,
    notes: Sequence[str],
) -> Recalibrated:
    """Fit and write the new calibration, and compare it with the earlier one on the same frames."""
    compared = ForceComparison.of(potential, frames, forces)
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
