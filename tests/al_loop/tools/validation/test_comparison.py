"""What passes, what fails, what is not compared, ranks with ties, and who is nearest."""

import pytest

from al_loop.config.validation_settings import ToleranceSettings
from al_loop.tools.validation.comparison import compare
from al_loop.tools.validation.quantity import Quantity, Values
from al_loop.tools.validation.results import FARTHEST, Comparison, Outcome, Validation

PASS, FAIL, NOT = Outcome.PASS, Outcome.FAIL, Outcome.NOT_COMPARED


def quantity(name: str, value: float | None, unit: str = "Å", check: str = "relaxation", structure: str = "x", **more):
    return Quantity(name, unit, value, check=check, structure=structure, **more)


def compared(reference: list[Quantity], *models: list[Quantity], failure: str = "", **settings: float) -> Comparison:
    """Each list holds quantities of any checks and structures."""
    names = tuple(f"model {n}" for n in range(len(models)))
    keys = {(q.check, q.structure) for quantities in (reference, *models) for q in quantities} or {("relaxation", "x")}

    def results(quantities, why=""):
        return {key: Values(tuple(q for q in quantities if (q.check, q.structure) == key), why) for key in sorted(keys)}

    own = {name: results(quantities) for name, quantities in zip(names, models, strict=True)}
    return compare(results(reference, failure), own, ToleranceSettings(**settings))


@pytest.mark.parametrize(
    ("unit", "name", "reference", "inside", "outside"),
    [
        ("Å", "a", 5.0, 5.09, 5.11),
        ("Å³/atom", "volume per atom", 20.0, 20.59, 19.39),
        ("GPa", "bulk modulus", 100.0, 81.0, 79.0),
        ("°", "largest change of a cell angle", 0.0, 0.9, 1.1),
        ("J/m²", "(111)", 1.0, 1.19, 1.21),
        ("Å", "Si-Si bond length", 2.35, 2.39, 2.41),
        ("", "something new", 10.0, 11.9, 12.1),
    ],
)
def test_the_tolerance_of_each_kind(unit: str, name: str, reference: float, inside: float, outside: float):
    found = compared([quantity(name, reference, unit)], [quantity(name, inside, unit)], [quantity(name, outside, unit)])
    assert [found.rows[0].compared[model].verdict for model in found.models] == [PASS, FAIL]


def test_elastic_constants_near_zero_have_an_absolute_tolerance_and_a_sign():
    def constant(value: float) -> Quantity:
        return quantity("C14", value, "GPa", "elasticity")

    assert compared([constant(20.0)], [constant(11.0)]).verdicts("model 0") == [PASS]
    assert compared([constant(5.0)], [constant(-4.0)]).verdicts("model 0") == [FAIL]
    assert compared([constant(2.0)], [constant(-4.0)]).verdicts("model 0") == [PASS]  # zero within a tie


def test_what_the_reference_lacks_is_not_compared_and_what_the_model_lacks_fails():
    only_reference = compared([quantity("a", 5.0)], [])
    assert only_reference.verdicts("model 0") == [FAIL]
    assert only_reference.distance("model 0") == FARTHEST
    only_model = compared([], [quantity("a", 5.0)], failure="the engine crashed")
    assert only_model.verdicts("model 0") == [NOT]
    assert only_model.rows[0].compared["model 0"].note == "the engine crashed"
    assert compared([quantity("a", None, note="unconverged")], [quantity("a", 5.0)]).verdicts("model 0") == [NOT]
    assert compared([], []).rows[0].quantity.name == "whole check"
    for nothing in (only_model, compared([], [])):
        assert not nothing.passes("model 0")
        assert nothing.distance("model 0") is None
        assert nothing.nearest is None


def test_a_pass_needs_everything_that_is_compared():
    reference = [quantity("a", 5.0), quantity("b", None)]
    assert compared(reference, [quantity("a", 5.0), quantity("b", 3.0)]).passes("model 0")
    assert not compared(reference, [quantity("a", 6.0), quantity("b", 3.0)]).passes("model 0")


