"""Compare models with a reference: quantities within tolerances, order groups by order, and overall distance."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import combinations, pairwise
from math import isfinite
from statistics import fmean

from al_loop.config.validation_settings import ToleranceSettings
from al_loop.tools.validation.cache import Answer
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.tolerances import has_a_sign, is_relative, tolerance_of

FARTHEST = 10.0  # tolerances; beyond them, and without an answer, all are equally far
NO_CHECK = "whole check"

Key = tuple[str, str]
"""Name of the check and of the structure."""


class Verdict(StrEnum):
    """On one quantity of one model."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    NOT_COMPARED = "not compared"


@dataclass(frozen=True)
class Judged:
    """One quantity of one model, compared with the reference.

    Attributes:
        value: in the quantity's unit.
        verdict: against the reference.
        deviation: from the reference in tolerances; None where nothing is compared.
        note: for the reader.
    """

    value: float | None
    verdict: Verdict
    deviation: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One quantity of the reference, and of each model.

    Attributes:
        quantity: of the reference; without value if it has none.
        tolerance: allowed deviation, in its unit; None where nothing is compared.
        judged: by the name of the model.
    """

    quantity: Quantity
    tolerance: float | None
    judged: Mapping[str, Judged]


@dataclass(frozen=True)
class OrderRow:
    """One order group.

    Attributes:
        check: name of the check.
        group: what is ordered.
        order: of the reference, ascending; values within a tie are grouped.
        judged: by the name of the model; the value is the number of pairs in the wrong order.
        pairs: with an order.
    """

    check: str
    group: str
    order: str
    judged: Mapping[str, Judged]
    pairs: int


@dataclass(frozen=True)
class Comparison:
    """The complete comparison.

    Attributes:
        models: names, the one that is validated first.
        rows: quantities.
        orders: order groups.
    """

    models: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    orders: tuple[OrderRow, ...] = ()

    def verdicts(self, model: str, check: str | None = None) -> list[Verdict]:
        """All verdicts on a model, of one check or of all."""
        of_rows = [row.judged[model].verdict for row in self.rows if check in (None, row.quantity.check)]
        return of_rows + [row.judged[model].verdict for row in self.orders if check in (None, row.check)]

    def passes(self, model: str, check: str | None = None) -> bool:
        """Whether something was compared and nothing fails."""
        verdicts = set(self.verdicts(model, check))
        return Verdict.PASS in verdicts and Verdict.FAIL not in verdicts

    def distance(self, model: str) -> float | None:
        """Mean deviation from the reference over all that was compared, in tolerances; None without any."""
        compared = [row.judged[model].deviation for row in self.rows]
        known = [min(deviation, FARTHEST) for deviation in compared if deviation is not None]
        return fmean(known) if known else None

    @property
    def nearest(self) -> str | None:
        """The model with the smallest distance, None where nothing was compared."""
        known = {model: distance for model in self.models if (distance := self.distance(model)) is not None}
        return min(known, key=lambda model: known[model]) if known else None


@dataclass
class Answers:
    """Results of reference and models, by check.

    Attributes:
        models: names, the one that is validated first.
        reference: by check and structure.
        of_models: the same for each model.
    """

    models: tuple[str, ...]
    reference: dict[Key, Answer] = field(default_factory=dict)
    of_models: dict[str, dict[Key, Answer]] = field(default_factory=dict)


def compare(answers: Answers, settings: ToleranceSettings) -> Comparison:
    """Compare the results so far.

    Args:
        answers: of the reference and of the models; checks that some have not finished are left out.
        settings: the tolerances.
    """
    ready = [key for key in answers.reference if all(key in answers.of_models.get(m, {}) for m in answers.models)]
    run_check = {key: answers.reference[key] for key in ready}
    said = {model: {key: answers.of_models[model][key] for key in ready} for model in answers.models}
    anchors = _anchors(run_check)
    shifted = _from_anchors(run_check, anchors)
    models = {model: _from_anchors(said[model], anchors) for model in answers.models}
    rows = tuple(
        row for key in ready for row in _rows(key, shifted[key], {m: models[m][key] for m in models}, anchors, settings)
    )
    return Comparison(answers.models, rows, tuple(_orders(shifted, models, settings)))


def _rows(
    key: Key,
    reference: Answer,
    models: Mapping[str, Answer],
    anchors: Mapping[Key, str | None],
    settings: ToleranceSettings,
) -> Iterator[Row]:
    """Return one row per quantity; one for the whole check if the reference has none."""
    check, structure = key
    known = {quantity.name: quantity for quantity in reference.quantities}
    own = {model: {q.name: q for q in answer.quantities} for model, answer in models.items()}
    for name in dict.fromkeys([*known, *(name for quantities in own.values() for name in quantities)]):
        any_of = known.get(name) or next(quantities[name] for quantities in own.values() if name in quantities)
        lacking = replace(any_of, value=None, note=reference.failure or "not in the reference")
        quantity = known.get(name, lacking)
        value, why = quantity.value, ""
        if is_relative(quantity):
            value, why = _relative_value(quantity, anchors)
        elif value is None:
            why = quantity.note or "the reference has no value"
        tolerance = None if why or value is None else tolerance_of(quantity, settings).around(value)
        judged = {}
        for model, answer in models.items():
            said = own[model].get(name)
            judged[model] = _judged(said, answer.failure, value, tolerance, why)
            if tolerance is not None and value is not None and has_a_sign(quantity):
                judged[model] = _signed(judged[model], value, settings.tie * tolerance)
        yield Row(quantity, tolerance, judged)
    if not known and not any(own.values()):
        empty = Quantity(check, structure, NO_CHECK, "", None, note=reference.failure or "nothing to compare")
        yield Row(
            empty,
            None,
            {model: Judged(None, Verdict.NOT_COMPARED, note=answer.failure) for model, answer in models.items()},
        )


def _judged(
    said: Quantity | None, failure: str, reference: float | None, tolerance: float | None, why_not: str
) -> Judged:
    value, note = (None, failure) if said is None else (said.value, said.note)
    if reference is None or tolerance is None:
        return Judged(value, Verdict.NOT_COMPARED, note=why_not or note)
    if value is None or not isfinite(value):
        return Judged(None, Verdict.FAIL, FARTHEST, note or "the model has no value")
    deviation = abs(value - reference) / tolerance if tolerance > 0 else (0.0 if value == reference else FARTHEST)
    return Judged(value, Verdict.PASS if deviation <= 1 else Verdict.FAIL, deviation, note)


def _signed(judged: Judged, reference: float, tie: float) -> Judged:
    """Fail a value of the wrong sign, whatever the tolerance, unless the reference's is zero within a tie."""
    if judged.value is None or abs(reference) <= tie or judged.value * reference > 0:
        return judged
    return replace(judged, verdict=Verdict.FAIL, note=f"of the wrong sign; {judged.note}".removesuffix("; "))


