"""Outputs of DFT codes as the codes write them, with the energies and forces of ASE's effective-medium theory.

Layouts follow real files: VASP 5.4 and 6.4, CP2K 7.1 and 2025.2, ORCA 5, FHI-aims 2023 and GPAW 22. Of what stands
between the blocks that are read a part is kept, so that nothing is found by chance.
"""
# ruff: noqa: E501 - the lines of other programs

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import Bohr, GPa, Hartree

LINE = " " + "-" * 104


@dataclass
class Calculated:
    """A structure with its numbers."""

    atoms: Atoms
    energy_eV: float
    forces: np.ndarray
    stress: np.ndarray


def calculated(count: int, seed: int = 0, fourth: str = "Au") -> list[Calculated]:
    """Rattled cells of copper with one atom of gold; digits as a code prints them."""
    found = []
    for index in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols[3] = fourth
        atoms.rattle(0.08, seed=seed + index)
        atoms.positions = atoms.positions.round(5)
        atoms.calc = EMT()
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
        atoms.calc = None
        found.append(Calculated(atoms, round(energy, 8), forces.round(6), stress))
    return found


# VASP ---------------------------------------------------------------------------------------------------------------


def outcar(steps: Sequence[Calculated], converged: Sequence[bool], *, version: int = 6, **options: object) -> str:
    """An OUTCAR; options: ``vdw`` (energies and forces without it stand beside), ``no_forces`` (of these steps)."""
    atoms = steps[0].atoms
    symbols = list(dict.fromkeys(atoms.symbols))
    counts = "".join(f"{list(atoms.symbols).count(symbol):4d}" for symbol in symbols)
    header = f" vasp.{'6.4.2 20Jul23' if version == 6 else '5.4.4.18Apr17-6-g9f103f2a35'} (build) complex\n INCAR:\n"
    header += "".join(f" POTCAR:    PAW_PBE {symbol} 22Jun2005\n" for symbol in [*symbols, *symbols])
    header += "".join(f"   VRHFIN ={symbol}: d10 p1\n   TITEL  = PAW_PBE {symbol} 22Jun2005\n" for symbol in symbols)
    header += f"   ions per type =            {counts}\n   NWRITE =      2    write-flag & timer\n"
    header += "   NELM   =      8;   NELMIN=  2; NELMDL= -5     # of ELM steps\n   EDIFF  = 0.1E-04   stopping-criterion for ELM\n"
    header += f" energy-cutoff  :      400.00\n{_lattice(atoms)}"
    return header + "".join(
        outcar_step(index + 1, step, good, version=version, **options)
        for index, (step, good) in enumerate(zip(steps, converged, strict=True))
    )


def outcar_step(number: int, step: Calculated, converged: bool, *, version: int = 6, **options: object) -> str:
    """One ionic step that was calculated."""
    electronic = 4 if converged else 8
    text = "".join(
        f"\n--------------------------------------- Iteration {number:6d}({index:4d})  ---------------------------------------\n"
        f" total energy-change (2. order) :-0.1E-0{index}  (-0.1E-02)\n Free energy of the ion-electron system (eV)\n"
        f"  free energy    TOTEN  =      {step.energy_eV + 0.5 / index:14.8f} eV\n"
        for index in range(1, electronic + 1)
    )
    if converged:
        text += (
            "------------------------ aborting loop because EDIFF is reached ----------------------------------------\n"
        )
    elif version == 6:
        text += (
            "------------------------ aborting loop EDIFF was not reached (unconverged)  ----------------------------\n"
        )
    kilobar = -10 / GPa * step.stress
    text += "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n  Direction    XX          YY          ZZ\n"
    text += "  in kB  " + "".join(f"{kilobar[i, j]:12.5f}" for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)))
    text += f"\n  external pressure =        0.00 kB  Pullay stress =        0.00 kB\n\n VOLUME and BASIS-vectors are now :\n{_lattice(step.atoms)}"
    if number not in options.get("no_forces", ()):
        text += _force_table(step, vdw=bool(options.get("vdw")))
    beside = f" eV    w/o vdW = {step.energy_eV + 3:19.8f}" if options.get("vdw") else ""
    return text + (
        f"\n\n{LINE}\n\n\n\n  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  ---------------------------------------------------\n"
        f"  free  energy   TOTEN  = {step.energy_eV:19.8f}{beside or ' eV'}\n\n"
        f"  energy  without entropy= {step.energy_eV + 0.02:18.8f}{beside}  energy(sigma->0) = {step.energy_eV + 0.01:18.8f}\n \n\n\n{LINE}\n"
        "    POTLOK:  cpu time      0.0080: real time      0.0047\n"
    )


