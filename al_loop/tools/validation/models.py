"""Open the validated models: a model, its foundation, and other foundations."""

import hashlib
import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ase.calculators.calculator import BaseCalculator, Calculator
from ase.calculators.emt import EMT

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.ledger.identity import check_folder
from al_loop.tools.open_model import (
    FORMS,
    YAML,
    Foundation,
    open_checkpoint,
    parse_foundation,
    served_checkpoint,
    title,
)
from al_loop.utils.content_hash import content_id
from al_loop.utils.foreign_input import reading
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone, OpenBackbone
from committee.backbones.named_objects import call, resolve
from committee.calculator import CommitteeCalculator
from committee.checkpoint import DESCRIPTION
from committee.potential import CommitteePotential

CALCULATOR = "calculator:"


@dataclass(frozen=True)
class ValidatedModel:
    """One column of the comparison; the fingerprint of its weights is the key of cached results."""

    name: str
    fingerprint: str
    calculator: Calculator


def open_models(model: str, foundations: Sequence[str], config: Config | None = None) -> list[ValidatedModel]:
    """Open the model, its foundation, and the foundations to compare with.

    Args:
        model: a checkpoint's folder; a campaign's YAML, whose served model is taken, or before the first promotion
            its foundation; or a foundation as below.
        foundations: ``sevennet:MODEL``, ``fairchem:MODEL:TASK``, ``emt``, ``calculator:IMPORT.PATH``, or a campaign's
            YAML.
        config: of a campaign, whose foundation opens a checkpoint that names no weights itself.

    Returns:
        The model first; each set of weights once.

    Raises:
        InputError: no model there.
        FoundationError: a foundation that cannot be loaded.
    """
    others = [_foundation(text) for text in foundations]
    found = [*_model(model, others, config), *others]
    once = list({one.fingerprint: one for one in reversed(found)}.values())[::-1]
    taken: list[str] = []
    for one in once:
        taken.append(f"{one.name} ({taken.count(one.name) + 1})" if one.name in taken else one.name)
    return [replace(one, name=name) for one, name in zip(once, taken, strict=True)]


def _model(model: str, others: Sequence[ValidatedModel], config: Config | None) -> list[ValidatedModel]:
    folder = Path(model)
    if model.endswith(YAML):
        return _served(folder)
    with reading(f"MODEL {model}", "name a checkpoint's folder, a campaign's YAML or a foundation"):
        is_folder = folder.is_dir()
    if not is_folder:
        return [_foundation(model, "MODEL", ", or the folder of a checkpoint")]
    potential = open_checkpoint(folder, _backbones(others, config))
    return _with_its_foundation(folder.resolve().name, folder, potential, _backbones(others, config))


def _backbones(others: Sequence[ValidatedModel], config: Config | None) -> Iterator[Backbone | None]:
    """Possible foundations of a checkpoint: the one that it names itself, those compared, the campaign's."""
    yield None
    yield from (s.calculator.potential.backbone for s in others if isinstance(s.calculator, CommitteeCalculator))
    if config is not None:
        yield load_backbone(config.foundation)


def _served(path: Path) -> list[ValidatedModel]:
    from al_loop.config.file import read_config

    config = read_config(path)
    served = None if check_folder(config) is None else served_checkpoint(config)
    if served is None:
        return [_from_settings(config.foundation)]
    foundation = load_backbone(config.foundation)
    potential = open_checkpoint(served, [foundation])
    return _with_its_foundation(f"{config.name} {served.name}", served, potential, [foundation])


def _with_its_foundation(
    name: str, folder: Path, potential: CommitteePotential, foundations: Iterable[Backbone | None]
) -> list[ValidatedModel]:
    """The model and its foundation: the one before any adaptation, if it is among those given."""
    backbone = potential.backbone
    if isinstance(backbone, OpenBackbone) and backbone.changed_weights:
        given = (one for one in foundations if one is not None)
        backbone = next((one for one in given if one.fingerprint == backbone.base_fingerprint), backbone)
    seal = hashlib.sha256((folder / DESCRIPTION).read_bytes()).hexdigest()
    return [
        ValidatedModel(
            name, content_id("committee", seal, potential.backbone.fingerprint), CommitteeCalculator(potential)
        ),
        _bare(backbone.name, backbone),
    ]


def _foundation(text: str, option: str = "--foundation", besides: str = "") -> ValidatedModel:
    if text.lower() == "emt":
        return ValidatedModel("emt", content_id("calculator", "emt"), EMT())
    if text.startswith(CALCULATOR):
        return _calculator(text.removeprefix(CALCULATOR))
    try:
        return _from_settings(parse_foundation(text))
    except InputError as error:
        message = str(error).replace("--foundation", option, 1).replace(FORMS, f"{FORMS}, emt, calculator:IMPORT.PATH")
        raise InputError(f"{message}{besides}") from error


def _from_settings(settings: Foundation) -> ValidatedModel:
    return _bare(title(settings), load_backbone(settings))


def _bare(name: str, backbone: Backbone) -> ValidatedModel:
    calculator = CommitteeCalculator(CommitteePotential.untrained(backbone))
    return ValidatedModel(name, content_id("foundation", backbone.fingerprint), calculator)


def _calculator(path: str) -> ValidatedModel:
    """A calculator without arguments, named by its import path on the user's own command line."""
    found = resolve(path)
    if not (inspect.isclass(found) and issubclass(found, BaseCalculator)):
        raise InputError(f"{CALCULATOR}{path}: received {found!r}, expected the class of an ASE calculator")
    return ValidatedModel(path, content_id("calculator", path), call(path, found, {}))
