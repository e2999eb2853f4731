"""A committee as a plain checkpoint of its foundation's library: what ``al-loop export --plain`` does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from ase import Atoms

from al_loop.config import Config
from al_loop.config.file import read_config
from al_loop.errors import InputError
from al_loop.files.structures import read_structures
from al_loop.ledger import Ledger
from al_loop.ledger.identity import existing_campaign
from al_loop.records import GateCheck, Role, VerdictKind
from al_loop.stages.train.fitting import incremental
from al_loop.stages.train.training_frame import training_frame
from al_loop.tools.open_model import YAML, FoundationArgument, open_model, open_served, parse_foundation
from al_loop.utils.paths import Paths, as_paths, check_target
from al_loop.utils.progress import Advance, show_nothing
from committee.backbones.contract import OpenBackbone
from committee.baking import BAKE_SETTINGS, MIN_FRAMES, Baked, bake
from committee.errors import CheckpointError, TrainingDataError
from committee.export import PlainCheckpoint, export_plain
from committee.potential import CommitteePotential
from committee.training.training_frame import TrainingFrame

_Item = TypeVar("_Item")
MAX_FRAMES: Final = 2000
"""Explored frames that a committee is baked on, if there are more."""
GOOD_RATIO: Final = 0.1
"""Force difference over the committee's own error from which the difference matters."""


@dataclass(frozen=True)
class PlainExport:
    """Result of a plain export.

    Attributes:
        checkpoint: the written file and how it is opened.
        baked: the fit of the foundation's weights to the committee, with the difference between the two; None for a
            committee without a correction, of which the file is an exact copy.
    """

    checkpoint: PlainCheckpoint
    baked: Baked | None

    def sentences(self) -> list[str]:
        """Say what was written, how far it is from the committee, and how to open it."""
        path, library = self.checkpoint.path, self.checkpoint.library
        said = [f"Wrote {path}, a checkpoint of {library} that opens without al-loop; it has no uncertainty."]
        if self.baked is None:
            said.append("The committee has no correction, so the file gives exactly its energies.")
        else:
            said.append(f"Fitted to the committee on {self.baked.fitted_frames} frames.")
            said.append(f"Difference from the committee on frames kept back: {self.baked.difference}.")
            said += _against_labels(self.baked)
        said += [f"Note: {note}." for note in self.checkpoint.notes]
        return [*said, "Open it with:", *(f"  {line}" for line in self.checkpoint.opening.splitlines())]


@dataclass(frozen=True)
class _Explored:
    """Frames to bake on, with the trajectory of each, and frames with labels that were never trained on."""

    frames: list[Atoms]
    groups: list[str] | None
    labelled: list[TrainingFrame]


def export_plain_model(
    model: Config | str | Path,
    to: str | Path,
    *,
    foundation: FoundationArgument | None = None,
    frames: Paths = (),
    max_frames: int = MAX_FRAMES,
    epochs: int = BAKE_SETTINGS.epochs,
    seed: int = 0,
    advance: Advance = show_nothing,
) -> PlainExport:
    """Write a committee as a checkpoint that fairchem or SevenNet opens without al-loop.

    The foundation's weights are fitted to the committee's own mean on explored frames ("baked"); no labels are needed.
    The fit is kept in ``<to>-state`` until it ends: the same call goes on where it was interrupted.

    Args:
        model: a campaign's configuration or YAML file, whose served model is written, or the folder of a checkpoint.
        to: the file; an existing one is replaced once the new one is complete.
        foundation: the foundation under a checkpoint's folder, as for ``al_loop.predict``.
        frames: structure files to bake on. A campaign's explored frames by default, except unphysical and discarded
            ones; required for a folder.
        max_frames: at most so many of them, evenly chosen.
        epochs: passes over the frames.
        seed: random seed of the fit and of the frames kept back.
        advance: called with the number of steps that are done.

    Raises:
        InputError: no model, a closed foundation, too few frames, or a file that cannot be written; no checkpoint was
            written.
        FoundationError: a foundation that cannot be loaded, or a fit that diverged.
    """
    to = Path(to)
    check_target("--checkpoint", to)
    given = _read_frames(as_paths(frames))
    potential, config = _opened(model, foundation)
    _check_open(potential)
    found = _Explored([], None, []) if config is None else _of_campaign(config, max_frames)
    if given:
        found = _Explored(given, None, found.labelled)
    if potential.metric is None:  # never trained: the mean is the foundation's own energy
        with _as_input_errors():
            return _write(potential, to, None)
    if len(found.frames) < MIN_FRAMES:
        named = f"the campaign {config.name}" if config is not None else model
        raise InputError(
            f"{named}: baking needs at least {MIN_FRAMES} explored frames, received {len(found.frames)}; explore "
            "further, or name files of structures with --frames"
        )
    with _as_input_errors():
        return _write(potential, to, _baked(potential, _thinned(found, max_frames), to, epochs, seed, advance))


