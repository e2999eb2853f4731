"""The namelists of pw.x's input; ASE writes the file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Ry

from dft_interfaces.geometry.slab import Slab
from dft_interfaces.pseudopotentials.upf_files import UpfFile
from dft_interfaces.settings.espresso import EspressoRetryStrategy, EspressoSettings
from dft_interfaces.structure import CannotCalculateError

ENERGY_TOLERANCE_RY_PER_ATOM = 1e-9

MAX_SPECIES = 10
"""Limit of pw.x (``ntypx``); each different initial moment of an element is a separate species."""

MIN_SHARE = 0.01

JUMP_A = 1.0
"""Thickness of the layer in the vacuum in which the sawtooth potential of a dipole correction returns."""

Namelists = dict[str, dict[str, Any]]

_DISPERSION = {
    "D3(zero)": {"vdw_corr": "grimme-d3", "dftd3_version": 3, "dftd3_threebody": False},
    "D3(BJ)": {"vdw_corr": "grimme-d3", "dftd3_version": 4, "dftd3_threebody": False},
}


def with_moments_as_shares(atoms: Atoms, files: Mapping[str, UpfFile]) -> Atoms:
    """Return a copy whose initial moments are fractions of the valence electrons (-1 to 1), rounded to hundredths.

    pw.x expects such fractions. The rounding keeps nearly equal moments in one species, and the smallest ones away
    from zero, which would be a calculation without spin.

    Raises:
        CannotCalculateError: more species than pw.x supports.
    """
    valence = np.array([files[symbol].valence_electrons for symbol in atoms.symbols])
    moments = atoms.get_initial_magnetic_moments()
    rounded = np.round(moments / valence, 2)
    shares = np.clip(np.where(rounded == 0.0, MIN_SHARE * np.sign(moments), rounded), -1.0, 1.0)
    copy = atoms.copy()
    copy.set_initial_magnetic_moments(shares)
    if len(species(copy)) > MAX_SPECIES:
        raise CannotCalculateError(
            f"received {len(species(copy))} pairs of element and initial magnetic moment, expected at most "
            f"{MAX_SPECIES}: give atoms of one element equal moments, or a few different ones"
        )
    return copy


def species(atoms: Atoms) -> list[tuple[str, float]]:
    """Return the pairs of element and initial moment in the order in which ASE numbers them."""
    return list(dict.fromkeys(zip(atoms.symbols, atoms.get_initial_magnetic_moments().tolist(), strict=True)))


def namelists(settings: EspressoSettings, atoms: Atoms, strategy: EspressoRetryStrategy | None) -> Namelists:
    """Return the namelists' values for the final calculation.

    They are grouped by section: from a flat dictionary ASE 3.29 silently drops keys that the newest pw.x lacks, such
    as +U.
    """
    slab = settings.corrected_slab(atoms)
    return {
        "control": {
            "calculation": "scf",
            "tprnfor": True,
            "tstress": slab is None,
            "outdir": ".",
            "disk_io": "none",
            # pw.x has no stress with the correction and silently omits it.
            **({} if slab is None else {"tefield": True, "dipfield": True}),
        },
        "system": {
            "ecutwfc": settings.cutoff_eV / Ry,
            "ecutrho": settings.cutoff_eV / Ry * settings.density_cutoff_factor,
            "occupations": "smearing",
            "smearing": settings.smearing,
            "degauss": settings.smearing_eV / Ry,
            # Frames of a trajectory have no symmetry; nearly symmetric ones must not be rounded to it.
            "nosym": True,
            **_hubbard(settings, atoms),
            **_DISPERSION.get(settings.dispersion, {}),
            **({} if slab is None else _saw_tooth(atoms, slab)),
        },
        "electrons": {
            "conv_thr": ENERGY_TOLERANCE_RY_PER_ATOM * len(atoms),
            "electron_maxstep": settings.max_cycles,
            **_steps(strategy),
        },
    }


def first_pass(values: Namelists, smearing_eV: float) -> Namelists:
    """Return the values of a first calculation with a wider smearing, which writes its density."""
    return {
        "control": {**values["control"], "disk_io": "low", "tprnfor": False, "tstress": False},
        "system": {**values["system"], "degauss": smearing_eV / Ry},
        "electrons": {**values["electrons"], "scf_must_converge": False},
    }


def second_pass(values: Namelists) -> Namelists:
    """Return the values of the final calculation, started from the density of a first one."""
    return {**values, "electrons": {**values["electrons"], "startingpot": "file"}}


def _steps(strategy: EspressoRetryStrategy | None) -> dict[str, Any]:
    if strategy is None:
        return {}
    steps = {
        "electron_maxstep": strategy.max_cycles,
        "mixing_beta": strategy.mixing_beta,
        "mixing_mode": strategy.mixing_mode,
        "diagonalization": strategy.diagonalization,
    }
    return {key: value for key, value in steps.items() if value is not None}


def _saw_tooth(atoms: Atoms, slab: Slab) -> dict[str, Any]:
    """Return the sawtooth potential, which returns from ``emaxpos`` over ``eopreg`` in the middle of the vacuum."""
    share = JUMP_A * float(np.linalg.norm(atoms.cell.reciprocal()[slab.axis]))
    return {"edir": slab.axis + 1, "emaxpos": (slab.vacuum_middle - share / 2) % 1.0, "eopreg": share, "eamp": 0.0}


def _hubbard(settings: EspressoSettings, atoms: Atoms) -> dict[str, Any]:
    U_eV = {key.partition("-")[0]: value for key, value in settings.hubbard_U_eV.items()}
    numbered = {
        f"hubbard_u({number})": U_eV[element]
        for number, (element, _) in enumerate(species(atoms), start=1)
        if element in U_eV
    }
    return {"lda_plus_u": True, "lda_plus_u_kind": 0, "u_projection_type": "atomic", **numbered} if numbered else {}