def outcar_learned_step(step: Calculated) -> str:
    """A step that VASP's force field predicted, as its module ``ml_interface_writer`` writes it."""
    return (
        "\n  ML FORCE on cell =-STRESS in cart. coord. units (eV/cell)\n  Direction    XX          YY          ZZ          XY          YZ          ZX\n"
        "  Total:      0.00000     0.00000     0.00000     0.00000     0.00000     0.00000\n"
        "  in kB       0.00000     0.00000     0.00000     0.00000     0.00000     0.00000\n"
        f"{_lattice(step.atoms)}{_force_table(step).replace('(eV/Angst)', '(eV/Angst) (ML)')}\n{LINE}\n\n\n"
        "  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  ---------------------------------------------------\n"
        f"  free  energy ML TOTEN  = {step.energy_eV:18.8f} eV\n\n"
        f"  ML energy  without entropy={step.energy_eV:18.8f}  ML energy(sigma->0) ={step.energy_eV:18.8f}\n\n"
        "  enthalpy is ML TOTEN    =         0.62415064 eV   P V=        0.62415064\n"
    )


def _lattice(atoms: Atoms) -> str:
    reciprocal = atoms.cell.reciprocal().array
    rows = zip(atoms.cell.array, reciprocal, strict=True)
    lines = "".join(
        "   " + "".join(f"{x:13.9f}" for x in a) + "   " + "".join(f"{x:13.9f}" for x in b) + "\n" for a, b in rows
    )
    return f"      direct lattice vectors                 reciprocal lattice vectors\n{lines}\n"


def _force_table(step: Calculated, *, vdw: bool = False) -> str:
    title = ",                                   FORCE-w/o vdW (eV/Angst)" if vdw else ""
    rows = ""
    for position, force in zip(step.atoms.positions, step.forces, strict=True):
        rows += "".join(f"{x:13.5f}" for x in position) + "   " + "".join(f"{x:14.6f}" for x in force)
        rows += ("   " + "           NaN" * 3 if vdw else "") + "\n"
    return f" POSITION                                       TOTAL-FORCE (eV/Angst){title}\n{LINE}\n{rows}{LINE}\n    total drift:                                0.000000      0.000000      0.000000\n"


def vasprun(
    steps: Sequence[Calculated], electronic: Sequence[int], *, learned: Sequence[int] = (), nelm: int = 8
) -> str:
    """A vasprun.xml; steps in ``learned`` (from 1) were predicted and have no electronic steps."""
    atoms = steps[0].atoms
    rows = "".join(f"    <rc><c>{symbol} </c><c>   1</c></rc>\n" for symbol in atoms.symbols)
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n  <i name="version" type="string">6.4.2  </i>\n </generator>\n'
        f' <incar>\n  <i type="logical" name="ML_LMLFF"> {"T" if learned else "F"}  </i>\n </incar>\n'
        f' <parameters>\n  <separator name="electronic" >\n   <i type="int" name="NELM"> {nelm}</i>\n   <i name="EDIFF">      0.00001000</i>\n  </separator>\n </parameters>\n'
        f' <atominfo>\n  <atoms>       {len(atoms)} </atoms>\n  <array name="atoms" >\n   <dimension dim="1">ion</dimension>\n   <set>\n{rows}   </set>\n  </array>\n </atominfo>\n'
    )
    text += _structure(atoms, ' name="initialpos"')
    for number, (step, count) in enumerate(zip(steps, electronic, strict=True), 1):
        energies = "".join(
            f'    <i name="{name}"> {step.energy_eV + shift:16.8f} </i>\n'
            for name, shift in (("e_fr_energy", 0.0), ("e_wo_entrp", 0.02), ("e_0_energy", 0.01))
        )
        loop = f"  <scstep>\n   <energy>\n{energies}   </energy>\n  </scstep>\n" * count
        body = _structure(step.atoms) + _varray("forces", step.forces) + _varray("stress", -10 / GPa * step.stress)
        if number in learned:
            text += f'{body}  <energy>\n    <i name="kinetic">      0.1 </i>\n  </energy>\n'
        else:
            text += f" <calculation>\n{loop}{body}  <energy>\n{energies}  </energy>\n </calculation>\n"
    return text + _structure(steps[-1].atoms, ' name="finalpos"') + "</modeling>\n"


