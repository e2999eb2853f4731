"""Which format of labelled frames a file has, by its name and its first bytes."""

import re
from pathlib import Path
from typing import Final

from al_loop.errors import InputError
from al_loop.files.outputs import OUTPUTS
from al_loop.files.outputs.vasp_run import other_output, run_tag
from al_loop.files.text.open_text import first_bytes, plain_name
from al_loop.utils.foreign_input import reading

FRAMES: Final = {
    "extxyz": "extended XYZ",
    "aselmdb": "aselmdb",
    "db": "ASE database (SQLite)",
    "json": "ASE database (JSON)",
    "traj": "ASE trajectory",
}
"""Format of frames with labels of any origin -> what messages call it."""

KNOWN: Final = ", ".join([*FRAMES.values(), *OUTPUTS.values()])

_PEEK: Final = 50_000  # bytes; headers of MPI and of modules may stand in front of a code's own
_SIGNS: Final = (
    ("espresso", rb"Program PWSCF"),
    ("cp2k", rb"^ CP2K\| version string|^ DBCSR\|"),
    ("orca", rb"\* O   R   C   A \*"),
    ("aims", rb"Invoking FHI-aims"),
    ("gpaw", rb"  ___ ___ ___ _ _ _|  __  _  _\r?\n \| _ \|_\)\|_\|\|  \|"),
    ("vasprun", rb"<modeling>"),
    ("traj", rb"\A- of UlmASE-Trajectory|\AAFFormatASE-Trajectory"),
    ("db", rb"\ASQLite format 3[\s\S]*TABLE systems"),
    ("json", rb'\A\s*\{\s*"\d+":\s*\{'),
)
_UNJUDGED: Final = (
    ("Gaussian", rb"Entering Gaussian System"),
    ("NWChem", rb"Northwest Computational Chemistry Package"),
    ("CASTEP", rb"\|      CCC   AA    SSS  TTTTT  EEEEE  PPPP        \|"),
    ("ABINIT", rb"\.Version .* of ABINIT"),
    ("ONETEP", rb"Linear-Scaling Ab Initio Total Energy Program"),
    ("GAMESS", rb"GAMESS VERSION"),
    ("Qbox", rb"xmlns:fpmd"),
    ("Siesta", rb"Siesta Version|SIESTA [45]\.\d"),
    ("Octopus", rb"<>           ;  _\.-|Running octopus"),
    ("DFTB+", rb"DFTB\+"),
    ("CRYSTAL", rb"CRYSTAL(?:14|17|23)"),
    ("Dacapo", rb"&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&"),
    ("Turbomole", rb"^\$grad"),
    ("exciting", rb"EXCITING \w+ started"),
    ("GPAW, as restart file", rb"\A- of UlmGPAW|\AAFFormatGPAW"),
)
_EXTENSIONS: Final = {".xyz": "extxyz", ".extxyz": "extxyz", ".aselmdb": "aselmdb"}
_VASP_INPUTS: Final = re.compile(r"CONTCAR|POSCAR|XDATCAR|OSZICAR|ML_ABN?|ML_LOGFILE|vaspout\.h5|CHGCAR|INCAR")
_PICKLES: Final = {".pkl", ".pickle", ".pckl", ".bundle"}


def recognised(path: Path) -> str | None:
    """Return the format of a file, a key of ``FRAMES`` or of ``OUTPUTS``; None for any other file.

    Raises:
        Exception: it cannot be read or decompressed.
    """
    name = plain_name(path)
    if run_tag(path) is not None:
        return "vasp-outcar" if "OUTCAR" in name else "vasprun"
    if ending := _EXTENSIONS.get(Path(name).suffix):
        return None if ending == "extxyz" and _is_cp2k_trajectory(path) else ending
    head = first_bytes(path, _PEEK)
    found = next((kind for kind, sign in _SIGNS if re.search(sign, head, re.MULTILINE)), None)
    if found is None and re.match(rb"\s*\d+\s*\n.*Properties=", head):
        return "extxyz"
    return found


def required_format(path: Path) -> str:
    """Return the format of a file that was named as one with labels.

    Raises:
        InputError: another file; where another file of the same run holds the labels, it is named.
    """
    if path.suffix in _PICKLES:
        raise InputError(
            f"{path} is a Python pickle, which may execute code when it is opened; convert it to extended XYZ"
        )
    with reading(path, "give another file"):
        found = recognised(path)
        if found is None:
            raise InputError(_refusal(path))
    return found


def _refusal(path: Path) -> str:
    name = plain_name(path)
    if _VASP_INPUTS.search(name):
        beside = next(
            (file for file in map(other_output, (path.parent / "OUTCAR", path.parent / "vasprun.xml")) if file), None
        )
        return f"{path} holds no labels; give {beside or 'vasprun.xml or OUTCAR'} of the same run instead"
    if Path(name).suffix == ".xyz" and _is_cp2k_trajectory(path):
        return (
            f"{path} is a trajectory of CP2K, which does not state whether a step converged; give CP2K's output of the "
            "same run, and leave the trajectory beside it"
        )
    head = first_bytes(path, _PEEK)
    for code, sign in _UNJUDGED:
        if re.search(sign, head, re.MULTILINE):
            return (
                f"{path} is the output of {code}, in which al-loop cannot see whether the electronic steps converged. "
                "Give the converged ones as extended XYZ with REF_energy (of which the forces are the derivative) and "
                "REF_forces"
            )
    what = "is empty" if not head else "has no format of labelled frames that al-loop knows"
    return f"{path} {what}; known are {KNOWN}"


def _is_cp2k_trajectory(path: Path) -> bool:
    return re.match(rb"\s*\d+\s*\n\s*i =\s*\d+.*E =", first_bytes(path, 500)) is not None