def _opened(
    model: Config | str | Path, foundation: FoundationArgument | None
) -> tuple[CommitteePotential, Config | None]:
    """Open the committee; with it the configuration, if it is a campaign's."""
    if not isinstance(model, Config):
        path = Path(model)
        if path.suffix not in YAML:
            return open_model(path, foundation).potential, None
        model, named = read_config(path), path
    else:
        named = Path("CONFIG")
    torch.set_num_threads(model.threads)
    chosen = None if foundation is None else parse_foundation(foundation)
    return open_served(model, chosen, config_file=named).potential, model


def _against_labels(baked: Baked) -> list[str]:
    errors = baked.label_errors
    if errors is None:
        return []
    said = [f"Error against labels: committee {errors.committee}; this file {errors.baked}."]
    if errors.ratio is not None:
        said.append(
            f"On these frames the forces differ from the committee's by {errors.ratio:.2g} of the committee's error."
        )
        if errors.ratio > GOOD_RATIO:
            said.append("That is more than a tenth: explore further, or raise --max-frames or --epochs, to lower it.")
    return said


def _read_frames(paths: Sequence[Path]) -> list[Atoms]:
    return [atoms for path in paths for atoms in read_structures(path)]


def _check_open(potential: CommitteePotential) -> None:
    """Refuse a closed foundation before anything is computed."""
    if not isinstance(potential.backbone, OpenBackbone):
        raise InputError(
            f"--plain: the foundation {potential.backbone.name} is closed: its weights cannot be changed. Share the "
            "checkpoint's folder instead, which opens with al-loop and the foundation"
        )


def _of_campaign(config: Config, max_frames: int) -> _Explored:
    """Choose explored frames evenly over the rounds, and read the test frames that have labels."""
    with existing_campaign(config, read_only=True) as ledger:
        chosen = _evenly(_explored_ids(ledger), max_frames)
        frames, groups = [], []
        for round_ in sorted({round_ for round_, _ in chosen}):
            wanted = {frame_id for other, frame_id in chosen if other == round_}
            for frame in ledger.visits(round_, Role.EXPLORE, frames=wanted):
                if frame.frame_id in wanted:
                    wanted.remove(frame.frame_id)
                    frames.append(frame.atoms)
                    groups.append(f"{round_}/{frame.trajectory}")
        labelled = [training_frame(frame) for frame in ledger.labelled((Role.TEST,))]
    return _Explored(frames, groups, labelled)


def _explored_ids(ledger: Ledger) -> list[tuple[int, str]]:
    """Round and id of each explored frame whose verdict does not make it unphysical."""
    found: dict[str, int] = {}
    for round_ in ledger.rounds():
        for frame in ledger.candidates(round_, Role.EXPLORE):
            if frame.kind is not VerdictKind.DISCARD and frame.check is not GateCheck.PHYSICS:
                found.setdefault(frame.frame_id, round_)
    return [(round_, frame_id) for frame_id, round_ in found.items()]


def _thinned(explored: _Explored, max_frames: int) -> _Explored:
    rows = _evenly(range(len(explored.frames)), max_frames)
    groups = None if explored.groups is None else [explored.groups[i] for i in rows]
    return _Explored([explored.frames[i] for i in rows], groups, explored.labelled)


def _evenly(items: Sequence[_Item], count: int) -> list[_Item]:
    rows = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[i] for i in rows]


def _baked(
    potential: CommitteePotential, explored: _Explored, to: Path, epochs: int, seed: int, advance: Advance
) -> Baked:
    """Bake with a state beside the file, which is deleted once the fit has ended."""
    state = to.with_name(f"{to.name}-state")
    baked = bake(
        potential,
        explored.frames,
        BAKE_SETTINGS.model_copy(update={"epochs": epochs}),
        groups=explored.groups,
        labelled=explored.labelled,
        seed=seed,
        state_folder=state,
        progress=incremental(advance),
    )
    with suppress(OSError):  # not empty, or never made
        state.rmdir()
    return baked


def _write(potential: CommitteePotential, to: Path, baked: Baked | None) -> PlainExport:
    if baked is None:
        about = {"level_of_theory": potential.provenance.level_of_theory}
        return PlainExport(export_plain(potential.backbone, to, shifts=potential.shifts, about=about), None)
    return PlainExport(export_plain(baked.backbone, to, shifts=baked.shifts, about=baked.about()), baked)


@contextmanager
def _as_input_errors() -> Iterator[None]:
    try:
        yield
    except (CheckpointError, TrainingDataError) as error:
        raise InputError(str(error)) from error
