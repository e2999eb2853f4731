"""The result of a validation: quantities and orders of models beside a reference, and their JSON."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any

from al_loop.tools.validation.quantity import Quantity

VALIDATION_SCHEMA = 1
FARTHEST = 10.0  # tolerances; beyond them, and without a value, all are equally far


class Outcome(StrEnum):
    """On one quantity of one model."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    NOT_COMPARED = "not compared"


@dataclass(frozen=True)
class Compared:
    """One quantity of one model, compared with the reference.

    Attributes:
        value: in the quantity's unit.
        verdict: against the reference.
        deviation: from the reference in tolerances; None where nothing is compared.
        note: for the reader.
    """

    value: float | None
    verdict: Outcome
    deviation: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One quantity of the reference, and of each model.

    Attributes:
        quantity: of the reference; without value if it has none.
        tolerance: allowed deviation, in its unit; None where nothing is compared.
        compared: by the name of the model.
    """

    quantity: Quantity
    tolerance: float | None
    compared: Mapping[str, Compared]


@dataclass(frozen=True)
class OrderRow:
    """One order group.

    Attributes:
        check: name of the check.
        group: what is ordered.
        order: of the reference, ascending; values within a tie are grouped.
        compared: by the name of the model; the value is the number of pairs in the wrong order.
        pairs: with an order.
    """

    check: str
    group: str
    order: str
    compared: Mapping[str, Compared]
    pairs: int


@dataclass(frozen=True)
class Comparison:
    """The complete comparison: names of the models, the one that is validated first, quantities and order groups."""

    models: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    orders: tuple[OrderRow, ...] = ()

    def verdicts(self, model: str, check: str | None = None) -> list[Outcome]:
        """All verdicts on a model, of one check or of all."""
        of_rows = [row.compared[model].verdict for row in self.rows if check in (None, row.quantity.check)]
        return of_rows + [row.compared[model].verdict for row in self.orders if check in (None, row.check)]

    def passes(self, model: str) -> bool:
        """Whether something was compared and nothing fails."""
        verdicts = set(self.verdicts(model))
        return Outcome.PASS in verdicts and Outcome.FAIL not in verdicts

    def distance(self, model: str) -> float | None:
        """Mean deviation from the reference over all that was compared, in tolerances; None without any."""
        compared = [row.compared[model].deviation for row in self.rows]
        known = [min(deviation, FARTHEST) for deviation in compared if deviation is not None]
        return fmean(known) if known else None

    @property
    def distances(self) -> dict[str, float]:
        """Of the models of which something was compared."""
        return {model: distance for model in self.models if (distance := self.distance(model)) is not None}

    @property
    def nearest(self) -> str | None:
        """The model with the smallest distance, None where nothing was compared."""
        known = self.distances
        return min(known, key=lambda model: known[model]) if known else None


@dataclass(frozen=True)
class Validation:
    """A comparison with what it is of.

    Attributes:
        comparison: the verdicts.
        reference: name and level of theory.
        checks: that were made.
        complete: all checks are finished.
    """

    comparison: Comparison
    reference: str
    checks: tuple[str, ...]
    complete: bool = True

    @property
    def model(self) -> str:
        """The one that is validated."""
        return self.comparison.models[0]

    @property
    def passed(self) -> bool:
        """Whether something was compared and nothing fails."""
        return self.comparison.passes(self.model)

    @property
    def conclusion(self) -> str:
        """The closest model, in one sentence."""
        nearest, distances = self.comparison.nearest, self.comparison.distances
        if nearest is None:
            return "Nothing could be compared: the reference has no values for these checks."
        mean = "mean deviation in tolerances, each counted as 10 at most"
        if len(self.comparison.models) == 1:
            return f"{nearest} is {distances[nearest]:.2f} tolerances from the reference ({mean})."
        listed = ", ".join(f"{name} {distance:.2f}" for name, distance in distances.items())
        return f"Nearest to the reference: {nearest} ({mean}: {listed})."

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON; lists of records, so that the report shows them as tables."""
        return {
            "schema": VALIDATION_SCHEMA,
            "model": self.model,
            "reference": self.reference,
            "passed": self.passed,
            "complete": self.complete,
            "conclusion": self.conclusion,
            "models": [self._summary(name) for name in self.comparison.models],
            "quantities": [_row(row) for row in self.comparison.rows],
            "orders": [_order(row) for row in self.comparison.orders],
        }

    def _summary(self, name: str) -> dict[str, Any]:
        counts = Counter(self.comparison.verdicts(name))
        return {
            "model": name,
            **{verdict.value: counts[verdict] for verdict in Outcome},
            "mean deviation in tolerances": self.comparison.distance(name),
        }


def _row(row: Row) -> dict[str, Any]:
    quantity = row.quantity
    record: dict[str, Any] = {
        "check": quantity.check,
        "structure": quantity.structure,
        "quantity": quantity.name,
        "unit": quantity.unit,
        "reference": quantity.value,
        "tolerance": row.tolerance,
    }
    for name, compared in row.compared.items():
        record |= {name: compared.value, f"{name}: verdict": compared.verdict.value}
    first = [f"reference: {quantity.note}"] if quantity.note else []
    return {**record, "note": _notes(row.compared, first, besides=quantity.note)}


def _order(row: OrderRow) -> dict[str, Any]:
    record: dict[str, Any] = {"check": row.check, "order of": row.group, "reference": row.order, "pairs": row.pairs}
    for name, compared in row.compared.items():
        record[f"{name}: wrong pairs"] = None if compared.value is None else int(compared.value)
        record[f"{name}: verdict"] = compared.verdict.value
    return {**record, "note": _notes(row.compared, [])}


def _notes(compared: Mapping[str, Compared], notes: list[str], besides: str = "") -> str:
    for name, one in compared.items():
        if one.note not in ("", besides):
            notes.append(one.note if one.verdict is Outcome.NOT_COMPARED else f"{name}: {one.note}")
    return "; ".join(dict.fromkeys(notes))
