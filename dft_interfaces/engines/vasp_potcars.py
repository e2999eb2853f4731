"""Find VASP's pseudopotentials in the layouts of ASE and pymatgen, and read what the inputs need."""

import gzip
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.foreign import reading
from dft_interfaces.structure import CannotCalculateError

_FOLDERS = {
    "PBE": ("potpaw_PBE", "POT_GGA_PAW_PBE", "potpaw_PBE.54", "POT_GGA_PAW_PBE_54", ""),
    "PBE_52": ("potpaw_PBE.52", "potpaw_PBE_52", "POT_GGA_PAW_PBE_52", ""),
    "PBE_54": ("potpaw_PBE.54", "potpaw_PBE_54", "POT_GGA_PAW_PBE_54", "POT_PAW_PBE_54", ""),
    "PBE_64": ("potpaw_PBE.64", "potpaw_PBE_64", "POT_PAW_PBE_64", ""),
}
"""Subfolders of a set of pseudopotentials in the user's folder, which may also be that of the set itself."""

_HEADER = tuple(
    re.compile(rf"{tag}\s*=\s*{value}")
    for tag, value in (("TITEL", "(.+)"), ("LEXCH", r"(\w+)"), ("ZVAL", r"([\d.]+)"), ("ENMAX", r"([\d.]+)"))
)

_FILES = ("{name}/POTCAR", "POTCAR.{name}", "POTCAR.{name}.gz", "{name}/POTCAR.gz")


@dataclass(frozen=True)
class Potcar:
    """One element's pseudopotential: its TITEL, number of valence electrons (ZVAL) and cutoff (ENMAX)."""

    name: str
    text: str
    title: str
    valence: float
    cutoff_eV: float


def find_potcar(folder: Path, functional: str, name: str) -> Path | None:
    """Return the file of a pseudopotential, None if it is not there."""
    return next((path for path in _candidates(folder, functional, name) if path.is_file()), None)


def read_potcar(folder: Path, functional: str, name: str) -> Potcar:
    """Read a pseudopotential.

    Raises:
        CannotCalculateError: it is not there, is not one of PBE, or its title does not match its name.
    """
    path = find_potcar(folder, functional, name)
    if path is None:
        raise CannotCalculateError(
            f"no POTCAR of {name} for {functional} below {folder}: expected "
            f"{_FOLDERS[functional][0]}/{name}/POTCAR or {_FOLDERS[functional][1]}/POTCAR.{name}.gz; complete the "
            "folder, or choose another pseudopotential in potcar_names"
        )
    with reading(lambda why: CannotCalculateError(f"{path} cannot be read ({why}); put a whole file in its place")):
        text = _content(path).decode("latin-1")
    return _parse(text, name, path)


def potcar_digest(path: Path) -> str:
    """Return the SHA-256 (16 hex digits) of a pseudopotential, the same whether its file is compressed or not."""
    with reading(lambda why: EngineSettingsError(f"{path} cannot be read ({why}); put a whole file in its place")):
        return hashlib.sha256(_content(path)).hexdigest()[:16]


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _parse(text: str, name: str, path: Path) -> Potcar:
    found = [pattern.search(text) for pattern in _HEADER]
    if None in found:
        raise CannotCalculateError(f"{path} is not a POTCAR: expected lines with TITEL, LEXCH, ZVAL and ENMAX")
    title, functional, valence, cutoff = (str(match and match[1]) for match in found)
    parts = title.split()
    if parts[1:2] != [name] or functional != "PE":
        raise CannotCalculateError(
            f"{path} holds {title.strip()!r} of functional LEXCH = {functional}, expected {name} of functional PE: "
            "put the file of the PBE set in its place"
        )
    return Potcar(name, text, " ".join(parts), float(valence), float(cutoff))


def _candidates(folder: Path, functional: str, name: str) -> Iterator[Path]:
    for subfolder in _FOLDERS[functional]:
        for file in _FILES:
            yield folder / subfolder / file.format(name=name)
