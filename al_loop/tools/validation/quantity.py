"""A physical quantity of a structure, the values that one check gives, and measurements that may fail."""

from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, replace
from functools import wraps
from typing import Any, Self, TypeVar

from al_loop.errors import NoAnswerError

T = TypeVar("T")


@dataclass(frozen=True)
class Quantity:
    """A quantity calculated with one calculator.

    Attributes:
        name: what was measured, unique within check and structure, for example ``volume per atom`` or ``(111)``.
        unit: of the value, empty for a pure number.
        value: the number; None if it could not be calculated, with the reason in the note.
        order_group: quantities of one check and one group are compared by their order too; empty if order means
            nothing. ``{}`` stands for the name of the structure, in groups that end with it.
        note: for the reader, for example the reason of a missing value.
        check: name of the check, set when results are compared.
        structure: name of the structure, likewise.
    """

    name: str
    unit: str
    value: float | None
    order_group: str = ""
    note: str = ""
    check: str = ""
    structure: str = ""


@dataclass(frozen=True)
class Values:
    """Quantities of one check of one structure.

    Attributes:
        quantities: empty if there are none.
        failure: the reason if there are none, else empty.
    """

    quantities: tuple[Quantity, ...] = ()
    failure: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing failed, in whole or in part."""
        return not self.failure and all(quantity.value is not None for quantity in self.quantities)

    @property
    def any_known(self) -> bool:
        """Whether there is any value to compare with."""
        return any(quantity.value is not None for quantity in self.quantities)

    def named(self, check: str, structure: str) -> Self:
        """Return the quantities under the names of check and structure."""
        named = (
            replace(q, check=check, structure=structure, order_group=q.order_group.replace("{}", structure))
            for q in self.quantities
        )
        return replace(self, quantities=tuple(named))

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON, without the names of check and structure."""
        quantities = [asdict(quantity) for quantity in self.quantities]
        return {
            "quantities": [{key: one[key] for key in (*_TEXTS, "value")} for one in quantities],
            "failure": self.failure,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of ``as_dict``; data of another shape raise whatever they do, see ``foreign_input.reading``."""
        quantities = (
            Quantity(**{key: str(one[key]) for key in _TEXTS}, value=None if (v := one["value"]) is None else float(v))
            for one in data["quantities"]
        )
        return cls(tuple(quantities), str(data["failure"]))


_TEXTS = ("name", "unit", "order_group", "note")


def measured(name: str, unit: str, measure: Callable[[], float], *, order_group: str = "", note: str = "") -> Quantity:
    """Return a quantity; if ``measure`` raises ``NoAnswerError``, without value and with the reason as its note."""
    try:
        value = float(measure())
    except NoAnswerError as error:
        return Quantity(name, unit, None, order_group, str(error))
    return Quantity(name, unit, value, order_group, note)


def remembered(calculate: Callable[..., T]) -> Callable[..., T]:
    """Calculate each value once; failures are remembered too and raised again."""
    known: dict[Hashable, T | NoAnswerError] = {}

    @wraps(calculate)
    def get(*key: Hashable) -> T:
        if key not in known:
            try:
                known[key] = calculate(*key)
            except NoAnswerError as error:
                known[key] = error
        found = known[key]
        if isinstance(found, NoAnswerError):
            raise NoAnswerError(str(found))
        return found

    return get
