"""A validation as plain JSON, for ``validation.json``, ``--json`` and the report."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from al_loop.tools.validation.comparison import Comparison, Verdict

VALIDATION_SCHEMA = 1


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
        nearest = self.comparison.nearest
        if nearest is None:
            return "Nothing could be compared: the reference has no values for these checks."
        told = ", ".join(
            f"{name} {distance:.2f}"
            for name in self.comparison.models
            if (distance := self.comparison.distance(name)) is not None
        )
        mean = "mean deviation in tolerances, each counted as 10 at most"
        if len(self.comparison.models) == 1:
            return f"{nearest} is {told.rsplit(' ', 1)[1]} tolerances from the reference ({mean})."
        return f"Nearest to the reference: {nearest} ({mean}: {told})."

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
            "quantities": [self._row(index) for index in range(len(self.comparison.rows))],
            "orders": [self._order(index) for index in range(len(self.comparison.orders))],
        }

    def _summary(self, name: str) -> dict[str, Any]:
        counts = Counter(self.comparison.verdicts(name))
        told: dict[str, Any] = {"model": name, **{verdict.value: counts[verdict] for verdict in Verdict}}
        return {**told, "mean deviation in tolerances": self.comparison.distance(name)}

    def _row(self, index: int) -> dict[str, Any]:
        row = self.comparison.rows[index]
        quantity = row.quantity
        told: dict[str, Any] = {
            "check": quantity.check,
            "structure": quantity.structure,
            "quantity": quantity.name,
            "unit": quantity.unit,
            "reference": quantity.value,
            "tolerance": row.tolerance,
        }
        notes = [f"reference: {quantity.note}"] if quantity.note else []
        for name, judged in row.judged.items():
            told[name] = judged.value
            told[f"{name}: verdict"] = judged.verdict.value
            if judged.note and judged.note != quantity.note:
                notes.append(judged.note if judged.verdict is Verdict.NOT_COMPARED else f"{name}: {judged.note}")
        return {**told, "note": "; ".join(dict.fromkeys(notes))}

    def _order(self, index: int) -> dict[str, Any]:
        row = self.comparison.orders[index]
        told: dict[str, Any] = {"check": row.check, "order of": row.group, "reference": row.order, "pairs": row.pairs}
        notes = []
        for name, judged in row.judged.items():
            told[f"{name}: wrong pairs"] = None if judged.value is None else int(judged.value)
            told[f"{name}: verdict"] = judged.verdict.value
            if judged.note:
                notes.append(judged.note if judged.verdict is Verdict.NOT_COMPARED else f"{name}: {judged.note}")
        return {**told, "note": "; ".join(dict.fromkeys(notes))}