def _varray(name: str, rows: np.ndarray) -> str:
    lines = "".join(f"   <v> {x:16.8f} {y:16.8f} {z:16.8f} </v>\n" for x, y, z in rows)
    return f'  <varray name="{name}" >\n{lines}  </varray>\n'


def _structure(atoms: Atoms, named: str = "") -> str:
    crystal = _varray("basis", atoms.cell.array) + f'  <i name="volume"> {atoms.cell.volume:.8f} </i>\n'
    positions = "".join(
        "   <v> " + " ".join(f"{x:.12f}" for x in row) + " </v>\n" for row in atoms.get_scaled_positions(wrap=False)
    )
    return f' <structure{named} >\n <crystal>\n{crystal} </crystal>\n  <varray name="positions" >\n{positions}  </varray>\n </structure>\n'


# CP2K ---------------------------------------------------------------------------------------------------------------


def cp2k(
    steps: Sequence[Calculated], converged: Sequence[bool], *, version: int = 2025, run: str = "ENERGY_FORCE"
) -> str:
    """An output; ``MD`` has coordinates of the first step only, which is how CP2K writes it."""
    return cp2k_header(steps[0].atoms, run) + "".join(
        cp2k_energy(step, good, version=version, coordinates=run != "MD" or index == 0)
        for index, (step, good) in enumerate(zip(steps, converged, strict=True))
    )


def cp2k_header(atoms: Atoms, run: str) -> str:
    lengths = atoms.cell.lengths()
    vectors = "".join(
        f" CELL| Vector {name} [angstrom]:  {a:10.3f}{b:10.3f}{c:10.3f}   |{name}| = {length:12.6f}\n"
        for name, (a, b, c), length in zip("abc", atoms.cell.array, lengths, strict=True)
    )
    return (
        " DBCSR| CPU Multiplication driver                                           XSMM\n"
        " CP2K| version string:                                       CP2K version 2025.2\n"
        f" GLOBAL| Project name                                                     copper\n GLOBAL| Run type                                                   {run}\n\n"
        f" CELL_TOP| Volume [angstrom^3]:                                         {atoms.cell.volume:10.6f}\n{vectors}"
        " CELL| Periodicity                                                           XYZ\n"
        " DFT| Multiplicity                                                             2\n DFT| Charge                                                                   1\n"
    )


def cp2k_energy(step: Calculated, converged: bool, *, version: int, coordinates: bool) -> str:
    """What stands in an output for one energy."""
    text = ""
    if coordinates:
        text += "\n MODULE QUICKSTEP:  ATOMIC COORDINATES IN angstrom\n\n  Atom  Kind  Element       X           Y           Z          Z(eff)       Mass\n\n"
        text += "".join(
            f"{index:8d}{1:6d} {symbol:<3s}{number:4d}{x:12.6f}{y:12.6f}{z:12.6f}{11.0:12.4f}{63.5:13.4f}\n"
            for index, (symbol, number, (x, y, z)) in enumerate(
                zip(step.atoms.symbols, step.atoms.numbers, step.atoms.positions, strict=True), 1
            )
        )
        text += "\n\n\n\n SCF PARAMETERS         Density guess:                                    ATOMIC\n"
    text += "\n     1 P_Mix/Diag. 0.40E+00    0.4     1.10090760       -32.3804557631 -3.24E+01\n\n"
    text += (
        "  *** SCF run converged in    12 steps ***\n\n"
        if converged
        else "  Leaving inner SCF loop after reaching     1 steps.\n\n *** WARNING in qs_scf.F:598 :: SCF run NOT converged ***\n\n"
    )
    energy = step.energy_eV / Hartree
    rows = step.forces / Hartree * Bohr
    tensor = -step.stress / GPa
    if version >= 2025:
        text += f"\n ENERGY| Total FORCE_EVAL ( QS ) energy [hartree]       {energy:22.15f}\n\n FORCES| Atomic forces [hartree/bohr]\n FORCES|   Atom     x               y               z               |f|\n"
        text += "".join(
            f" FORCES|{i:7d}{x:16.8E}{y:16.8E}{z:16.8E}{0.1:16.8E}\n" for i, (x, y, z) in enumerate(rows, 1)
        )
        text += " FORCES| Sum     0.0 0.0 0.0\n\n STRESS| Analytical stress tensor [bar]\n STRESS|                        x                   y                   z\n"
        return (
            text
            + "".join(
                f" STRESS|      {axis}{a * 1e4:20.11E}{b * 1e4:20.11E}{c * 1e4:20.11E}\n"
                for axis, (a, b, c) in zip("xyz", tensor, strict=True)
            )
            + "\n"
        )
    text += f"\n ENERGY| Total FORCE_EVAL ( QS ) energy (a.u.):     {energy:22.15f}\n\n ATOMIC FORCES in [a.u.]\n\n # Atom   Kind   Element          X              Y              Z\n"
    text += "".join(f"{i:7d}{1:7d}      Cu  {x:15.8f}{y:15.8f}{z:15.8f}\n" for i, (x, y, z) in enumerate(rows, 1))
    text += " SUM OF ATOMIC FORCES           0.00020675     0.00297920    -0.00161525     0.00339521\n\n STRESS TENSOR [GPa]\n\n            X               Y               Z\n"
    return (
        text
        + "".join(f"  {axis}  {a:15.8f}{b:16.8f}{c:16.8f}\n" for axis, (a, b, c) in zip("XYZ", tensor, strict=True))
        + "\n"
    )