def energies(zero: float, **values: float | None) -> list[Quantity]:
    return [
        quantity(
            "energy per atom",
            None if value is None else zero + value,
            "eV/atom",
            structure=name,
            order_group="energy of Si",
        )
        for name, value in values.items()
    ]


def test_energies_count_from_the_structure_that_is_lowest_in_the_reference():
    found = compared(energies(-100.0, diamond=0.0, tin=0.30, fcc=0.50), energies(7.0, diamond=0.0, tin=0.31, fcc=0.53))
    verdicts = {row.quantity.structure: row.compared["model 0"].verdict for row in found.rows}
    assert verdicts == {"diamond": NOT, "tin": PASS, "fcc": FAIL}
    values = {row.quantity.structure: row.compared["model 0"].value for row in found.rows}
    assert values == pytest.approx({"diamond": 0.0, "tin": 0.31, "fcc": 0.53})
    assert found.orders[0].compared["model 0"].verdict is PASS
    assert found.orders[0].order == "diamond < tin < fcc"


def test_one_structure_of_a_composition_has_no_energy_to_compare():
    assert compared(energies(-100.0, diamond=0.0), energies(7.0, diamond=0.0)).verdicts("model 0") == [NOT]


def test_a_model_without_the_anchor_fails_the_others():
    found = compared(energies(-100.0, diamond=0.0, tin=0.3), energies(7.0, diamond=None, tin=0.3))
    verdicts = {row.quantity.structure: row.compared["model 0"].verdict for row in found.rows}
    assert verdicts["tin"] is FAIL
    assert found.orders[0].compared["model 0"].verdict is FAIL


def surfaces(**values: float) -> list[Quantity]:
    return [quantity(name, value, "J/m²", "surfaces", order_group="surface energies") for name, value in values.items()]


def test_ranks_count_beyond_ties_alone():
    reference = surfaces(low=1.0, same=1.04, high=1.3)  # a tie is a quarter of 20 %
    found = compared(
        reference, surfaces(low=1.04, same=1.0, high=1.3), surfaces(low=1.0, same=1.31, high=1.3), surfaces(low=1.0)
    )
    order = found.orders[0]
    assert order.order == "low ≈ same < high"
    assert order.pairs == 2
    assert [order.compared[model].value for model in found.models] == [0, 1, 2]
    assert [order.compared[model].verdict for model in found.models] == [PASS, FAIL, FAIL]
    assert order.compared["model 1"].note == "same above high"
    tied = compared(surfaces(low=1.0, same=1.01), surfaces(low=1.0, same=0.9)).orders[0]
    assert tied.compared["model 0"].verdict is NOT
    assert compared(reference, surfaces(low=1.04, same=1.0, high=1.3), tie=0.0).orders[0].compared["model 0"].value == 1


def test_the_nearest_is_the_one_with_the_smallest_mean_deviation():
    reference = [quantity("a", 5.0), quantity("volume per atom", 20.0, "Å³/atom")]
    near, far = ([quantity("a", a), quantity("volume per atom", v, "Å³/atom")] for a, v in ((5.05, 20.0), (5.0, 21.2)))
    found = compared(reference, near, far, [])
    assert [found.distance(model) for model in found.models] == pytest.approx([0.25, 1.0, FARTHEST])
    assert found.nearest == "model 0"
    record = Validation(found, "engine: level", ("relaxation",)).as_dict()
    assert record["conclusion"].startswith("Nearest to the reference: model 0 (")
    assert [row["fail"] for row in record["models"]] == [0, 1, 2]
    assert record["passed"]


def test_structures_keep_to_themselves():
    both = [quantity("a", 5.0, structure="x"), quantity("a", 4.0, structure="y")]
    found = compared(both, [quantity("a", 5.0, structure="x"), quantity("a", 5.0, structure="y")])
    assert [row.compared["model 0"].verdict for row in found.rows] == [PASS, FAIL]
