"""Labels as plain JSON values; floats keep every bit."""

from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dft_interfaces.foreign import reading
from dft_interfaces.label import Attempt, Failure, Label, LabelStatus

_FIELDS = frozenset(Label.__dataclass_fields__)


def label_as_dict(label: Label) -> dict[str, Any]:
    """Return a label as values that ``json`` writes and reads without loss."""
    values = {field.name: getattr(label, field.name) for field in fields(label)}
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in values.items()}
    return {**plain, "attempts": [asdict(attempt) for attempt in label.attempts]}


def label_from_dict(data: object) -> Label:
    """Rebuild a label from ``label_as_dict``.

    Raises:
        ValueError: missing or unknown fields, or values of another type.
    """
    if not isinstance(data, dict) or set(data) != _FIELDS:
        keys = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"received a label with {keys}, expected the fields {sorted(_FIELDS)}")
    with reading(lambda why: ValueError(f"received a label with a value of the wrong type: {why}"), ()):
        return Label(
            status=LabelStatus(data["status"]),
            level_of_theory=str(data["level_of_theory"]),
            energy_eV=None if data["energy_eV"] is None else float(data["energy_eV"]),
            forces_eV_per_A=_as_array(data["forces_eV_per_A"], columns=3),
            stress_eV_per_A3=_as_array(data["stress_eV_per_A3"]),
            cost_s=float(data["cost_s"]),
            message=_text(data["message"]),
            failure=_as_failure(data["failure"]),
            magnetic_moments_uB=_as_array(data["magnetic_moments_uB"]),
            attempts=tuple(attempt_from_dict(attempt) for attempt in data["attempts"]),
        )


def attempt_from_dict(data: dict[str, Any]) -> Attempt:
    """Rebuild an attempt from ``dataclasses.asdict``.

    Raises:
        ValueError: a status or failure that does not exist.
        KeyError, TypeError: missing or unknown fields.
    """
    status, failure = LabelStatus(data["status"]), _as_failure(data["failure"])
    return Attempt(**{**data, "status": status, "failure": failure, "message": _text(data["message"])})


def _text(value: object) -> str:
    """Return text that databases accept; file names in it may contain bytes that are not UTF-8."""
    return str(value).encode(errors="replace").decode()


def _as_failure(value: str | None) -> Failure | None:
    return None if value is None else Failure(value)


def _as_array(values: list[Any] | None, columns: int | None = None) -> NDArray[np.float64] | None:
    if values is None:
        return None
    array = np.array(values, dtype=np.float64)
    return array if columns is None else array.reshape(-1, columns)