def cp2k_trajectory(steps: Sequence[Calculated], rows: Sequence[np.ndarray]) -> str:
    """``-pos-1.xyz`` or ``-frc-1.xyz``."""
    text = ""
    for index, (step, numbers) in enumerate(zip(steps, rows, strict=True)):
        text += f"{len(step.atoms):8d}\n i = {index:8d}, time = {0.5 * index:12.3f}, E = {step.energy_eV / Hartree:20.10f}\n"
        text += "".join(
            f" {symbol:>2s} {x:19.10f}{y:20.10f}{z:20.10f}\n"
            for symbol, (x, y, z) in zip(step.atoms.symbols, numbers, strict=True)
        )
    return text


# ORCA, FHI-aims, GPAW -----------------------------------------------------------------------------------------------


def orca(steps: Sequence[Calculated], converged: Sequence[bool]) -> str:
    """An optimisation."""
    text = "                                 *****************\n                                 * O   R   C   A *\n                                 *****************\n"
    for number, (step, good) in enumerate(zip(steps, converged, strict=True), 1):
        text += f"\n         *                GEOMETRY OPTIMIZATION CYCLE   {number}            *\n\n---------------------------------\nCARTESIAN COORDINATES (ANGSTROEM)\n---------------------------------\n"
        text += "".join(
            f"  {s:<3s}{x:12.6f}{y:14.6f}{z:14.6f}\n"
            for s, (x, y, z) in zip(step.atoms.symbols, step.atoms.positions, strict=True)
        )
        text += f"\n Total Charge           Charge          ....   -1\n Multiplicity           Mult            ....    2\nNumber of atoms                             ...      {len(step.atoms)}\n"
        text += (
            "               *        SCF CONVERGED AFTER  12 CYCLES         *\n"
            if good
            else "               *        SCF NOT CONVERGED AFTER 125 CYCLES         *\n"
        )
        note = "" if good else " (Wavefunction not fully converged!)"
        text += f"\n-------------------------   --------------------\nFINAL SINGLE POINT ENERGY{note}   {step.energy_eV / Hartree:20.12f}\n-------------------------   --------------------\n"
        text += "\n------------------\nCARTESIAN GRADIENT\n------------------\n\n"
        gradient = -step.forces / Hartree * Bohr
        text += "".join(
            f"{i:4d}   {s:<2s}  :{x:15.9f}{y:15.9f}{z:15.9f}\n"
            for i, (s, (x, y, z)) in enumerate(zip(step.atoms.symbols, gradient, strict=True), 1)
        )
        text += "\nNorm of the cartesian gradient     ...    0.0775884810\n                         ORCA GEOMETRY RELAXATION STEP\nNumber of atoms                         ....   4\n"
    return text + "\n                             ****ORCA TERMINATED NORMALLY****\n"


