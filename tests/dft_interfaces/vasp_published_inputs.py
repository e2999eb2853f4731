"""Writes VASP inputs with the packages that UMA's data sets were made with, for test_vasp_inputs.py to compare with.

Run as a program, with those packages on PYTHONPATH: fairchem-data-omat replaces a global of pymatgen when it is
imported, and atomate2 would bring a dozen packages that nothing here needs.

    python vasp_published_inputs.py STRUCTURES.extxyz FOLDER
"""

import json
import sys
import warnings
from pathlib import Path

import yaml
from ase import Atoms
from ase.io import read

warnings.simplefilter("ignore")


def omat(atoms: Atoms, folder: Path) -> None:
    from fairchem.data.omat.vasp.sets import OMat24StaticSet

    inputs = OMat24StaticSet(structure(atoms))
    inputs.incar.write_file(folder / "INCAR")
    inputs.kpoints.write_file(folder / "KPOINTS")
    inputs.poscar.write_file(folder / "POSCAR", significant_figures=16)
    names = dict(zip(inputs.poscar.site_symbols, inputs.potcar_symbols, strict=True))
    (folder / "potcars.json").write_text(json.dumps({"functional": inputs.potcar_functional, "names": names}))


def omc(atoms: Atoms, folder: Path) -> None:
    """As ``create_vasp_inputs.py`` of fairchem-data-omc does for type static."""
    import fairchem.data.omc
    from atomate2.vasp.sets.core import StaticSetGenerator

    incars = Path(next(iter(fairchem.data.omc.__path__))) / "scripts" / "incars"
    generator = StaticSetGenerator(
        user_incar_settings=yaml.safe_load((incars / "incar_static.yml").read_text()),
        user_potcar_functional="PBE_54_W_HASH",
        auto_kspacing=True,
    )
    inputs = generator.get_input_set(structure(atoms), potcar_spec=True)
    inputs.incar.write_file(folder / "INCAR")
    inputs.kpoints.write_file(folder / "KPOINTS")
    inputs.poscar.write_file(folder / "POSCAR", significant_figures=16)
    names = dict(zip(inputs.poscar.site_symbols, inputs.potcar, strict=True))
    (folder / "potcars.json").write_text(json.dumps({"functional": generator.potcar_functional, "names": names}))


def oc20(atoms: Atoms, folder: Path) -> None:
    from fairchem.data.oc.utils.vasp import write_vasp_input_files

    write_vasp_input_files(atoms, outdir=str(folder))


def odac(atoms: Atoms, folder: Path) -> None:
    from fairchem.data.odac.setup_vasp import setup_vasp_calc_mof

    setup_vasp_calc_mof(atoms, folder)


def structure(atoms: Atoms):
    from pymatgen.core.structure import Structure

    moments = {"magmom": atoms.get_initial_magnetic_moments().tolist()} if atoms.has("initial_magmoms") else {}
    return Structure(
        atoms.cell.array, list(atoms.symbols), atoms.positions, coords_are_cartesian=True, site_properties=moments
    )


def main(structures: str, output: str) -> None:
    for atoms in read(structures, index=":"):
        for write in (omat, omc, oc20, odac):
            folder = Path(output) / write.__name__ / atoms.info["name"]
            folder.mkdir(parents=True)
            write(atoms.copy(), folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
