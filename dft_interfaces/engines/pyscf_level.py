"""The level of theory of PySCF: functional, dispersion and basis set, checked before any calculation."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pyscf import dft, gto
from pyscf.scf.dispersion import parse_dft, parse_disp

from dft_interfaces.errors import EngineSettingsError
from dft_interfaces.foreign import reading
from dft_interfaces.label import LevelOfTheory
from dft_interfaces.settings.pyscf import PySCFSettings

ENERGY_TOLERANCE_HARTREE = 1e-9

_SUFFIX = {"D3(BJ)": "d3bj", "D4": "d4"}
"""PySCF's spelling of a dispersion correction at the end of a functional's name."""

_OTHER_DEFINITIONS = {
    "wb97x-d4": "two parametrisations have this name, with ωB97X and with ωB97X-V: use dispersion D3(BJ), or xc wb97m",
}


@dataclass(frozen=True)
class Functional:
    """A functional in PySCF's terms.

    Attributes:
        xc: name in libxc's spelling.
        nlc: False omits the functional's own nonlocal correlation, "" keeps it.
        dispersion: version and, where it differs from ``xc``, name of the damping parameters; None for none.
        nonlocal_correlation: whether VV10 is part of the calculation.
    """

    xc: str
    nlc: Literal[False, ""]
    dispersion: str | None
    nonlocal_correlation: bool


def functional(settings: PySCFSettings) -> Functional:
    """Return the functional that the settings name.

    Functionals such as ωB97M-D3(BJ) are ωB97M-V with the dispersion in place of VV10: J. Chem. Theory Comput. 14,
    5725 (2018).

    Raises:
        EngineSettingsError: an unknown functional, dispersion twice, or one without damping parameters.
    """
    name = settings.xc.lower()
    _refuse_suffix(name)
    if not settings.dispersion:
        return Functional(name, "", None, _has_nonlocal_correlation(name))
    full_name = f"{name}-{_SUFFIX[settings.dispersion]}"
    if full_name in _OTHER_DEFINITIONS:
        raise _refused(settings, _OTHER_DEFINITIONS[full_name])
    xc, nlc, dispersion = parse_dft(full_name)
    _has_nonlocal_correlation(xc)
    if nlc is not False and _has_nonlocal_correlation(xc):
        bare = name.removesuffix("v").rstrip("-_")
        raise _refused(
            settings,
            f"{settings.xc} contains dispersion already, as nonlocal correlation (VV10): remove the key, or use the "
            f"functional without VV10, xc {bare}",
        )
    _check_damping(settings, full_name)
    return Functional(xc, nlc, dispersion, nonlocal_correlation=False)


def check_basis(basis: str) -> None:
    """Check that PySCF has a basis set.

    Raises:
        EngineSettingsError: it does not.
    """
    if any(covers(basis, element) for element in ("H", "C", "Si", "Cu", "Au")):
        return
    raise EngineSettingsError(
        f"received basis {basis!r}, expected a basis set that PySCF holds such as def2-svp, def2-tzvp or cc-pvdz"
    )


def covers(basis: str, symbol: str) -> bool:
    """Return whether a basis set has an element."""
    return bool(shells(basis, symbol))


def shells(basis: str, symbol: str) -> list[Any]:
    """Return the shells of an element, empty if the basis set lacks it."""
    try:
        with no_suggestions(), reading(EngineSettingsError):
            return list(gto.basis.load(basis, symbol))
    except EngineSettingsError:  # PySCF parses the name, which may be any text
        return []


def basis_functions(basis: str, symbol: str) -> int:
    """Return how many basis functions an element has, 0 if the basis set lacks it."""
    return sum((2 * shell[0] + 1) * (len(shell[-1]) - 1) for shell in shells(basis, symbol))


def core_potentials(basis: str, elements: set[str]) -> dict[str, Any]:
    """Return the basis set's own core potentials, without which def2 bases are silently wrong from Rb on."""
    with no_suggestions():
        loaded = {element: gto.basis.load_ecp(basis, element) for element in sorted(elements)}
    return {element: potential for element, potential in loaded.items() if potential}


@contextmanager
def no_suggestions() -> Iterator[None]:
    """Silence PySCF's suggestions to install further packages."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        yield


def level_of_theory(settings: PySCFSettings, solved: Functional) -> LevelOfTheory:
    """Return the level of theory of the settings."""
    xc, basis = settings.xc.lower(), settings.basis.lower()
    dispersion = "VV10" if solved.nonlocal_correlation else settings.dispersion
    correction = f"-{dispersion}" if solved.dispersion else ""
    fit = ", density fitting" if settings.density_fit else ""
    grids = {"grid_level": settings.grid_level}
    if solved.nonlocal_correlation:
        grids["nlc_grid_level"] = settings.nlc_grid_level
    checked = settings.spin_check_below_eV > 0
    return LevelOfTheory(
        code="pyscf",
        summary=f"{xc}{correction}/{basis}{fit}, grid level {settings.grid_level}",
        functional=xc,
        dispersion=dispersion,
        basis={"basis": basis, "density_fit": settings.density_fit, **grids},
        pseudopotentials={"core potentials": "of the basis"},
        spin="lowest stable solution" if checked else "restricted for singlets, unrestricted otherwise",
        more={
            "energy_tolerance_hartree": ENERGY_TOLERANCE_HARTREE,
            "spin_check_below_eV": settings.spin_check_below_eV,
            "multiplicities_tried": settings.multiplicities_tried if checked else 1,
        },
    )


def _refuse_suffix(name: str) -> None:
    for version in ("d3", "d4"):
        bare, suffix, _ = name.partition(f"-{version}")
        if suffix:
            raise EngineSettingsError(
                f"received xc {name!r}, expected the functional alone: write xc: {bare} and dispersion: "
                f"{'D3(BJ)' if version == 'd3' else 'D4'}"
            )


def _has_nonlocal_correlation(xc: str) -> bool:
    """Check that PySCF has a functional, and return whether it contains nonlocal correlation."""
    expected = (
        "expected a functional in PySCF's spelling such as pbe, r2scan, b3lyp or wb97m_v (wb97m is one only together "
        "with a dispersion)"
    )
    with reading(lambda why: EngineSettingsError(f"received xc {xc!r}, {expected}: {why}")):
        try:
            parse_dft(xc)  # handles functionals that libxc implements only in part
        except NotImplementedError as error:
            raise EngineSettingsError(
                f"received xc {xc!r}, whose dispersion PySCF does not have; expected a functional that is complete, "
                "such as wb97m_v, or xc wb97m with dispersion D3(BJ)"
            ) from error
        return bool(dft.libxc.is_nlc(xc))


def _check_damping(settings: PySCFSettings, full_name: str) -> None:
    from pyscf.dispersion import dftd3, dftd4

    method, _, _ = parse_disp(full_name)
    hydrogen = gto.M(atom="H 0 0 0; H 0 0 0.74", basis="sto-3g", verbose=0)
    try:
        if settings.dispersion == "D3(BJ)":
            dftd3.DFTD3Dispersion(hydrogen, xc=method, version="d3bj")
        else:
            dftd4.DFTD4Dispersion(hydrogen, xc=method)
    except RuntimeError as error:
        raise _refused(settings, f"it has no damping parameters for this functional ({error})") from error


def _refused(settings: PySCFSettings, why: str) -> EngineSettingsError:
    return EngineSettingsError(f"received dispersion {settings.dispersion} with xc {settings.xc}: {why}")
