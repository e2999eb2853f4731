"""The levels of theory of foundation models' training data, from their publications and input sets."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class FoundationLevel:
    """Level of theory of a foundation's training data.

    Attributes:
        name: the training data.
        functional: exchange and correlation, without +U and dispersion.
        code: code family that calculated the data, as in ``LevelOfTheory.code``; empty where it is not published.
        basis: description of the pseudopotentials or basis set.
        dispersion: correction added to the functional; empty for none or for one that is part of the functional.
        dispersion_functional: functional of the parameters of a correction that a calculator adds; empty otherwise.
        dispersion_three_body: whether such a correction contains the three-body term.
        cutoff_eV: plane-wave cutoff, None for other bases or where it is not published.
        gaussian_basis: name of the Gaussian basis set, empty for others.
        hubbard_U_eV: effective U on the d electrons by element; None where the value is not published.
        hubbard_anions: U is applied only in cells with one of these; empty if it always is.
        spin_polarised: whether the data are, None where it is not published.
        dipole_correction: whether slabs of the data have one, None where there are no slabs or it is not published.
        source: references.
    """

    name: str
    functional: str
    code: str
    basis: str
    source: str
    dispersion: str = ""
    dispersion_functional: str = ""
    dispersion_three_body: bool = False
    cutoff_eV: float | None = None
    gaussian_basis: str = ""
    hubbard_U_eV: Mapping[str, float | None] = field(default_factory=dict)
    hubbard_anions: tuple[str, ...] = ()
    spin_polarised: bool | None = True
    dipole_correction: bool | None = None

    @property
    def summary(self) -> str:
        """Readable description, for example ``PBE(+U), vasp, PAW PBE_54, 520 eV``."""
        functional = self.functional + ("(+U)" if self.hubbard_U_eV else "")
        cutoff = "" if self.cutoff_eV is None else f"{self.cutoff_eV:g} eV"
        parts = ("-".join(filter(None, (functional, self.dispersion))), self.code, self.basis, cutoff)
        return ", ".join(filter(None, parts))


MATERIALS_PROJECT_U_EV = MappingProxyType(
    {"Co": 3.32, "Cr": 3.7, "Fe": 5.3, "Mn": 3.9, "Mo": 4.38, "Ni": 6.2, "V": 3.25, "W": 6.2}
)
"""Effective U of the Materials Project and of OMat24, in cells with O or F (pymatgen, ``MPRelaxSet.yaml``)."""

_MATERIALS_PROJECT: dict[str, Any] = {"hubbard_U_eV": MATERIALS_PROJECT_U_EV, "hubbard_anions": ("O", "F")}


def _vasp(name: str, functional: str, cutoff_eV: float, basis: str, source: str, **more: Any) -> FoundationLevel:
    return FoundationLevel(name, functional, "vasp", f"PAW {basis}", source, cutoff_eV=cutoff_eV, **more)


OMAT24 = _vasp(
    "OMat24", "PBE", 520, "PBE_54", "arXiv:2410.12771; fairchem-data-omat 0.2.0, OMat24StaticSet", **_MATERIALS_PROJECT
)
OMOL25 = FoundationLevel(
    name="OMol25",
    functional="ωB97M-V",
    code="orca",
    basis="def2-TZVPD, def2 core potentials, VV10 as part of the functional",
    gaussian_basis="def2-tzvpd",
    source="arXiv:2505.08762",
)
OC20 = _vasp(
    "OC20",
    "RPBE",
    350,
    "PBE",
    "arXiv:2010.09990; fairchem-data-oc 1.0.2, VASP_FLAGS; UMA: total energies, VASP 5.4 potentials",
    spin_polarised=False,
    dipole_correction=False,
)
OC22 = _vasp("OC22", "PBE", 500, "PBE", "arXiv:2206.08917", **_MATERIALS_PROJECT)
OC25 = _vasp(
    "OC25",
    "RPBE",
    400,
    "PBE",
    "arXiv:2509.17862; fairchem-data-oc 1.0.2, SOLVENT_BASE_FLAGS (IVDW = 11, LDIPOL, IDIPOL = 3)",
    dispersion="D3(zero)",
    spin_polarised=False,
    dipole_correction=True,
)
ODAC = _vasp(
    "ODAC",
    "PBE",
    600,
    "PBE_54",
    "arXiv:2311.00341; fairchem-data-odac 0.1.0, setup_vasp.py (IVDW = 12)",
    dispersion="D3(BJ)",
)
OMC25 = _vasp(
    "OMC25",
    "PBE",
    520,
    "PBE_54",
    "fairchem-data-omc 0.1.0, incars/*.yml (IVDW = 11) on atomate2's base settings (+U)",
    dispersion="D3(zero)",
    spin_polarised=False,
    **_MATERIALS_PROJECT,
)
MPTRJ = _vasp(
    "MPtrj",
    "PBE",
    520,
    "PBE of the Materials Project",
    "doi:10.1038/s42256-023-00716-3; pymatgen, MPRelaxSet",
    **_MATERIALS_PROJECT,
)
MPA = replace(MPTRJ, name="MPtrj and sAlex", source="arXiv:2409.07947; doi:10.1021/jacs.4c14455")
MP_R2SCAN = _vasp(
    "Materials Project r2SCAN",
    "r2SCAN",
    680,
    "PBE_54",
    "pymatgen, MPScanRelaxSet; the README of CHGNet's r2scan weights",
)
MATPES_PBE = _vasp("MatPES PBE", "PBE", 680, "PBE_64", "arXiv:2503.04070; pymatgen, MatPESStaticSet")
MATPES_R2SCAN = replace(MATPES_PBE, name="MatPES r2SCAN", functional="r2SCAN")
SPICE = FoundationLevel(
    name="SPICE",
    functional="ωB97M",
    dispersion="D3(BJ)",
    code="psi4",
    basis="def2-TZVPPD",
    gaussian_basis="def2-tzvppd",
    source="doi:10.1038/s41597-022-01882-6",
)
QCML = FoundationLevel(
    "QCML", "PBE0", "fhi-aims", "numeric atom-centred orbitals", "SevenNet's list of tasks", spin_polarised=None
)
PET_MAD = FoundationLevel(
    "MAD", "PBEsol", "espresso", "SSSP pseudopotentials", "arXiv:2503.14118", spin_polarised=False
)

_PFP_DOCUMENTS = "Matlantis' list of PFP versions and calculation modes; doi:10.1038/s41467-022-30687-9"
_PFP_U = MappingProxyType(dict.fromkeys(("Co", "Cr", "Cu", "Fe", "Mn", "Mo", "Ni", "V", "W")))
PFP_PBE = FoundationLevel("PFP PBE", "PBE", "vasp", "PAW", _PFP_DOCUMENTS, spin_polarised=None)
PFP_PBE_U = replace(PFP_PBE, name="PFP PBE_U", hubbard_U_eV=_PFP_U)
PFP_R2SCAN = replace(PFP_PBE, name="PFP R2SCAN", functional="r2SCAN", source="arXiv:2603.11063")
PFP_WB97XD = FoundationLevel(
    name="PFP WB97XD",
    functional="ωB97X-D",
    code="gaussian",
    basis="6-31G(d)",
    gaussian_basis="6-31g(d)",
    spin_polarised=None,
    source=_PFP_DOCUMENTS,
)


def _with_d3(level: FoundationLevel) -> FoundationLevel:
    return replace(level, name=f"{level.name}_PLUS_D3", dispersion="D3")


UMA_TASKS = {"omat": OMAT24, "omol": OMOL25, "oc20": OC20, "oc22": OC22, "oc25": OC25, "odac": ODAC, "omc": OMC25}
"""By UMA's task name."""

