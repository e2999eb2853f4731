"""Stand-in for the licensed program: reads VASP's inputs in its folder and leaves files in VASP's format.

Energies, forces and stress are those of ASE's effective-medium theory, written in VASP's units, signs and orders, so
that what is read back can be checked against finite differences. A JSON file sets how a run fails.

    python vasp_stand_in.py PLAN.json

Keys of the plan, all optional: ``runs`` (folder that gets a copy of each run's inputs), ``outputs`` (folder that gets
a copy of everything), ``log`` (lines on standard output), ``exit`` (exit code), ``steps`` (electronic steps; NELM of
them do not converge), ``outcar`` (false: leave none), ``keep`` (fraction of vasprun.xml that is written, 0 for no
file), ``nan`` (energy is not a number), ``eV_per_moment`` (added to the energy for each µB that the initial moments
have in all).
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from ase.calculators.emt import EMT
from ase.io import read
from ase.units import GPa

INPUTS = ("INCAR", "KPOINTS", "POSCAR", "POTCAR")


def main(plan_file: str) -> int:
    plan = json.loads(Path(plan_file).read_text())
    if "runs" in plan:
        keep_inputs(Path(plan["runs"]))
    incar = dict(line.split(" = ", 1) for line in Path("INCAR").read_text().splitlines() if " = " in line)
    nelm = int(incar.get("NELM", 60))
    steps = nelm if plan.get("steps") == "NELM" else int(plan.get("steps", 12))
    atoms = read("POSCAR")
    atoms.calc = EMT()
    shift_eV = plan.get("eV_per_moment", 0.0) * total_moment(incar.get("MAGMOM", ""))
    xml = vasprun(atoms, incar, nelm, steps, "NaN" if plan.get("nan") else atoms.get_potential_energy() + shift_eV)
    kept = xml[: int(len(xml) * plan.get("keep", 1.0))]
    if kept:
        Path("vasprun.xml").write_text(kept)
    if plan.get("outcar", True):
        Path("OUTCAR").write_text(outcar(len(atoms), polarised=int(incar.get("ISPIN", 1)) == 2, converged=steps < nelm))
    Path("WAVECAR").write_text("orbitals\n")
    if "outputs" in plan:
        shutil.copytree(".", plan["outputs"], dirs_exist_ok=True)
    sys.stdout.write(" running on    1 total cores\n" + plan.get("log", "   1 F= 0 E0= 0  d E =0") + "\n")
    return int(plan.get("exit", 0))


def keep_inputs(runs: Path) -> None:
    folder = runs / str(len(list(runs.iterdir())))
    folder.mkdir()
    for name in INPUTS:
        shutil.copy(name, folder)
    if Path("WAVECAR").is_file():
        shutil.copy("WAVECAR", folder)


def vectors(name: str, rows: np.ndarray) -> str:
    lines = "".join(f"   <v> {x:.16f} {y:.16f} {z:.16f} </v>\n" for x, y, z in rows)
    return f'  <varray name="{name}" >\n{lines}  </varray>\n'


def total_moment(magmom: str) -> float:
    """Size of the sum of MAGMOM, whose repeats are written as 2*0.6."""
    moments = [entry.rpartition("*") for entry in magmom.split()]
    return abs(sum(float(count or 1) * float(moment) for count, _, moment in moments))


def energies(energy_eV: float | str) -> str:
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    # Smearing: energies other than the free energy are off by a little.
    shifts = (0.0, 0.02, 0.01)
    values = [energy_eV if isinstance(energy_eV, str) else f"{energy_eV + shift:.8f}" for shift in shifts]
    return "".join(f'   <i name="{name}"> {value} </i>\n' for name, value in zip(names, values, strict=True))


def structure(atoms, name: str = "") -> str:
    named = f' name="{name}"' if name else ""
    reciprocal = atoms.cell.reciprocal().array
    volume = f'  <i name="volume"> {atoms.cell.volume:.8f} </i>\n'
    crystal = vectors("basis", atoms.cell.array) + volume + vectors("rec_basis", reciprocal)
    positions = vectors("positions", atoms.get_scaled_positions())
    return f" <structure{named} >\n <crystal>\n{crystal} </crystal>\n{positions} </structure>\n"


def vasprun(atoms, incar: dict[str, str], nelm: int, steps: int, energy: float | str) -> str:
    forces = atoms.get_forces()
    stress_kbar = -10.0 / GPa * atoms.get_stress(voigt=False)
    tags = "".join(f'  <i type="string" name="{key}">{value}</i>\n' for key, value in incar.items() if key == "ALGO")
    spin = int(incar.get("ISPIN", 1))
    rows = "".join(f"    <rc><c>{symbol} </c><c>   1</c></rc>\n" for symbol in atoms.symbols)
    kinds = "".join(
        f"    <rc><c>   1</c><c>{symbol} </c><c>  1.0</c><c>  6.0</c><c>  PAW_PBE {symbol} 01Jan2001 </c></rc>\n"
        for symbol in dict.fromkeys(atoms.symbols)
    )
    scstep = f"  <scstep>\n   <energy>\n{energies(energy)}   </energy>\n  </scstep>\n"
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">6.4.2  </i>
  <i name="subversion" type="string">stand-in </i>
 </generator>
 <incar>
{tags} </incar>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions">       1        1        1 </v>
   <v name="usershift">      0.00000000       0.00000000       0.00000000 </v>
   <v name="genvec1">      1.00000000       0.00000000       0.00000000 </v>
   <v name="genvec2">      0.00000000       1.00000000       0.00000000 </v>
   <v name="genvec3">      0.00000000       0.00000000       1.00000000 </v>
   <v name="shift">      0.00000000       0.00000000       0.00000000 </v>
  </generation>
{vectors("kpointlist", np.zeros((1, 3)))}  <varray name="weights" >
   <v>       1.00000000 </v>
  </varray>
 </kpoints>
 <parameters>
  <separator name="electronic" >
   <i type="int" name="NELM"> {nelm} </i>
   <separator name="electronic spin" >
    <i type="int" name="ISPIN"> {spin} </i>
   </separator>
  </separator>
  <separator name="ionic" >
   <i type="int" name="NSW"> 0 </i>
   <i type="int" name="IBRION"> -1 </i>
  </separator>
 </parameters>
 <atominfo>
  <atoms> {len(atoms)} </atoms>
  <types> {len(set(atoms.symbols))} </types>
  <array name="atoms" >
   <dimension dim="1">ion</dimension>
   <field type="string">element</field>
   <field type="int">atomtype</field>
   <set>
{rows}   </set>
  </array>
  <array name="atomtypes" >
   <dimension dim="1">type</dimension>
   <field type="int">atomspertype</field>
   <field type="string">element</field>
   <field>mass</field>
   <field>valence</field>
   <field type="string">pseudopotential</field>
   <set>
{kinds}   </set>
  </array>
 </atominfo>
{structure(atoms, "initialpos")} <calculation>
{scstep * steps}{structure(atoms)}{vectors("forces", forces)}{vectors("stress", stress_kbar)}  <energy>
{energies(energy)}  </energy>
 </calculation>
{structure(atoms, "finalpos")}</modeling>
"""


def outcar(count: int, polarised: bool, converged: bool) -> str:
    reason = "because EDIFF is reached" if converged else "EDIFF was not reached (unconverged)"
    moments = [0.5 * (atom + 1) for atom in range(count)]
    rows = "".join(f"{atom + 1:5d}        0.000   0.000  {m:6.3f}  {m:6.3f}\n" for atom, m in enumerate(moments))
    block = f"""
 magnetization (x)

# of ion       s       p       d       tot
------------------------------------------
{rows}--------------------------------------------------
tot          0.000   0.000  {sum(moments):6.3f}  {sum(moments):6.3f}

"""
    return f""" vasp.6.4.2 (stand-in)
 executed on             LinuxGNU date 2024.01.01  00:00:00
   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      8
   total plane-waves  NPLWV =  13824
------------------------ aborting loop {reason} ----------------------------------------
{block if polarised else ""}
 General timing and accounting informations for this job:
 ========================================================
"""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