def aims(steps: Sequence[Calculated], converged: Sequence[bool], *, constraint: bool = False) -> str:
    """A molecular dynamics run."""
    first = steps[0].atoms
    text = "          Invoking FHI-aims ...\n\n  | Number of atoms                   :        4\n  | Number of spin channels           :        1\n"
    text += "  Found relaxation constraint for atom      1: All coordinates fixed.\n" if constraint else ""
    text += "  | Unit cell:\n" + "".join(
        "  |  " + "".join(f"{x:16.8f}" for x in row) + "\n" for row in first.cell.array
    )
    text += "  | Atomic structure:\n  |       Atom                x [A]            y [A]            z [A]\n"
    text += "".join(
        f"  |{i:5d}: Species {s:<2s}  {x:16.8f}{y:17.8f}{z:17.8f}\n"
        for i, (s, (x, y, z)) in enumerate(zip(first.symbols, first.positions, strict=True), 1)
    )
    text += "  Complete information for previous time-step:\n"
    for number, (step, good) in enumerate(zip(steps, converged, strict=True), 1):
        text += f"          Begin self-consistency loop: {'Initialization' if number == 1 else 'Re-initialization'}.\n  Begin self-consistency iteration #    1\n"
        text += "\n  Date     :  20211124, Time     :  192335.033\n------------------------------------------------------------\n"
        text += "Convergence:    q app. |  density  | eigen (eV) | Etot (eV) | forces (eV/A) |       CPU time |     Clock time\n"
        text += "  SCF    1 : -0.65E-14 |  0.16E+00 |  -0.11E+04 | -0.21E+04 |             . |        0.037 s |        0.037 s\n"
        text += "  Self-consistency cycle converged.\n" if good else "  Self-consistency cycle not converged.\n"
        text += f"  Energy and forces in a compact form:\n  | Total energy uncorrected      : {step.energy_eV + 0.02:29.15E} eV\n  | Total energy corrected        : {step.energy_eV + 0.01:29.15E} eV\n  | Electronic free energy        : {step.energy_eV:29.15E} eV\n"
        text += "  Total atomic forces (unitary forces cleaned) [eV/Ang]:\n"
        text += "".join(
            f"  |{i:5d}" + "".join(f"{x:31.15E}" for x in row) + "\n" for i, row in enumerate(step.forces, 1)
        )
        text += "  Atomic structure (and velocities) as used in the preceding time step:\n"
        text += "".join(
            "  lattice_vector   " + "".join(f"{x:16.8f}" for x in row) + "\n" for row in step.atoms.cell.array
        )
        text += "".join(
            "            atom   " + "".join(f"{x:16.8f}" for x in row) + f"  {s}\n"
            for s, row in zip(step.atoms.symbols, step.atoms.positions, strict=True)
        )
    return text + "          Have a nice day.\n"


def gpaw(steps: Sequence[Calculated], converged: Sequence[bool]) -> str:
    """The text of a version before 26."""
    text = "\n  ___ ___ ___ _ _ _  \n |   |   |_  | | | | \n | | | | | . | | | | \n |__ |  _|___|_____|  22.8.0\n |___|_|             \n\nTotal Charge: 0.000000\n"
    for step, good in zip(steps, converged, strict=True):
        text += "Positions:\n" + "".join(
            f"{i:4d} {s:<2s} {x:13.6f}{y:13.6f}{z:13.6f}    ( 0.0000,  0.0000,  0.5000)\n"
            for i, (s, (x, y, z)) in enumerate(zip(step.atoms.symbols, step.atoms.positions, strict=True))
        )
        text += "\nUnit cell:\n           periodic     x           y           z      points  spacing\n"
        text += "".join(
            f"{i}. axis:    yes " + "".join(f"{x:12.6f}" for x in row) + "    20     0.1805\n"
            for i, row in enumerate(step.atoms.cell.array, 1)
        )
        text += "\n  Lengths:   3.61   3.61   3.61\n\niter:   1  12:00:00    -4.1 -1.2\n"
        text += "\nConverged after 12 iterations.\n" if good else "\nDid not converge!\n"
        text += f"\nEnergy contributions relative to reference atoms: (reference = -123.456)\n\nKinetic:         +10.000000\n--------------------------\nFree energy:   {step.energy_eV:+11.6f}\nExtrapolated:  {step.energy_eV + 0.01:+11.6f}\n\n"
        text += "Forces in eV/Ang:\n" + "".join(
            f"{i:3d} {s:<2s}" + "".join(f"{x:11.5f}" for x in row) + "\n"
            for i, (s, row) in enumerate(zip(step.atoms.symbols, step.forces, strict=True))
        )
        text += (
            "\nStress tensor:\n"
            + "".join("  " + "".join(f"{x:12.6f}" for x in row) + "\n" for row in step.stress)
            + "\n"
        )
    return text
