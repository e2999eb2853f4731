"""Compare foundations on labelled frames: ``al_loop.compare`` and ``al-loop predict``."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from scipy.stats import spearmanr

from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.isolated_atoms import atom_energies
from al_loop.files.labels.labelled_frames import LabelCounts
from al_loop.files.labels.names import given_keys
from al_loop.records import Frame
from al_loop.stages.train.atom_shifts import isolated_atom_shifts
from al_loop.tools.open_model import Foundation, FoundationArgument, parse_foundation, title
from al_loop.utils.paths import Paths, as_paths
from al_loop.utils.progress import Announce, Notify, log_note, show_nothing
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone, Evaluation
from committee.errors import StructureError, frames_counted_from
from committee.model.reference_shifts import ReferenceShifts

Array = NDArray[np.float64]
BATCH_ATOMS = 256
NEARLY_AS_GOOD = 1.1  # force error in units of the best
MUCH_FASTER = 1.5


@dataclass(frozen=True)
class FoundationScore:
    """Errors of one untrained foundation on the labelled frames; None where labels are missing.

    Attributes:
        foundation: name as on the command line.
        level_of_theory: of its energies.
        force_mae_eV_per_A: over all components.
        energy_mae_eV_per_atom: after the reference shifts of each element were fitted out.
        stress_mae_eV_per_A3: over the frames where both have a stress.
        force_spearman: rank correlation of the components.
        force_slope: slope of predicted against labelled components through zero; below 1 the foundation is too soft.
        seconds_per_atom: of one evaluation of energy, forces and stress in batches, on this machine.
    """

    foundation: str
    level_of_theory: str
    force_mae_eV_per_A: float
    energy_mae_eV_per_atom: float | None
    stress_mae_eV_per_A3: float | None
    force_spearman: float | None
    force_slope: float | None
    seconds_per_atom: float


@dataclass(frozen=True)
class FoundationComparison:
    """Foundations on one set of labelled frames, the lowest force error first.

    Attributes:
        frames: number of frames.
        atoms: total number of atoms.
        mean_force_eV_per_A: mean absolute component of the labelled forces, the error of predicting zero.
        scores: one for each foundation.
        start_from: the foundation to start from.
        reason: why, in a sentence.
        labels: how many frames have which.
        energies_above: what was taken out of the energies: a shift for each element fitted to these frames, or, where
            so few frames would leave no error behind, the isolated atoms of labels and foundation.
        notes: what was merged, set apart or left out of the files, in sentences.
    """

    frames: int
    atoms: int
    mean_force_eV_per_A: float
    scores: tuple[FoundationScore, ...]
    start_from: str
    reason: str
    labels: LabelCounts
    energies_above: Literal["fitted shifts", "isolated atoms"] = "fitted shifts"
    notes: tuple[str, ...] = ()


def compare(
    labelled: Paths,
    foundations: Sequence[FoundationArgument],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    advance: Announce = show_nothing,
    notify: Notify = log_note,
) -> FoundationComparison:
    """Compare foundations on labelled frames and say which to start from; nothing is trained.

    This is what the command ``al-loop predict`` prints.

    Args:
        labelled: DFT outputs, extxyz, aselmdb, ASE databases: files, folders, patterns such as ``runs/**/OUTCAR``.
        foundations: ``sevennet:MODEL[:FIDELITY]``, ``fairchem:MODEL:TASK``, campaigns' YAML files, or settings.
        energy_key: name of the energies, eV; by default ``REF_energy``, or ASE's own energy.
        forces_key: name of the forces, eV/Å; by default as for the energies.
        stress_key: name of the stresses, eV/Å³; by default as for the energies.
        device: where foundations named by a word run.
        advance: called with the name of each foundation before it is evaluated.
        notify: called with each sentence on what was merged, set apart or left out of the files.

    Returns:
        Mean absolute errors of each foundation (eV/Å, eV/atom, eV/Å³), the lowest force error first.

    Raises:
        InputError: files that are not what they should be, no frames with forces, or no foundation.
        FoundationError: a foundation that cannot be loaded.
        StructureError: a frame that a foundation cannot predict, for example for an unknown element.
        FoundationAnswerError: a calculator that fails on a frame.

    Examples:
        >>> from al_loop import compare
        >>> comparison = compare("labelled.extxyz", ["fairchem:distilled.pt:omat"])
        >>> comparison.start_from, comparison.frames
        ('fairchem:distilled.pt:omat', 8)
        >>> comparison.scores[0].force_mae_eV_per_A < comparison.mean_force_eV_per_A
        True
    """
    chosen = [parse_foundation(foundation, device) for foundation in foundations]
    read = read_labelled(as_paths(labelled), given_keys(energy_key, forces_key, stress_key))
    for note in read.notes:
        notify(note)
    atoms_eV = atom_energies(read.isolated_atoms).energies_eV
    comparison = compare_foundations(read.frames, chosen, advance, atom_energies_eV=atoms_eV)
    return replace(comparison, notes=tuple(read.notes))


def compare_foundations(
    frames: Sequence[Frame],
    foundations: Sequence[Foundation],
    advance: Announce = show_nothing,
    *,
    atom_energies_eV: Mapping[str, float] | None = None,
) -> FoundationComparison:
    """As ``compare``, for frames that were read and with energies of isolated atoms at their level (eV) by symbol."""
    if not foundations:
        raise InputError("received no foundation to compare, expected at least one")
    forces = _stacked([frame.forces_eV_per_A for frame in frames])
    known = np.isfinite(forces).all(axis=1) if len(forces) else np.zeros(0, dtype=bool)
    if not known.any():
        raise InputError(
            f"none of the {len(frames)} frames has forces, which rank the foundations; give frames with forces, "
            "or name their key with --forces-key"
        )
    needed = _needed_atoms(frames, atom_energies_eV or {})
    scores = []
    for foundation in foundations:
        name = title(foundation)
        advance(name)
        try:
            scores.append(_score(name, load_backbone(foundation), frames, needed))
        except StructureError as error:
            raise type(error)(f"{name}: {error}") from error
    ranked = tuple(sorted(scores, key=lambda score: score.force_mae_eV_per_A))
    chosen, reason = _choose(ranked)
    mean_force = float(np.abs(forces[known]).mean())
    if ranked[0].force_mae_eV_per_A >= mean_force:
        reason += (
            f"; but predicting zero forces would be as accurate ({mean_force:.3f} eV/Å): check the units of the labels"
            " and whether they belong to these structures"
        )
    return FoundationComparison(
        frames=len(frames),
        atoms=sum(len(frame.atoms) for frame in frames),
        mean_force_eV_per_A=mean_force,
        scores=ranked,
        start_from=chosen.foundation,
        reason=reason,
        labels=LabelCounts.of([(frame.energy_eV, frame.forces_eV_per_A) for frame in frames]),
        energies_above="isolated atoms" if needed else "fitted shifts",
    )


@dataclass(frozen=True)
class _Answers:
    """Energies (f,) eV, forces (N, 3), stresses (f, 6), NaN if there is none, and the wall time."""

    energies: Array
    forces: Array
    stresses: Array
    seconds: float


def _score(
    name: str, backbone: Backbone, frames: Sequence[Frame], atom_energies_eV: Mapping[str, float]
) -> FoundationScore:
    answers = _answers(backbone, frames)
    forces = _stacked([frame.forces_eV_per_A for frame in frames])
    known = np.isfinite(forces).all(axis=1)
    predicted, labelled = answers.forces[known].ravel(), forces[known].ravel()
    stresses = np.abs(answers.stresses - _stacked([frame.stress_eV_per_A3[None] for frame in frames]))
    with_stress = np.isfinite(stresses).all(axis=1)
    return FoundationScore(
        foundation=name,
        level_of_theory=backbone.level_of_theory,
        force_mae_eV_per_A=float(np.abs(predicted - labelled).mean()),
        energy_mae_eV_per_atom=_energy_mae(answers.energies, frames, isolated_atom_shifts(atom_energies_eV, backbone)),
        stress_mae_eV_per_A3=float(stresses[with_stress].mean()) if with_stress.any() else None,
        force_spearman=_spearman(predicted, labelled),
        force_slope=float(predicted @ labelled / (labelled @ labelled)) if labelled.any() else None,
        seconds_per_atom=answers.seconds / len(forces),
    )


def _answers(backbone: Backbone, frames: Sequence[Frame]) -> _Answers:
    _evaluation(backbone, frames[:1], 0).foundation()  # the first call compiles and is not timed
    energies, forces, stresses = [], [], []
    start = time.perf_counter()
    done = 0
    for batch in _batches(frames):
        evaluation = _evaluation(backbone, batch, done)
        done += len(batch)
        batch_forces, batch_stress = evaluation.foundation()
        energies.append(evaluation.energy.detach().cpu().double().numpy())
        forces.append(batch_forces.detach().cpu().double().numpy())
        stresses.append(full_3x3_to_voigt_6_stress(batch_stress.detach().cpu().double().numpy()))
    seconds = time.perf_counter() - start
    return _Answers(np.concatenate(energies), np.concatenate(forces), np.concatenate(stresses), seconds)


def _evaluation(backbone: Backbone, batch: Sequence[Frame], start: int) -> Evaluation:
    """Evaluate a batch; an error counts its frames from the first of the file."""
    with frames_counted_from(start):
        return backbone.evaluate([frame.atoms for frame in batch])


def _batches(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    for frame in frames:
        if batch and sum(len(other.atoms) for other in batch) + len(frame.atoms) > BATCH_ATOMS:
            yield batch
            batch = []
        batch.append(frame)
    yield batch


def _energy_mae(energies: Array, frames: Sequence[Frame], atom_shifts_eV: Mapping[int, float]) -> float | None:
    """Mean absolute error per atom above the shifts; None where fitted ones could absorb every error."""
    rows = [i for i, frame in enumerate(frames) if np.isfinite(frame.energy_eV)]
    numbers = [frames[i].atoms.numbers for i in rows]
    if not (atom_shifts_eV or _shifts_can_be_fitted(numbers)):
        return None
    differences = np.array([frames[i].energy_eV - energies[i] for i in rows])
    shifts = ReferenceShifts(atom_shifts_eV) if atom_shifts_eV else ReferenceShifts.fit(numbers, differences)
    left = [(d - shifts.total_eV(z)) / len(z) for d, z in zip(differences, numbers, strict=True)]
    return float(np.abs(left).mean())


def _needed_atoms(frames: Sequence[Frame], atom_energies_eV: Mapping[str, float]) -> dict[str, float]:
    """Isolated-atom energies of all elements if there are too few frames to fit shifts, else none."""
    numbers = [frame.atoms.numbers for frame in frames if np.isfinite(frame.energy_eV)]
    symbols = {chemical_symbols[z] for row in numbers for z in row}
    if not numbers or _shifts_can_be_fitted(numbers) or not symbols <= atom_energies_eV.keys():
        return {}
    return {symbol: atom_energies_eV[symbol] for symbol in sorted(symbols)}


def _shifts_can_be_fitted(numbers: Sequence[NDArray[np.integer]]) -> bool:
    """Whether there are more frames than independent compositions."""
    return len(numbers) > _independent_compositions(numbers)


def _independent_compositions(numbers: Sequence[NDArray[np.integer]]) -> int:
    if not numbers:
        return 0
    elements = np.unique(np.concatenate(list(numbers)))
    return int(np.linalg.matrix_rank(np.array([[np.sum(z == element) for element in elements] for z in numbers])))


def _spearman(predicted: Array, labelled: Array) -> float | None:
    if np.ptp(predicted) == 0 or np.ptp(labelled) == 0:
        return None
    return float(spearmanr(predicted, labelled).statistic)


def _choose(ranked: Sequence[FoundationScore]) -> tuple[FoundationScore, str]:
    """Return the lowest force error, unless a much faster foundation is nearly as good."""
    best = ranked[0]
    near = [score for score in ranked if score.force_mae_eV_per_A <= NEARLY_AS_GOOD * best.force_mae_eV_per_A]
    fastest = min(near, key=lambda score: score.seconds_per_atom)
    speed = best.seconds_per_atom / fastest.seconds_per_atom
    if speed >= MUCH_FASTER:
        return fastest, (
            f"its force error is within 10 % of the lowest ({best.foundation}) and it is {speed:.1f} times as fast"
        )
    return best, "it has the lowest force error"


def _stacked(parts: Sequence[Array]) -> Array:
    return np.concatenate(list(parts)) if parts else np.empty((0, 3))
