"""Read the headers of pseudopotential files in the UPF format."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ase.units import Hartree, Ry

from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.foreign import reading

_HEADER = re.compile(r"<PP_HEADER\s(.*?)/?>", re.DOTALL)
_ATTRIBUTE = re.compile(r'(\w+)\s*=\s*"([^"]*)"')

_FUNCTIONALS = {
    "SLA PW PBX PBC": "PBE",
    "SLA PW PBE PBE": "PBE",
    "PBESOL": "PBEsol",
    "SLA PW PSX PSC": "PBEsol",
    "SLA PW NOGX NOGC": "LDA",
    "PZ": "LDA (PZ)",
    "SLA PZ NOGX NOGC": "LDA (PZ)",
}
"""Quantum ESPRESSO's spellings of functionals that have a shorter name."""

_LOW_HINT_HARTREE = {
    "H": 32, "He": 39, "Li": 33, "Be": 38, "B": 34, "C": 37, "N": 36, "O": 36, "F": 36, "Ne": 30, "Na": 38,
    "Mg": 38, "Al": 16, "Si": 14, "P": 18, "S": 20, "Cl": 25, "Ar": 29, "K": 33, "Ca": 28, "Sc": 35, "Ti": 38,
    "V": 38, "Cr": 43, "Mn": 42, "Fe": 41, "Co": 42, "Ni": 45, "Cu": 42, "Zn": 38, "Ga": 36, "Ge": 35, "As": 38,
    "Se": 39, "Br": 19, "Kr": 22, "Rb": 19, "Sr": 28, "Y": 30, "Zr": 29, "Nb": 37, "Mo": 36, "Tc": 38, "Ru": 38,
    "Rh": 40, "Pd": 37, "Ag": 37, "Cd": 47, "In": 31, "Sn": 32, "Sb": 36, "Te": 34, "I": 31, "Xe": 28, "Cs": 19,
    "Ba": 18, "La": 50, "Lu": 46, "Hf": 25, "Ta": 25, "W": 31, "Re": 30, "Os": 33, "Ir": 30, "Pt": 38, "Au": 32,
    "Hg": 29, "Tl": 27, "Pb": 24, "Bi": 29, "Po": 28, "Rn": 32,
}  # fmt: skip
"""PseudoDojo's "low" hints, below which forces and stress are wrong; its UPF files do not state them.

From ``ONCVPSP-PBE-PDv0.4/standard.djson`` of abinit/pseudo_dojo. Version 0.5 of the files revised eleven elements
without publishing other hints; the stringent files need higher cutoffs.
"""


@dataclass(frozen=True)
class UpfFile:
    """One pseudopotential.

    Attributes:
        name: file name.
        element: chemical symbol.
        functional: the functional for which it was made, in its usual spelling, for example ``PBE``.
        norm_conserving: False for ultrasoft and PAW files, which need a finer density grid.
        valence_electrons: number of valence electrons.
        min_cutoff_eV: lowest usable plane-wave cutoff, None if neither the file nor its authors state one.
    """

    name: str
    element: str
    functional: str
    norm_conserving: bool
    valence_electrons: float
    min_cutoff_eV: float | None


@dataclass(frozen=True)
class UpfSet:
    """The pseudopotentials of one functional in a folder."""

    folder: Path
    files: Mapping[str, UpfFile]
    fingerprint: str


def read_upf_set(folder: Path, functional: str) -> UpfSet:
    """Read the UPF files (version 2) of one functional; others in the folder are ignored.

    They are read again only after one of them was changed, added or removed.

    Raises:
        EngineSettingsError: no file of this functional, or two for one element.
    """
    stamps = ((path, path.stat()) for path in sorted(folder.glob("*.[uU][pP][fF]")))
    return _read_upf_set(folder, functional, tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stamps))


@lru_cache(maxsize=8)
def _read_upf_set(folder: Path, functional: str, stamps: tuple[tuple[Path, int, int], ...]) -> UpfSet:
    files: dict[str, UpfFile] = {}
    others: set[str] = set()
    digest = hashlib.sha256()
    for path, *_ in stamps:
        with reading(lambda why, path=path: EngineSettingsError(_unreadable(path, why))):  # type: ignore[misc]
            content = path.read_bytes()
            file = _read_header(path.name, content.decode(errors="replace"))
        if file is None:
            continue
        if file.functional.lower() != functional.lower():
            others.add(file.functional)
            continue
        if file.element in files:
            raise EngineSettingsError(
                f"received the {functional} pseudopotentials {files[file.element].name} and {file.name} for "
                f"{file.element} in {folder}, expected one for each element: keep one of them in a folder of your own"
            )
        files[file.element] = file
        digest.update(path.name.encode() + b"\0" + content)
    if not files:
        found = f"only files for {', '.join(sorted(others))}" if others else "no UPF files"
        raise EngineSettingsError(
            f"received xc {functional}, which has to agree with the pseudopotentials, and {folder} holds {found}: "
            "set 'xc' to the functional of the files, or 'pseudopotentials' to another folder"
        )
    return UpfSet(folder, files, digest.hexdigest()[:16])


def _unreadable(path: Path, why: str) -> str:
    return f"{path} cannot be read as a pseudopotential ({why}); put a whole UPF file (version 2) in its place"


def _read_header(name: str, text: str) -> UpfFile | None:
    header = _HEADER.search(text)
    if header is None:
        return None
    values = {key: value.strip() for key, value in _ATTRIBUTE.findall(header[1])}
    spelling = " ".join(values["functional"].split())
    return UpfFile(
        name=name,
        element=values["element"],
        functional=_FUNCTIONALS.get(spelling, spelling),
        norm_conserving=values["pseudo_type"] in {"NC", "SL"},
        valence_electrons=_number(values["z_valence"]),
        min_cutoff_eV=_min_cutoff_eV(values),
    )


def _min_cutoff_eV(header: Mapping[str, str]) -> float | None:
    stated = _number(header.get("wfc_cutoff", "0"))
    if stated > 0:
        return float(stated * Ry)
    from_pseudodojo = "ONCVPSP" in header.get("generated", "") and header.get("author") == "anonymous"
    hint = _LOW_HINT_HARTREE.get(header["element"]) if from_pseudodojo else None
    return None if hint is None else float(hint * Hartree)


def _number(text: str) -> float:
    return float(text.lower().replace("d", "e"))
