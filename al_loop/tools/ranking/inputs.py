"""The model, held-out labels and engine of a ranking."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from al_loop.config import Config, PhysicsSettings
from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.ledger.identity import check_folder, existing_campaign
from al_loop.records import Role
from al_loop.stages.label.direct import Labeller
from al_loop.tools.open_model import FoundationArgument, open_checkpoint, open_served, parse_foundation
from al_loop.utils.progress import Notify, log_note
from committee.backbones import load_backbone
from committee.potential import CommitteePotential

HELD_OUT = (Role.TEST, Role.CALIBRATION)


@dataclass(frozen=True)
class RankingInputs:
    """Inputs of a ranking or barrier other than the structures.

    Attributes:
        potential: the committee.
        physics: limits of the physics check.
        labelled: held-out frames with their energies, eV.
        config: of the campaign whose engine labels; None to label nothing.
    """

    potential: CommitteePotential
    physics: PhysicsSettings = field(default_factory=PhysicsSettings)
    labelled: tuple[tuple[Atoms, float], ...] = ()
    config: Config | None = None

    @contextmanager
    def labeller(self, output: Path, frames: Sequence[Atoms]) -> Iterator[Labeller | None]:
        """Open the labeller of the structures, None without a config; labels are kept in ``<output>-labels``.

        Raises:
            InputError: the engine cannot calculate an element.
        """
        if self.config is None:
            yield None
            return
        with Labeller(self.config.label, output.with_name(f"{output.stem}-labels")) as labeller:
            labeller.check_elements(frames)
            yield labeller

    def level_notes(self, labeller: Labeller) -> list[str]:
        """Return a note if DFT here differs from the model's level of theory, which adds to their disagreement."""
        trained, here = self.potential.provenance.level_of_theory, f"{labeller.level.code}: {labeller.level.summary}"
        if trained == here:
            return []
        return [f"the model was trained on labels of another level of theory ({trained}) than the engine's ({here})."]


def open_ranking_inputs(
    model: str | Path | None = None,
    config: Config | None = None,
    foundation: FoundationArgument | None = None,
    labelled: str | Path | None = None,
    notify: Notify = log_note,
) -> RankingInputs:
    """Open a checkpoint and the labels that calibrate it; arguments as for ``al_loop.rank``.

    Raises:
        InputError: no model, no checkpoint in that folder, or a file that is not what it should be.
        FoundationError: a foundation that cannot be loaded.
    """
    chosen = parse_foundation(foundation) if foundation is not None else None
    if chosen is None and config is not None:
        chosen = config.foundation
    if model is not None:
        potential = open_checkpoint(Path(model), [None if chosen is None else load_backbone(chosen)])
    elif config is not None:
        potential = open_served(config, chosen).potential
    else:
        raise InputError("no model: name a checkpoint's folder with --model, or a campaign with --config")
    held_out = _from_campaign(config)
    if labelled is not None:
        read = read_labelled(Path(labelled))
        held_out = tuple((frame.atoms, frame.energy_eV) for frame in read.frames if np.isfinite(frame.energy_eV))
        for note in read.notes:
            notify(note)
    return RankingInputs(potential, PhysicsSettings() if config is None else config.physics, held_out, config)


def _from_campaign(config: Config | None) -> tuple[tuple[Atoms, float], ...]:
    """Held-out labels of a campaign that has been started, none of any other."""
    if config is None or check_folder(config) is None:
        return ()
    with existing_campaign(config, read_only=True) as ledger:
        frames = ledger.labelled(HELD_OUT)
    return tuple((frame.atoms, frame.label.energy_eV) for frame in frames if frame.label.energy_eV is not None)
