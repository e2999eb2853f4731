"""The model, held-out labels and engine of a ranking, from files and a campaign's config."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from al_loop.config import Config, PhysicsSettings
from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.ledger.identity import check_folder, existing_campaign
from al_loop.records import Frame, Role
from al_loop.stages.label.direct import Labeller
from al_loop.tools.foundation_argument import FoundationArgument, parse_foundation
from al_loop.tools.open_model import open_checkpoint, open_served
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
        config: whose engine labels; None to label nothing.
        notes: sentences on frames of the labelled file that were merged, separated or left out.
    """

    potential: CommitteePotential
    physics: PhysicsSettings = field(default_factory=PhysicsSettings)
    labelled: tuple[tuple[Atoms, float], ...] = ()
    config: Config | None = None
    notes: tuple[str, ...] = ()

    def labeller(self, folder: Path) -> Labeller | None:
        """Return the labeller, None without a config.

        Args:
            folder: where finished labels are kept.
        """
        return None if self.config is None else Labeller(self.config.label, folder)


def open_ranking_inputs(
    model: Path | None = None,
    config: Config | None = None,
    foundation: FoundationArgument | None = None,
    labelled: Path | None = None,
) -> RankingInputs:
    """Open a checkpoint and the labels that calibrate it.

    Args:
        model: the checkpoint's folder; by default the model that the config's campaign serves.
        config: of a campaign, whose engine labels and whose held-out labels calibrate energy differences.
        foundation: the foundation under the checkpoint, as for ``al-loop predict``; by default the config's, and
            without one it is loaded by name where its weights come with a package.
        labelled: a file of labelled frames that the model was not trained on, used instead of the campaign's.

    Raises:
        InputError: no model, no checkpoint in that folder, or a file that is not what it should be.
        FoundationError: a foundation that cannot be loaded.
    """
    chosen = parse_foundation(foundation) if foundation is not None else None
    if chosen is None and config is not None:
        chosen = config.foundation
    if model is not None:
        potential = open_checkpoint(model, [None if chosen is None else load_backbone(chosen)])
    elif config is not None:
        potential = open_served(config, chosen).potential
    else:
        raise InputError("no model: name a checkpoint's folder with --model, or a campaign with --config")
    read = None if labelled is None else read_labelled(labelled)
    return RankingInputs(
        potential=potential,
        physics=PhysicsSettings() if config is None else config.physics,
        labelled=_with_energies(read.frames) if read is not None else _from_campaign(config),
        config=config,
        notes=() if read is None else read.notes,
    )


def _with_energies(frames: Sequence[Frame]) -> tuple[tuple[Atoms, float], ...]:
    return tuple((frame.atoms, frame.energy_eV) for frame in frames if np.isfinite(frame.energy_eV))


def _from_campaign(config: Config | None) -> tuple[tuple[Atoms, float], ...]:
    """Held-out labels of a campaign that has been started, none of any other."""
    if config is None:
        return ()
    if check_folder(config) is None:
        return ()
    with existing_campaign(config, read_only=True) as ledger:
        frames = ledger.labelled(HELD_OUT)
    return tuple((frame.atoms, frame.label.energy_eV) for frame in frames if frame.label.energy_eV is not None)
