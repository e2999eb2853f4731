"""Cell and periodicity that a user gives for structures whose file has none (``--cell``, ``--pbc``)."""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from ase.cell import Cell
from numpy.typing import NDArray

from al_loop.errors import InputError

TOLERANCE_A: Final = 1e-3
TOLERANCE_deg: Final = 1e-2
_LENGTHS, _PARAMETERS, _VECTORS = 3, 6, 9
_STRAIGHT_deg: Final = 180
_TRUTH: Final = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
_NONE: Final = ("none", "no")


@dataclass(frozen=True)
class Surroundings:
    """Cell and periodicity given by the user.

    Attributes:
        cell: (3, 3) Å, rows are vectors; None if not given.
        vectors: the cell was given as vectors, so that its orientation counts too.
        pbc: (3,) booleans; None if not given: a given cell is periodic in all directions.
    """

    cell: NDArray[np.float64] | None = None
    vectors: bool = False
    pbc: tuple[bool, bool, bool] | None = None

    def put_round(self, atoms: Atoms, where: str) -> None:
        """Give a structure cell and periodicity, in place, as far as its file has none.

        Raises:
            InputError: the file states another cell, or another periodicity than none; or a periodic direction would
                have no cell vector.
        """
        has_cell = bool(atoms.cell.any())
        if self.cell is not None:
            if has_cell:
                self._check_cell(atoms, where)
            else:
                atoms.cell = self.cell
        given = self.pbc if self.pbc is not None or self.cell is None or has_cell else (True, True, True)
        if given is None:
            return
        if atoms.pbc.any() and tuple(atoms.pbc) != given:
            raise InputError(
                f"{where} is periodic in {_directions(atoms.pbc)}, and --pbc states {_directions(given)}; leave --pbc "
                "out, or correct the file"
            )
        missing = [name for name, vector, periodic in zip("abc", atoms.cell.array, given, strict=True)
                   if periodic and not vector.any()]  # fmt: skip
        if missing:
            raise InputError(f"{where} has no cell vector {' and '.join(missing)}, which --pbc needs; give --cell")
        atoms.pbc = given

    def _check_cell(self, atoms: Atoms, where: str) -> None:
        stated, given = atoms.cell, Cell(self.cell)
        if self.vectors:
            same = np.allclose(stated.array, given.array, rtol=0, atol=TOLERANCE_A)
        else:
            same = np.allclose(stated.lengths(), given.lengths(), rtol=0, atol=TOLERANCE_A) and np.allclose(
                stated.angles(), given.angles(), rtol=0, atol=TOLERANCE_deg
            )
        if not same:
            raise InputError(
                f"{where} states a cell of {_cell_text(stated)}, and --cell one of {_cell_text(given)}; leave --cell "
                "out, or correct the file"
            )


UNSTATED: Final = Surroundings()


def surroundings_of(cell: str | None, pbc: str | None) -> Surroundings:
    """Read ``--cell`` and ``--pbc``.

    Args:
        cell: three lengths, three lengths and three angles (degrees), or three vectors (nine numbers), Å.
        pbc: three truth values (``TTF``, ``T T F``, ``true,true,false``), the periodic directions (``xy``), or none.

    Raises:
        InputError: something else.
    """
    vectors, is_vectors = (None, False) if cell is None else _cell(cell)
    return Surroundings(vectors, is_vectors, None if pbc is None else _pbc(pbc))


def _cell(text: str) -> tuple[NDArray[np.float64], bool]:
    words = [word for word in re.split(r"[\s,;\[\]]+", text) if word]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (_LENGTHS, _PARAMETERS, _VECTORS) or not np.isfinite(numbers).all():
        raise InputError(
            f"--cell: received {text!r}, expected three lengths, three lengths and three angles, or nine components of "
            'three vectors, in Å and degrees: --cell "12.4 12.4 12.4"'
        )
    if len(numbers) < _VECTORS and (min(numbers) <= 0 or max(numbers[_LENGTHS:], default=0) >= _STRAIGHT_deg):
        raise InputError(f"--cell: received {text!r}, expected lengths above 0, and angles between 0 and 180 degrees")
    with np.errstate(invalid="ignore"):
        vectors = np.reshape(numbers, (3, 3)) if len(numbers) == _VECTORS else _from_parameters(text, numbers)
    lengths = np.linalg.norm(vectors, axis=1)
    if not abs(np.linalg.det(vectors)) > 1e-6 * lengths.prod():  # NaN too: angles that make no cell
        raise InputError(f"--cell: received {text!r}, expected three vectors that enclose a volume")
    return vectors, len(numbers) == _VECTORS


def _from_parameters(text: str, numbers: list[float]) -> NDArray[np.float64]:
    try:
        vectors: NDArray[np.float64] = Cell.fromcellpar([*numbers, 90, 90, 90][:_PARAMETERS]).array
    except (AssertionError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"--cell: received {text!r}, expected angles that enclose a volume") from error
    return vectors


def _pbc(text: str) -> tuple[bool, bool, bool]:
    plain = text.strip().lower()
    if plain in _NONE:
        return (False, False, False)
    if plain and set(plain) <= set("xyz") and len(set(plain)) == len(plain):
        return ("x" in plain, "y" in plain, "z" in plain)
    words = [word for word in re.split(r"[\s,;\[\]()]+", plain) if word]
    if len(words) == 1 and len(words[0]) == _LENGTHS:
        words = list(words[0])
    if len(words) != _LENGTHS or any(word not in _TRUTH for word in words):
        raise InputError(
            f"--pbc: received {text!r}, expected T or F for each of the three cell vectors (TTF), the periodic "
            "directions (xy), or none"
        )
    first, second, third = (_TRUTH[word] for word in words)
    return (first, second, third)


def _directions(pbc: "NDArray[np.bool_] | tuple[bool, bool, bool]") -> str:
    return " ".join("T" if periodic else "F" for periodic in pbc)


def _cell_text(cell: Cell) -> str:
    return " ".join(f"{number:.6g}" for number in cell.cellpar()) + " (lengths in Å, angles in degrees)"
