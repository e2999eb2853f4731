"""Compare models with a reference: quantities within tolerances, order groups by order."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from math import isfinite

from al_loop.config.validation_settings import ToleranceSettings
from al_loop.tools.validation.quantity import Quantity, Values
from al_loop.tools.validation.results import FARTHEST, Compared, Comparison, OrderRow, Outcome, Row

NO_CHECK = "whole check"
LENGTHS = {"a", "b", "c"}
VOLUMES = {"Å³/atom", "Å³", "g/cm³"}
FRAMES = "frames"  # the check that compares a model on every labelled frame

Key = tuple[str, str]
"""Name of the check and of the structure."""
Results = Mapping[Key, Values]


def compare(reference: Results, models: Mapping[str, Results], settings: ToleranceSettings) -> Comparison:
    """Compare models with a reference.

    Args:
        reference: its values.
        models: values of each model of the same checks and structures, the one that is validated first.
        settings: the tolerances.
    """
    named = _named(reference)
    anchors = _anchors(named)
    shifted = _from_anchors(named, anchors)
    own = {model: _from_anchors(_named(results), anchors) for model, results in models.items()}
    rows = tuple(
        row
        for key in reference
        for row in _rows(key, shifted[key], {model: results[key] for model, results in own.items()}, anchors, settings)
    )
    return Comparison(tuple(models), rows, tuple(_orders(shifted, own, settings)))


def _named(results: Results) -> Results:
    return {(check, structure): values.named(check, structure) for (check, structure), values in results.items()}


def is_relative(quantity: Quantity) -> bool:
    """Whether only differences within the order group are meaningful, as for total energies of two codes."""
    return quantity.check == "relaxation" and quantity.name == "energy per atom"


def _tolerance(quantity: Quantity, settings: ToleranceSettings) -> float:
    """Allowed deviation from a quantity with a value, in its unit: that of the first kind that it belongs to."""
    kind = next((make(settings) for belongs, make in _KINDS if belongs(quantity)), (settings.other, 0.0))
    relative, absolute = kind
    return max(relative * abs(quantity.value or 0.0), absolute)


_KINDS: tuple[tuple[Callable[[Quantity], bool], Callable[[ToleranceSettings], tuple[float, float]]], ...] = (
    # Each gives a fraction of the reference's value and an absolute deviation, of which the larger applies.
    (is_relative, lambda s: (0.0, s.energy_difference_eV_per_atom)),
    (lambda q: q.check == FRAMES and q.unit == "eV/atom", lambda s: (0.0, s.frame_energy_eV_per_atom)),
    (lambda q: q.check == FRAMES and q.unit == "eV/Å", lambda s: (0.0, s.frame_force_eV_per_A)),
    (lambda q: q.check == FRAMES and q.unit == "eV/Å³", lambda s: (0.0, s.frame_stress_eV_per_A3)),
    (lambda q: q.check == "elasticity", lambda s: (s.elastic_constant, s.elastic_constant_GPa)),
    (lambda q: q.name == "bulk modulus", lambda s: (s.bulk_modulus, 0.0)),
    (lambda q: q.check == "defects", lambda s: (s.defect_energy, s.defect_energy_eV)),
    (lambda q: q.check == "dimers" and q.unit == "Å", lambda s: (s.dimer_distance, 0.0)),
    (lambda q: q.check == "dimers" and q.unit == "eV", lambda s: (s.dimer_depth, 0.0)),
    (lambda q: q.unit == "J/m²", lambda s: (s.surface_energy, 0.0)),
    (lambda q: "neighbours" in q.name, lambda s: (s.coordination, 0.0)),
    (lambda q: q.unit == "°", lambda s: (0.0, s.cell_angle_deg)),
    (lambda q: q.unit in VOLUMES, lambda s: (s.volume, 0.0)),
    (lambda q: q.name in LENGTHS and q.unit == "Å", lambda s: (s.lattice_constant, 0.0)),
    (lambda q: q.unit == "Å", lambda s: (s.bond_length, 0.0)),
)


def _rows(
    key: Key,
    reference: Values,
    models: Mapping[str, Values],
    anchors: Mapping[Key, str | None],
    settings: ToleranceSettings,
) -> Iterator[Row]:
    """Return one row per quantity; one for the whole check if there is none."""
    known = {quantity.name: quantity for quantity in reference.quantities}
    own = {model: {q.name: q for q in values.quantities} for model, values in models.items()}
    missing = reference.failure or "not in the reference"
    for name in dict.fromkeys(name for quantities in (known, *own.values()) for name in quantities):
        any_of = next(quantities[name] for quantities in (known, *own.values()) if name in quantities)
        quantity = known.get(name, replace(any_of, value=None, note=missing))
        why = _not_compared(quantity, anchors)
        tolerance = None if why else _tolerance(quantity, settings)
        compared = {
            model: _compared(quantity, own[model].get(name), values.failure, tolerance, why, settings.tie)
            for model, values in models.items()
        }
        yield Row(quantity, tolerance, compared)
    if not known and not any(own.values()):
        note = reference.failure or "nothing to compare"
        empty = Quantity(NO_CHECK, "", None, note=note, check=key[0], structure=key[1])
        yield Row(empty, None, {m: Compared(None, Outcome.NOT_COMPARED, note=v.failure) for m, v in models.items()})


def _not_compared(quantity: Quantity, anchors: Mapping[Key, str | None]) -> str:
    """Why a quantity of the reference is not compared; empty if it is."""
    if quantity.value is None:
        return quantity.note or "the reference has no value"
    if not is_relative(quantity):
        return ""
    anchor = anchors.get((quantity.check, quantity.order_group))
    if anchor is None:
        return "energies of two codes have no common reference; give a second structure of this composition"
    return "the reference's lowest structure, the zero of the others" if anchor == quantity.structure else ""


def _compared(
    reference: Quantity, own: Quantity | None, failure: str, tolerance: float | None, why_not: str, tie: float
) -> Compared:
    value, note = (None, failure) if own is None else (own.value, own.note)
    if reference.value is None or tolerance is None:
        return Compared(value, Outcome.NOT_COMPARED, note=why_not or note)
    if value is None or not isfinite(value):
        return Compared(None, Outcome.FAIL, FARTHEST, note or "the model has no value")
    difference = abs(value - reference.value)
    deviation = difference / tolerance if tolerance > 0 else (0.0 if difference == 0 else FARTHEST)
    # The sign of an elastic constant tells stable from unstable, whatever the tolerance, unless it is a tie with zero.
    has_a_sign = reference.check == "elasticity" and abs(reference.value) > tie * tolerance
    if has_a_sign and value * reference.value <= 0:
        return Compared(value, Outcome.FAIL, deviation, f"of the wrong sign; {note}".removesuffix("; "))
    return Compared(value, Outcome.PASS if deviation <= 1 else Outcome.FAIL, deviation, note)


def _anchors(reference: Results) -> dict[Key, str | None]:
    """For each group of energies the structure that is lowest in the reference; None where it has only one."""
    groups: defaultdict[Key, dict[str, float]] = defaultdict(dict)
    for values in reference.values():
        for quantity in values.quantities:
            if is_relative(quantity) and quantity.value is not None:
                groups[quantity.check, quantity.order_group][quantity.structure] = quantity.value
    return {key: min(found, key=lambda s: found[s]) if len(found) > 1 else None for key, found in groups.items()}


def _from_anchors(results: Results, anchors: Mapping[Key, str | None]) -> Results:
    """Shift the energies of each group to its anchor, for one model or the reference."""
    zeros = {
        (q.check, q.order_group): q.value
        for values in results.values()
        for q in values.quantities
        if is_relative(q) and anchors.get((q.check, q.order_group)) == q.structure
    }

    def moved(quantity: Quantity) -> Quantity:
        group = quantity.check, quantity.order_group
        if not is_relative(quantity) or anchors.get(group) is None or quantity.value is None:
            return quantity
        zero = zeros.get(group)
        if zero is None:
            return replace(quantity, value=None, note=f"no energy of {anchors[group]}, the zero of the others")
        return replace(quantity, value=quantity.value - zero)

    return {key: replace(values, quantities=tuple(map(moved, values.quantities))) for key, values in results.items()}


def _orders(reference: Results, models: Mapping[str, Results], settings: ToleranceSettings) -> Iterator[OrderRow]:
    own = {model: _grouped(results) for model, results in models.items()}
    for (check, group), known in _grouped(reference).items():
        if len(known) < 2:  # noqa: PLR2004 - nothing to order
            continue
        ordered = sorted(known.values(), key=lambda q: q.value or 0.0)
        pairs = [(low, high) for low, high in combinations(ordered, 2) if _apart(low, high, settings)]
        compared = {model: _compared_order(pairs, groups.get((check, group), {})) for model, groups in own.items()}
        yield OrderRow(check, group, _in_words(ordered, settings), compared, len(pairs))


def _compared_order(pairs: Sequence[tuple[Quantity, Quantity]], own: Mapping[Key, Quantity]) -> Compared:
    """A pair without a value of the model is wrong, one in which the model is not strictly rising too."""
    if not pairs:
        return Compared(None, Outcome.NOT_COMPARED, note="all values of the reference are tied")
    wrong = []
    for low, high in pairs:
        below, above = (own[_label(q)].value if _label(q) in own else None for q in (low, high))
        if below is None or above is None or not below < above:
            wrong.append(f"{_short(low, high)} above {_short(high, low)}")
    note = "; ".join(wrong[:3]) + ("; ..." if len(wrong) > 3 else "")  # noqa: PLR2004 - enough to see
    return Compared(float(len(wrong)), Outcome.FAIL if wrong else Outcome.PASS, None, note)


def _grouped(results: Results) -> dict[Key, dict[Key, Quantity]]:
    """Quantities with a value by check and order group, in it by structure and name."""
    groups: defaultdict[Key, dict[Key, Quantity]] = defaultdict(dict)
    for values in results.values():
        for quantity in values.quantities:
            if quantity.order_group and quantity.value is not None and isfinite(quantity.value):
                groups[quantity.check, quantity.order_group][_label(quantity)] = quantity
    return dict(groups)


def _apart(low: Quantity, high: Quantity, settings: ToleranceSettings) -> bool:
    widest = max(_tolerance(low, settings), _tolerance(high, settings))
    return (high.value or 0.0) - (low.value or 0.0) > settings.tie * widest


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
