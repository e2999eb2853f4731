"""A user's own labelled frames, read from a file that ASE opens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from al_loop.errors import InputError
from dft_interfaces.bounds import label_excess, structure_excess

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelKeys:
    """Under which names the labels stand in ``atoms.info`` and ``atoms.arrays``, or else in the calculator's results.

    Attributes:
        energy: total energy, eV.
        forces: (n, 3) eV/Å.
        stress: eV/Å³, six numbers in ASE's order (xx, yy, zz, yz, xz, xy) or nine.
    """

    energy: str = "REF_energy"
    forces: str = "REF_forces"
    stress: str = "REF_stress"


@dataclass(frozen=True)
class LabelledAtoms:
    """One frame of n atoms.

    Attributes:
        atoms: the structure, without calculator.
        energy_eV: NaN if there is none.
        forces_eV_per_A: (n, 3), NaN if there are none.
        stress_eV_per_A3: (6,), NaN if there is none.
        where: file and number of the frame in it, for messages.
    """

    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: Array
    stress_eV_per_A3: Array
    where: str = ""


@dataclass(frozen=True)
class LabelledFrames:
    """What labelled files hold.

    Attributes:
        frames: with their labels, some of which may lack; never an isolated atom.
        isolated_atoms: frames of one atom, whose energies are those of the elements.
        notes: what was merged, left out or set apart, in sentences for the user.
    """

    frames: list[LabelledAtoms]
    isolated_atoms: list[LabelledAtoms] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def read_labelled(paths: Path | Sequence[Path], keys: LabelKeys | None = None) -> LabelledFrames:
    """Read all frames of one or more files and their labels; a frame may lack some of them.

    Raises:
        InputError: no such file, one that ASE cannot read, no frames, no forces under that name in any of them, or a
            label of the wrong shape or that is not finite.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    return LabelledFrames([frame for path in given for frame in _frames_of(path, keys or LabelKeys())])


def _frames_of(path: Path, keys: LabelKeys) -> list[LabelledAtoms]:
    frames = [labelled_frame(path, index, atoms, keys) for index, atoms in enumerate(_read(path))]
    if not any(np.isfinite(frame.forces_eV_per_A).all() for frame in frames):
        raise InputError(
            f"{path}: no frame has forces under the name {keys.forces!r}; the first holds"
            f" {', '.join(_names(frames[0].atoms)) or 'no labels'}; say which with --forces-key, or make labels with"
            " al-loop label"
        )
    return frames


def _read(path: Path) -> list[Atoms]:
    from ase.io import read

    if not path.is_file():
        raise InputError(f"{path} is not a file; name one with labelled frames, such as frames.extxyz")
    try:
        frames = read(path, ":")
    except Exception as error:
        raise InputError(
            f"{path} cannot be read by ASE ({type(error).__name__}: {error}); give frames as extxyz"
        ) from error
    if not isinstance(frames, list) or not frames or any(len(atoms) == 0 for atoms in frames):
        raise InputError(f"{path} holds no frames, or frames without atoms; give at least one labelled structure")
    return frames


def labelled_frame(path: Path, index: int, atoms: Atoms, keys: LabelKeys) -> LabelledAtoms:
    """Find the labels of one frame, in which some may lack.

    Args:
        path: of the file, for messages.
        index: of the frame in it.
        atoms: as ASE read it.
        keys: names of the labels.

    Raises:
        InputError: a label of the wrong shape, that is not finite, or beyond ``dft_interfaces.bounds``.
    """
    energy = _label(path, index, atoms, keys.energy, ((),))
    forces = _label(path, index, atoms, keys.forces, ((len(atoms), 3),))
    stress = _label(path, index, atoms, keys.stress, ((6,), (3, 3), (9,)))
    found = LabelledAtoms(
        atoms=atoms,
        energy_eV=float("nan") if energy is None else float(energy),
        forces_eV_per_A=np.full((len(atoms), 3), np.nan) if forces is None else forces,
        stress_eV_per_A3=np.full(6, np.nan) if stress is None else _voigt(stress),
        where=f"{path}, frame {index}",
    )
    _refuse_beyond_bounds(found)
    return found


def _refuse_beyond_bounds(found: LabelledAtoms) -> None:
    numbers = found.energy_eV, found.forces_eV_per_A, found.stress_eV_per_A3
    excess = structure_excess(found.atoms) or label_excess(found.atoms, *numbers)
    if excess:
        raise InputError(f"{found.where}: {excess}. Correct the number or its unit, or remove the frame")


def _label(path: Path, index: int, atoms: Atoms, key: str, shapes: tuple[tuple[int, ...], ...]) -> Array | None:
    value = _find(atoms, key)
    if value is None:
        return None
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{path}, frame {index}: {key} is {value!r}, expected numbers") from None
    if found.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise InputError(f"{path}, frame {index}: {key} has shape {found.shape}, expected {wanted}")
    if not np.isfinite(found).all():
        raise InputError(f"{path}, frame {index}: {key} holds NaN or infinite numbers; remove the frame or the label")
    return found


def _find(atoms: Atoms, key: str) -> Any:
    """A label that ASE's reader left among info and arrays, or moved into a calculator because it knows its name."""
    for place in (atoms.info, atoms.arrays, getattr(atoms.calc, "results", {})):
        if key in place:
            return place[key]
    return None


def _names(atoms: Atoms) -> list[str]:
    return sorted({*atoms.info, *atoms.arrays, *getattr(atoms.calc, "results", {})} - {"numbers", "positions"})


def _voigt(stress: Array) -> Array:
    full: Array = stress if stress.shape == (6,) else full_3x3_to_voigt_6_stress(stress.reshape(3, 3))
    return full
