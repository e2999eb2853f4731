"""The model that a monitor judges by: a checkpoint, or what a campaign serves."""

from dataclasses import dataclass
from pathlib import Path

from al_loop.config import PhysicsSettings
from al_loop.errors import InputError
from al_loop.foreign import reading
from al_loop.foundation_text import parse_foundation
from committee.backbones import load_backbone
from committee.checkpoint import load
from committee.errors import CheckpointError
from committee.potential import CommitteePotential


@dataclass(frozen=True)
class OpenedModel:
    """A committee and what counts as sound physics for it."""

    potential: CommitteePotential
    physics: PhysicsSettings


def open_model(model: Path, foundation: str | None = None) -> OpenedModel:
    """Open a model.

    Args:
        model: a checkpoint's folder, or a campaign's YAML, whose served model and physics are taken.
        foundation: as for ``al-loop predict``; by default the campaign's, or by name where its weights come with a
            package.

    Raises:
        InputError: no model there.
        FoundationError: a foundation that cannot be loaded.
    """
    physics, folder = PhysicsSettings(), model
    chosen = None if foundation is None else parse_foundation(foundation)
    if model.suffix in {".yaml", ".yml"}:
        from al_loop.campaign import Campaign
        from al_loop.config.file import load_config

        config = load_config(model)
        try:
            served = Campaign(config).served_model()
        except InputError as error:
            raise InputError(
                f"model {model}: there is no campaign in {config.folder} yet; start it with: al-loop run {model}"
                if not config.folder.is_dir()
                else str(error)
            ) from error
        if served is None:
            raise InputError(
                f"the campaign {config.name} has not promoted a model yet; run it on, or name a checkpoint's folder"
            )
        folder, physics, chosen = served, config.physics, chosen or config.foundation
    else:
        _check_folder(model)
    try:
        return OpenedModel(load(folder, None if chosen is None else load_backbone(chosen)), physics)
    except CheckpointError as error:
        told = f"model {model}: {error}"
        if "load it yourself" in str(error):
            told += " On the command line: --foundation fairchem:FILE:TASK, or the campaign's YAML as the model."
        raise InputError(told) from error


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
