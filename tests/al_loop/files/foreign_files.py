"""Valid files of each format that is read, made by the writers of ASE and al-loop, and what damages them."""

import gzip
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import write

from al_loop.files import aselmdb, extxyz
from al_loop.files.labelled import read_labelled
from al_loop.files.structures import choose_frames, read_structures
from al_loop.files.trajectories import read_frames
from al_loop.frames.own_entries import OwnEntries
from al_loop.records import Frame
from al_loop.structures.ordering import ordered_cells
from dft_interfaces.label import Label, LabelStatus

MIXED_CIF = """data_mixed
_cell_length_a 3.6
_cell_length_b 3.6
_cell_length_c 3.6
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cu1 Cu 0 0 0 0.5
Ni1 Ni 0 0 0 0.5
Cu2 Cu 0.5 0.5 0 0.5
Ni2 Ni 0.5 0.5 0 0.5
"""


def labelled(count: int = 2) -> list[Atoms]:
    """Rattled cells of copper with energies and forces; the first atom is fixed."""
    frames = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.08, seed=seed)
        atoms.calc = EMT()
        atoms.get_potential_energy()
        atoms.get_forces(apply_constraint=False)
        frames.append(atoms)
    return frames


def records(frames: list[Atoms]) -> list[Frame]:
    made = []
    for atoms in frames:
        plain = atoms.copy()
        plain.info.update(charge=0, spin=1)
        plain.set_constraint(FixAtoms([0]))
        results = atoms.calc.results
        label = Label(LabelStatus.CONVERGED, "x", energy_eV=results["energy"], forces_eV_per_A=results["forces"])
        entries = OwnEntries({"note": "b c", "nested": [1, [2, None]]}, {"site": np.arange(4)})
        made.append(Frame("0", plain, label=label, provenance={"campaign": "c"}, entries=entries))
    return made


def _xyz(path: Path, frames: list[Atoms]) -> None:
    with path.open("w") as file:
        for record in records(frames):
            extxyz.write_frame(file, record)


def _gz(path: Path, frames: list[Atoms]) -> None:
    plain = path.with_name("plain")
    _xyz(plain, frames)
    path.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()


def _xdatcar(path: Path, frames: list[Atoms]) -> None:
    rows = "".join(
        f"Direct configuration= {index}\n" + "".join(f" {a:.8f} {b:.8f} {c:.8f}\n" for a, b, c in scaled)
        for index, scaled in enumerate((atoms.get_scaled_positions() for atoms in frames), 1)
    )
    path.write_text(f"Cu4\n 1.0\n 3.6 0 0\n 0 3.6 0\n 0 0 3.6\n Cu\n 4\n{rows}")


def _dump(path: Path, frames: list[Atoms]) -> None:
    lines: list[str] = []
    for step, atoms in enumerate(frames):
        lines += ["ITEM: TIMESTEP", str(step), "ITEM: NUMBER OF ATOMS", "4", "ITEM: BOX BOUNDS pp pp pp"]
        lines += ["0.0 3.6"] * 3 + ["ITEM: ATOMS id type element x y z"]
        lines += [f"{i + 1} 1 Cu {x:.8f} {y:.8f} {z:.8f}" for i, (x, y, z) in enumerate(atoms.positions)]
    path.write_text("\n".join(lines) + "\n")


def _by_ase(file_format: str, **options: Any) -> Callable[[Path, list[Atoms]], None]:
    def made(path: Path, frames: list[Atoms]) -> None:
        plain = frames[0].copy()
        plain.pbc = file_format != "gaussian-in"
        write(path, plain, format=file_format, **options)

    return made


def _all(path: Path, frames: list[Atoms]) -> None:
    write(path, frames)


def _rows(path: Path, frames: list[Atoms]) -> None:
    aselmdb.write_rows(path, records(frames))


def _labels(path: Path) -> None:
    read_labelled(path)


def _starts(path: Path) -> None:
    choose_frames(path, "::1")


def _trajectory(path: Path) -> None:
    list(read_frames(path))


FILES: dict[str, tuple[Callable[[Path, list[Atoms]], None], tuple[Callable[[Path], object], ...]]] = {
    "own.extxyz": (_xyz, (_labels, _starts, read_structures, _trajectory)),
    "own.extxyz.gz": (_gz, (_starts, read_structures, _trajectory)),
    "own.aselmdb": (_rows, (_labels,)),
    "ase.db": (_all, (_labels, _starts, read_structures, _trajectory)),
    "ase.json": (_all, (_labels, _starts, read_structures)),
    "ase.traj": (_all, (_labels, _starts, read_structures, _trajectory)),
    "plain.xyz": (_by_ase("xyz"), (_starts, read_structures, _trajectory)),
    "crystal.cif": (
        _by_ase("cif"),
        (
            _starts,
            read_structures,
        ),
    ),
    "mixed.cif": (
        lambda path, _: path.write_text(MIXED_CIF) and None,
        (lambda path: ordered_cells(path, (2, 1, 1), 1),),
    ),
    "POSCAR": (
        _by_ase("vasp"),
        (
            _starts,
            read_structures,
        ),
    ),
    "protein.pdb": (_by_ase("proteindatabank"), (_starts, read_structures, _trajectory)),
    "water.gro": (_by_ase("gromacs"), (_starts, read_structures, _trajectory)),
    "geometry.in": (
        _by_ase("aims"),
        (
            _starts,
            read_structures,
        ),
    ),
    "molecule.com": (
        _by_ase("gaussian-in"),
        (
            _starts,
            read_structures,
        ),
    ),
    "pw.pwi": (
        _by_ase("espresso-in", pseudopotentials={"Cu": "Cu.upf"}),
        (
            _starts,
            read_structures,
        ),
    ),
    "XDATCAR": (_xdatcar, (_trajectory,)),
    "melt.lammpstrj": (_dump, (_trajectory,)),
}
"""Name -> what writes it, and what reads it."""

NUMBERS = [
    b"nan",
    b"inf",
    b"1e400",
    b"1" + b"0" * 40,
    b"-1",
    b"abc",
    b"9" * 5000,
    b"0",
    b"1e30",
    b"-9223372036854775809",
]
NUMBERS += [b"1.5", b"", b"\xff\xfe", b"\0", b"[[[[", b'"', b"10000000000000000000"]
WORDS = [b"", b"xx", b"\xff", b"null", b"X", b"_JSON", b"1"]


def damaged(data: bytes, rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield damages of a file: cut off, bytes flipped, numbers and words replaced, in another encoding, repeated."""
    for part in range(20):
        yield f"cut to {part}/20", data[: len(data) * part // 20]
    numbers = [match.span() for match in re.finditer(rb"-?\d+\.?\d*(?:[eE][-+]?\d+)?", data)]
    words = [match.span() for match in re.finditer(rb"[A-Za-z_]\w*", data)]
    for _ in range(count):
        flipped = bytearray(data)
        for _ in range(rng.choice([1, 1, 3, 20])):
            flipped[rng.randrange(len(data))] = rng.randrange(256)
        yield "flipped", bytes(flipped)
        for places, values in ((numbers, NUMBERS), (words, WORDS)):
            begin, end = rng.choice(places)
            value = rng.choice(values)
            yield f"{value[:20]!r} at {begin}", data[:begin] + value + data[end:]
    yield "UTF-16", data.decode("latin-1").encode("utf-16")
    yield "marked as UTF-8", b"\xef\xbb\xbf" + data
    yield "followed by zeros", data + b"\0" * 100
    yield "joined to itself", data + data
