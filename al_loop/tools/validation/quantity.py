"""One physical quantity of a structure: returned by every check and compared in every table."""

from collections.abc import Callable
from dataclasses import dataclass

from ase import Atoms
from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class Quantity:
    """A quantity calculated with one calculator.

    Attributes:
        check: name of the check, for example ``relaxation`` or ``surfaces``.
        structure: name of the structure that was given.
        name: what was measured, unique within check and structure, for example ``volume per atom`` or ``(111)``.
        unit: of the value, empty for a pure number.
        value: the number; None if it could not be calculated, with the reason in the note.
        order_group: quantities of one check and one group are compared by their order too; empty if order means
            nothing.
        note: for the reader, for example the reason of a missing value.
    """

    check: str
    structure: str
    name: str
    unit: str
    value: float | None
    order_group: str = ""
    note: str = ""


Check = Callable[[str, Atoms, Calculator], list[Quantity]]
