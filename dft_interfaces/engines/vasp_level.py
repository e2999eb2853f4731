"""The level of theory of an input set of VASP."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from dft_interfaces.engines.spin_starts import spin_treatment
from dft_interfaces.engines.vasp_potcars import find_potcar, potcar_digest
from dft_interfaces.label import LevelOfTheory
from dft_interfaces.settings.crystals import SpinStart
from dft_interfaces.settings.vasp import VASPSettings
from dft_interfaces.vasp_sets import InputSet

_ALGORITHM = frozenset(
    {"ALGO", "NELM", "NELMIN", "NELMDL", "AMIX", "BMIX", "AMIX_MAG", "BMIX_MAG", "AMIN", "MAXMIX", "LMAXMIX", "LDIAG"}
)
_PARALLEL = frozenset({"NCORE", "NPAR", "KPAR", "NSIM", "LPLANE", "LSCALAPACK"})
_PRINTED = frozenset({"NWRITE", "LORBIT", "LDAUPRINT", "LWAVE", "LCHARG", "LAECHG", "LVTOT", "LELF", "ISTART"})
_NOT_THE_LEVEL = _ALGORITHM | _PARALLEL | _PRINTED
"""Tags that change how the solution is reached or which files are written, never the numbers."""

_STATED_APART = frozenset({"GGA", "METAGGA", "IVDW", "ENCUT", "ENAUG", "PREC", "LREAL", "ISMEAR", "SIGMA", "ISPIN"})

_FUNCTIONALS = {"PE": "PBE", "RP": "RPBE", "PS": "PBEsol", "RE": "revPBE"}
_DISPERSIONS = {0: "", 10: "D2", 11: "D3(zero)", 12: "D3(BJ)", 13: "D4", 20: "TS", 202: "MBD"}
_SMEARINGS = {-5: "tetrahedron, Gaussian for few k-points", -1: "Fermi-Dirac", 0: "Gaussian"}
_SPIN_POLARISED = 2


def level_of_theory(settings: VASPSettings, potcar_folder: Path) -> LevelOfTheory:
    """Return the level of theory, with the hashes of all pseudopotentials of the set that the user has."""
    inputs = settings.inputs
    incar = inputs.incar
    gga = str(incar.get("GGA", "PE")).upper()
    functional = str(incar.get("METAGGA") or _FUNCTIONALS.get(gga, gga))
    dispersion = _DISPERSIONS.get(incar.get("IVDW", 0), f"IVDW = {incar.get('IVDW')}")
    hubbard = _hubbard(incar)
    name = "-".join(filter(None, (functional + ("(+U)" if hubbard else ""), dispersion)))
    more = {tag: value for tag, value in incar.items() if tag not in _NOT_THE_LEVEL | _STATED_APART}
    of_slabs = ", dipole correction of slabs" if settings.dipole_correction else ""
    return LevelOfTheory(
        code="vasp",
        summary=f"{name}, PAW, {incar['ENCUT']:g} eV, input set {inputs.name}{of_slabs}",
        functional=functional,
        dispersion=dispersion,
        hubbard_U_eV=hubbard,
        pseudopotentials={"set": inputs.potcar_functional, **_hashes(inputs, potcar_folder)},
        basis={
            "cutoff_eV": float(incar["ENCUT"]),
            "augmentation_eV": incar.get("ENAUG"),
            "precision": str(incar.get("PREC", "Normal")).lower(),
            "real_space_projection": str(incar.get("LREAL", False)).lower(),
        },
        kpoint_density_A=inputs.kpoints.get("density_A"),
        smearing=_smearing(incar),
        spin=_spin(incar, settings.spin_starts),
        more={
            "incar": more,
            "kpoints": dict(inputs.kpoints),
            "energy": "free energy",
            **settings.correction_of_slabs,
        },
    )


def _hubbard(incar: Mapping[str, Any]) -> dict[str, float]:
    """Return U by ``Ni-d with O``: pymatgen's rules tie U to the most electronegative element of the cell."""
    if not incar.get("LDAU"):
        return {}
    found: dict[str, float] = {}
    for key, value in incar.get("LDAUU", {}).items():
        if isinstance(value, dict):
            found |= {f"{symbol}-d with {key}": float(u) for symbol, u in value.items()}
        else:
            found[f"{key}-d"] = float(value)
    return {what: u for what, u in found.items() if u}


def _smearing(incar: Mapping[str, Any]) -> str:
    kind = incar.get("ISMEAR", 1)
    return f"{_SMEARINGS.get(kind, f'Methfessel-Paxton {kind}')} {incar.get('SIGMA', 0.2):g} eV"


def _spin(incar: Mapping[str, Any], starts: Sequence[SpinStart]) -> str:
    if incar.get("ISPIN", 1) != _SPIN_POLARISED:
        return "none"
    return "polarised" if tuple(starts) == ("given",) else spin_treatment(starts)


def _hashes(inputs: InputSet, folder: Path) -> dict[str, str]:
    names = sorted({inputs.potcar(symbol) for symbol in chemical_symbols[1:]})
    files = {name: find_potcar(folder, inputs.potcar_functional, name) for name in names}
    return {name: potcar_digest(file) for name, file in files.items() if file is not None}