_SEVENNET_TASKS = {
    "mpa": MPA,
    "omat24": OMAT24,
    "matpes_pbe": MATPES_PBE,
    "matpes_r2scan": MATPES_R2SCAN,
    "mp_r2scan": MP_R2SCAN,
    "oc20": OC20,
    "oc22": OC22,
    "odac23": ODAC,
    "omol25_low": OMOL25,
    "omol25_high": OMOL25,
    "spice": SPICE,
    "qcml": QCML,
    "pet_mad": PET_MAD,
}
SEVENNET_MODELS = {
    "7net-0": {"": MPTRJ},
    "7net-0_22may2024": {"": MPTRJ},
    "7net-l3i5": {"": MPTRJ},
    "7net-mf-0": {"pbe": MPTRJ, "r2scan": MP_R2SCAN},
    "7net-omat": {"": OMAT24},
    "7net-mf-ompa": {"mpa": MPA, "omat24": OMAT24},
    "7net-omni": _SEVENNET_TASKS,
    "7net-omni-i8": _SEVENNET_TASKS,
    "7net-omni-i12": _SEVENNET_TASKS,
}
"""By SevenNet's model name and fidelity (in lower case), the latter empty for models that have only one."""

CHGNET_MODELS = {"0.3.0": MPTRJ, "0.2.0": MPTRJ, "r2scan": MP_R2SCAN}
"""By the name of CHGNet's weights."""

PFP_MODES = {
    "pbe": PFP_PBE,
    "crystal_u0": PFP_PBE,
    "pbe_plus_d3": _with_d3(PFP_PBE),
    "crystal_u0_plus_d3": _with_d3(PFP_PBE),
    "pbe_u": PFP_PBE_U,
    "crystal": PFP_PBE_U,
    "pbe_u_plus_d3": _with_d3(PFP_PBE_U),
    "crystal_plus_d3": _with_d3(PFP_PBE_U),
    "r2scan": PFP_R2SCAN,
    "r2scan_plus_d3": _with_d3(PFP_R2SCAN),
    "wb97xd": PFP_WB97XD,
    "molecule": PFP_WB97XD,
}
"""By PFP's calculation mode, under its current and its former name."""
