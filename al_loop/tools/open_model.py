"""A foundation or a model as a caller names it: settings, a checkpoint, or the served model of a campaign."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from al_loop.config import Config, PhysicsSettings
from al_loop.config.foundation_names import foundation_name, open_weights, unknown_model
from al_loop.config.keys import nearest
from al_loop.errors import InputError
from al_loop.ledger.identity import check_folder, existing_campaign
from al_loop.utils.campaign_folder import MODELS, inside
from al_loop.utils.foreign_input import reading
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone
from committee.checkpoint import check_content, load
from committee.errors import CheckpointError
from committee.potential import CommitteePotential
from committee.settings import (
    CalculatorSettings,
    FairchemSettings,
    FoundationSettings,
    OpenFoundationSettings,
    SevenNetSettings,
)

Foundation = FoundationSettings
FoundationArgument = str | Path | Foundation
"""A word as on the command line, a campaign's YAML file, or settings."""
FORMS = "sevennet:MODEL, sevennet:MODEL:FIDELITY, fairchem:MODEL:TASK, or the YAML file of a campaign"
_TASKS: tuple[str, ...] = get_args(FairchemSettings.model_fields["task_name"].annotation)
YAML = (".yaml", ".yml")
_NOT_BY_NAME = "load it yourself"  # in the message about a foundation whose weights the checkpoint does not name


def parse_foundation(foundation: FoundationArgument, device: Literal["cpu", "cuda"] = "cpu") -> Foundation:
    """Read ``sevennet:7net-0``, ``sevennet:7net-mf-0:PBE``, ``fairchem:/path.pt:omat`` or a campaign's YAML file.

    From a campaign's file the ``foundation`` block is taken, which is how a calculator is named; settings are returned
    as they are.

    Raises:
        InputError: none of these, an unknown model or task, or a campaign's file that is not valid.
    """
    if not isinstance(foundation, str | Path):
        return foundation
    text = str(foundation)
    if text.endswith((".yaml", ".yml")):
        from al_loop.config.file import read_config

        named = read_config(Path(text)).foundation
        dotted, model = open_weights(named)
        unknown = unknown_model(model)
        if unknown is not None:
            raise InputError(f"{text}: {dotted}.model: {unknown}")
        return named
    kind, _, rest = text.partition(":")
    with reading(f"--foundation: {text!r}", f"expected {FORMS}"):
        if kind == "sevennet" and rest:
            return _sevennet(text, rest, device)
        if kind == "fairchem" and rest:
            return _fairchem(text, rest, device)
    raise InputError(f"--foundation: received {text!r}, expected {FORMS}")


def title(foundation: Foundation) -> str:
    """Return the name of a foundation for tables, as on the command line."""
    if isinstance(foundation, CalculatorSettings):
        return f"calculator:{foundation.import_path}"
    return ":".join(filter(None, (foundation.kind, foundation_name(foundation), foundation.mode)))


def _sevennet(text: str, rest: str, device: Literal["cpu", "cuda"]) -> SevenNetSettings:
    model, fidelity = rest, None
    if not Path(rest).is_file() and ":" in rest:
        model, _, fidelity = rest.rpartition(":")
    settings = SevenNetSettings(kind="sevennet", model=model, fidelity=fidelity or None, device=device)
    _check_model(text, settings)
    return settings


def _fairchem(text: str, rest: str, device: Literal["cpu", "cuda"]) -> FairchemSettings:
    model, _, task = rest.rpartition(":")
    if not model or task not in _TASKS:
        raise InputError(
            f"--foundation: received {text!r}, expected fairchem:MODEL:TASK with one of the tasks {', '.join(_TASKS)}"
            f"{nearest(task, _TASKS)}"
        )
    settings = FairchemSettings.model_validate(
        {"kind": "fairchem", "model": model, "task_name": task, "device": device}
    )
    _check_model(text, settings)
    return settings


def _check_model(text: str, settings: OpenFoundationSettings) -> None:
    unknown = unknown_model(settings)
    if unknown is not None:
        raise InputError(f"--foundation {text}: {unknown}")


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
    message = f"model {folder}: {first}"
    if _NOT_BY_NAME in message:
        message += " On the command line: --foundation fairchem:FILE:TASK, or --config of the campaign."
    raise InputError(message) from first


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
