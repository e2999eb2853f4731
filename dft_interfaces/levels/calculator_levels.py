"""The level of theory of a foundation that is an ASE calculator, or a sum of them with a dispersion correction."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dft_interfaces.levels.foundation_levels import foundation_level
from dft_interfaces.levels.foundation_table import FoundationLevel

_SUM = "ase.calculators.mixing.SumCalculator"
_D3 = "dftd3.ase.DFTD3"
_DAMPING = {"d3bj": "D3(BJ)", "d3zero": "D3(zero)"}

_MODE_KEYS = ("calc_mode", "modal", "task_name", "model_name")


def calculator_level(import_path: str, arguments: Mapping[str, Any]) -> FoundationLevel | None:
    """Return the level of theory of a calculator's training data, None if it is not in the table.

    A sum of one known calculator and D3 has the level of the first with the dispersion of the second.
    """
    if import_path == _SUM:
        return _level_of_sum(arguments.get("calcs"))
    if import_path.startswith("sevenn.") and import_path.endswith(".SevenNetCalculator"):
        return foundation_level("sevennet", str(arguments.get("model", "7net-0")), arguments.get("modal"))
    return foundation_level("calculator", import_path, calculator_mode(arguments))


def calculator_mode(arguments: Mapping[str, Any]) -> str | None:
    """Find the argument of a calculator, at any depth, that sets its level of theory; None if there is none.

    These are PFP's ``calc_mode``, by name or as a member ``{import_path: ...EstimatorCalcMode.PBE}``, CHGNet's
    ``model_name``, and ``modal`` and ``task_name`` of others.
    """
    for key in _MODE_KEYS:
        value = arguments.get(key)
        if isinstance(value, Mapping):
            value = value.get("import_path")
        if isinstance(value, str):
            return value
    nested = (calculator_mode(value) for value in arguments.values() if isinstance(value, Mapping))
    return next(filter(None, nested), None)


def _level_of_sum(parts: Any) -> FoundationLevel | None:
    named = list(_named(parts))
    corrections = [arguments for path, arguments in named if path == _D3]
    others = [calculator_level(path, arguments) for path, arguments in named if path != _D3]
    base = others[0] if len(others) == 1 else None
    if len(corrections) != 1 or base is None:
        return None
    (correction,) = corrections
    damping = str(correction.get("damping"))
    kind = _DAMPING.get(damping, f"D3({damping})")
    tweaks = correction.get("params_tweaks") or {}
    return replace(
        base,
        name=f"{base.name} with {kind}",
        dispersion=f"{base.dispersion} + {kind}" if base.dispersion else kind,
        dispersion_functional=str(tweaks.get("method") or correction.get("method") or ""),
        dispersion_three_body=bool(tweaks.get("atm", True)) and tweaks.get("s9", 1.0) != 0.0,
    )


def _named(parts: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, Mapping) and isinstance(part.get("import_path"), str):
            yield part["import_path"], part.get("arguments") or {}
        else:
            yield "", {}