def _relative_value(quantity: Quantity, anchors: Mapping[Key, str | None]) -> tuple[float | None, str]:
    """Value of a quantity relative to an anchor, and the reason if it is not compared."""
    anchor = anchors.get((quantity.check, quantity.order_group))
    if quantity.value is None:
        return None, quantity.note or "the reference has no value"
    if anchor is None:
        return (
            quantity.value,
            "energies of two codes have no common reference; give a second structure of this composition",
        )
    if anchor == quantity.structure:
        return quantity.value, "the reference's lowest structure, the zero of the others"
    return quantity.value, ""


def _anchors(reference: Mapping[Key, Answer]) -> dict[Key, str | None]:
    """For each group of energies the structure that is lowest in the reference; None where it has only one."""
    groups: defaultdict[Key, dict[str, float]] = defaultdict(dict)
    for answer in reference.values():
        for quantity in answer.quantities:
            if is_relative(quantity) and quantity.value is not None:
                groups[quantity.check, quantity.order_group][quantity.structure] = quantity.value
    return {key: min(values, key=lambda s: values[s]) if len(values) > 1 else None for key, values in groups.items()}


def _from_anchors(answers: Mapping[Key, Answer], anchors: Mapping[Key, str | None]) -> dict[Key, Answer]:
    """Shift the energies of each group to its anchor, for one model or the reference."""
    zeros = {
        (q.check, q.order_group): q.value
        for answer in answers.values()
        for q in answer.quantities
        if is_relative(q) and anchors.get((q.check, q.order_group)) == q.structure
    }

    def moved(quantity: Quantity) -> Quantity:
        anchor = anchors.get((quantity.check, quantity.order_group))
        if not is_relative(quantity) or anchor is None or quantity.value is None:
            return quantity
        zero = zeros.get((quantity.check, quantity.order_group))
        if zero is None:
            return replace(quantity, value=None, note=f"no energy of {anchor}, the zero of the others")
        return replace(quantity, value=quantity.value - zero)

    return {key: replace(answer, quantities=tuple(map(moved, answer.quantities))) for key, answer in answers.items()}


