"""Foundation models as named on the command line."""

from pathlib import Path
from typing import Literal, get_args

from al_loop.config.foundation_names import foundation_name, open_model, unknown_model
from al_loop.config.keys import nearest
from al_loop.errors import InputError
from al_loop.utils.foreign_input import reading
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
        dotted, model = open_model(named)
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
