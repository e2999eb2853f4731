"""Open a model: a checkpoint, or the served model of a campaign."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from al_loop.config import Config, PhysicsSettings
from al_loop.errors import InputError
from al_loop.ledger.identity import check_folder, existing_campaign
from al_loop.tools.foundation_argument import Foundation, FoundationArgument, parse_foundation
from al_loop.utils.campaign_folder import MODELS, inside
from al_loop.utils.foreign_input import reading
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone
from committee.checkpoint import check_content, load
from committee.errors import CheckpointError
from committee.potential import CommitteePotential

YAML = (".yaml", ".yml")
_NOT_BY_NAME = "load it yourself"  # in the message about a foundation whose weights the checkpoint does not name


@dataclass(frozen=True)
class OpenedModel:
    """A committee and the limits of its physics check."""

    potential: CommitteePotential
    physics: PhysicsSettings


def open_model(model: Path, foundation: FoundationArgument | None = None) -> OpenedModel:
    """Open a checkpoint's folder, or the model that a campaign's YAML serves.

    Args:
        model: the folder or the file.
        foundation: as for ``al-loop predict``; by default the campaign's, or by name where its weights come with a
            package.

    Raises:
        InputError: no model there.
        FoundationError: a foundation that cannot be loaded.
    """
    chosen = None if foundation is None else parse_foundation(foundation)
    if model.suffix in YAML:
        from al_loop.config.file import read_config

        return open_served(read_config(model), chosen, config_file=model)
    _check_folder(model)
    backbone = None if chosen is None else load_backbone(chosen)
    return OpenedModel(open_checkpoint(model, [backbone]), PhysicsSettings())


def open_served(
    config: Config, foundation: Foundation | None = None, *, config_file: Path | str = "CONFIG"
) -> OpenedModel:
    """Open the model that a campaign serves, with its physics, by default on the campaign's foundation.

    Raises:
        InputError: no campaign, or it has not promoted a model yet; ``config_file`` is how a message calls its file.
        FoundationError: a foundation that cannot be loaded.
    """
    folder = served_checkpoint(config, config_file=config_file)
    if folder is None:
        raise InputError(
            f"the campaign {config.name} serves no committee yet: its foundation is served until a candidate is "
            "promoted. Run it on, or name a checkpoint's folder"
        )
    return OpenedModel(open_checkpoint(folder, [load_backbone(foundation or config.foundation)]), config.physics)


def served_checkpoint(config: Config, *, config_file: Path | str = "CONFIG") -> Path | None:
    """Return the folder of the served model's checkpoint, None before the first promotion.

    Raises:
        InputError: no campaign was ever started in the folder, its ledger is another campaign's, or the checkpoint is
            not the one that was promoted.
    """
    if check_folder(config) is None:
        raise InputError(f"There is no campaign in {config.folder} yet; start it with: al-loop run {config_file}")
    with existing_campaign(config, read_only=True) as ledger:
        model = ledger.served_model()
    if model is None:
        return None
    path = inside(config.folder.expanduser().resolve() / MODELS, model.path)
    try:
        check_content(path, model.checkpoint)
    except CheckpointError as error:
        raise InputError(
            f"Campaign {config.name} serves {path}: {error} `al-loop run` makes it again from its labels."
        ) from error
    return path


def open_checkpoint(folder: Path, backbones: Iterable[Backbone | None]) -> CommitteePotential:
    """Open a checkpoint on the first of the foundations that it was trained on; None is the one that it names itself.

    Raises:
        InputError: no checkpoint, or one that was trained on none of them.
    """
    first: CheckpointError | None = None
    for backbone in backbones:
        try:
            return load(folder, backbone)
        except CheckpointError as error:
            first = first or error
            if backbone is None and _NOT_BY_NAME not in str(error):
                break
    told = f"model {folder}: {first}"
    if _NOT_BY_NAME in told:
        told += " On the command line: --foundation fairchem:FILE:TASK, or --config of the campaign."
    raise InputError(told) from first


def _check_folder(model: Path) -> None:
    remedy = "name a checkpoint's folder or a campaign's YAML"
    with reading(f"model {model}", remedy):
        if model.is_file():
            raise InputError(
                f"model {model} is a file; expected a checkpoint's folder, as al-loop train and a campaign write it, "
                "or a campaign's YAML"
            )
        if not model.is_dir():
            raise InputError(f"model {model}: there is no such folder; {remedy}")