def _orders(
    reference: Mapping[Key, Answer], models: Mapping[str, Mapping[Key, Answer]], settings: ToleranceSettings
) -> Iterator[OrderRow]:
    members = _grouped(reference)
    own = {model: _grouped(answers) for model, answers in models.items()}
    for (check, group), known in members.items():
        if len(known) < 2:  # noqa: PLR2004 - nothing to order
            continue
        ordered = sorted(known.values(), key=lambda q: q.value or 0.0)
        pairs = [(low, high) for low, high in combinations(ordered, 2) if _apart(low, high, settings)]
        judged = {
            model: _order_judged(pairs, {label: q.value for label, q in own[model].get((check, group), {}).items()})
            for model in models
        }
        yield OrderRow(check, group, _in_words(ordered, settings), judged, len(pairs))


def _order_judged(pairs: Sequence[tuple[Quantity, Quantity]], said: Mapping[Key, float | None]) -> Judged:
    """A pair without a value of the model is wrong, one in which the model is not strictly rising too."""
    if not pairs:
        return Judged(None, Verdict.NOT_COMPARED, note="all values of the reference are tied")
    wrong = []
    for low, high in pairs:
        below, above = said.get(_label(low)), said.get(_label(high))
        if below is None or above is None or not below < above:
            wrong.append(f"{_short(low, high)} above {_short(high, low)}")
    note = "; ".join(wrong[:3]) + ("; ..." if len(wrong) > 3 else "")  # noqa: PLR2004 - enough to see
    return Judged(float(len(wrong)), Verdict.FAIL if wrong else Verdict.PASS, None, note)


def _grouped(answers: Mapping[Key, Answer]) -> dict[Key, dict[Key, Quantity]]:
    """Quantities with a value by check and order group, in it by structure and name."""
    groups: defaultdict[Key, dict[Key, Quantity]] = defaultdict(dict)
    for answer in answers.values():
        for quantity in answer.quantities:
            if quantity.order_group and quantity.value is not None and isfinite(quantity.value):
                groups[quantity.check, quantity.order_group][_label(quantity)] = quantity
    return dict(groups)


def _apart(low: Quantity, high: Quantity, settings: ToleranceSettings) -> bool:
    first, second = low.value or 0.0, high.value or 0.0
    widest = max(tolerance_of(low, settings).around(first), tolerance_of(high, settings).around(second))
    return second - first > settings.tie * widest


def _in_words(ordered: Sequence[Quantity], settings: ToleranceSettings) -> str:
    text = _short(ordered[0], *ordered[1:])
    for low, high in pairwise(ordered):
        text += f" {'<' if _apart(low, high, settings) else '≈'} {_short(high, low)}"
    return text


def _label(quantity: Quantity) -> Key:
    return quantity.structure, quantity.name


def _short(quantity: Quantity, *others: Quantity) -> str:
    """Return the name that distinguishes a quantity in its group: its structure, or the quantity itself."""
    if all(other.structure == quantity.structure for other in others):
        return quantity.name
    same_name = all(other.name == quantity.name for other in others)
    return quantity.structure if same_name else f"{quantity.structure} {quantity.name}"
