"""Foundation models as named on the command line."""

from pathlib import Path
from typing import Literal, get_args

from al_loop.config.foundation_names import foundation_name, open_model, unknown_model
from al_loop.config.keys import nearest
from al_loop.errors import InputError
from al_loop.utils.foreign_input import reading
from committee.settings import CalculatorSettings, FairchemSettings, SevenNetSettings

Foundation = SevenNetSettings | FairchemSettings | CalculatorSettings
FORMS = "sevennet:MODEL, sevennet:MODEL:FIDELITY, fairchem:MODEL:TASK, or the YAML file of a campaign"
_TASKS: tuple[str, ...] = get_args(FairchemSettings.model_fields["task_name"].annotation)


def parse_foundation(text: str, device: Literal["cpu", "cuda"] = "cpu") -> Foundation:
    """Read ``sevennet:7net-0``, ``sevennet:7net-mf-0:PBE``, ``fairchem:/path.pt:omat`` or a campaign's YAML file.

    A campaign's file gives its ``foundation`` block; this is the only way to name a calculator.

    Raises:
        InputError: none of these, an unknown model or task, or a campaign's file that is not valid.
    """
    if text.endswith((".yaml", ".yml")):
        from al_loop.config.file import read_config

        foundation = read_config(Path(text)).foundation
        dotted, model = open_model(foundation)
        unknown = unknown_model(model)
        if unknown is not None:
            raise InputError(f"{text}: {dotted}.model: {unknown}")
        return foundation
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
    choice = foundation.task_name if isinstance(foundation, FairchemSettings) else foundation.fidelity
    return ":".join(filter(None, (foundation.kind, foundation_name(foundation), choice)))


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


def _check_model(text: str, settings: SevenNetSettings | FairchemSettings) -> None:
    unknown = unknown_model(settings)
    if unknown is not None:
        raise InputError(f"--foundation {text}: {unknown}")
