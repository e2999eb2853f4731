"""Total charge and multiplicity in inputs and outputs of quantum chemistry, which ASE's readers pass over."""

import re
from pathlib import Path
from typing import Final

_NUMBER: Final = r"\s*([+-]?[\d.]+(?:[dDeE][+-]?\d+)?)"

_PATTERNS: Final[dict[str, dict[str, re.Pattern[str]]]] = {
    file_format: {name: re.compile(pattern + _NUMBER, re.IGNORECASE) for name, pattern in patterns.items()}
    for file_format, patterns in {
        "espresso-in": {"charge": r"^[^!#]*\btot_charge\s*="},
        "nwchem-in": {"charge": r"^\s*charge\s", "multiplicity": r"^\s*mult\s"},
        "gamess-us-in": {"charge": r"\bicharg\s*=", "multiplicity": r"\bmult\s*="},
        "gaussian-out": {"charge": r"^\s*charge\s*=", "multiplicity": r"\bmultiplicity\s*="},
        "orca-output": {"charge": r"^\s*total charge\s+charge\s+\.*", "multiplicity": r"^\s*multiplicity\s+mult\s+\.*"},
        "nwchem-out": {"charge": r"^\s*charge\s*:", "multiplicity": r"^\s*spin multiplicity\s*:"},
        "gamess-us-out": {"charge": r"^\s*charge of molecule\s*=", "multiplicity": r"^\s*spin multiplicity\s*="},
    }.items()
}
_FORMAL_CHARGES: Final = ("mol", "sdf")


def code_statements(path: Path, file_format: str) -> dict[str, float]:
    """Return ``charge`` and ``multiplicity`` as far as a file of this format states them, the first time that it does.

    In MDL's molecule files the formal charges add up to the total one.

    Args:
        path: the file.
        file_format: ASE's name of it.
    """
    if file_format in _FORMAL_CHARGES:
        return _formal_charge(path)
    sought = dict(_PATTERNS.get(file_format, {}))
    found: dict[str, float] = {}
    if not sought:
        return found
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            for name in [name for name in sought if name not in found]:
                if match := sought[name].search(line):
                    found[name] = float(re.sub("[dD]", "e", match[1]))
            if len(found) == len(sought):
                break
    return found


def _formal_charge(path: Path) -> dict[str, float]:
    """The sum of the lines ``M  CHG`` of the first molecule; without them it states none."""
    charges = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if words[:2] == ["M", "END"]:
                break
            if words[:2] == ["M", "CHG"]:
                charges += [float(charge) for charge in words[4::2]]
    return {"charge": sum(charges)} if charges else {}
