"""An engine that changes in mid-campaign: its labels are told from those before, and what is merely odd is not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT

from al_loop.records import LabelOrigin
from al_loop.stages.train.changed_engine import describe_change, remedy
from al_loop.stages.train.unit_mismatch import unit_mismatches
from committee.checks.compared_labels import ComparedLabel

BEFORE, AFTER = 12, 6


def structure(number: int) -> Atoms:
    """Copper, gold and their alloy of eight atoms, from calm to violent, strained."""
    atoms = bulk("Cu", a=3.8, cubic=True) * (2, 1, 1) if number % 2 else bulk("Cu", cubic=True)
    atoms.symbols[:: 2 + number % 2] = "Au"
    atoms.rattle(0.05 + 0.015 * number, seed=number)
    atoms.set_cell(atoms.cell * (1 + 0.02 * (number % 5 - 2)), scale_atoms=True)
    return atoms


def compared(number: int, softness: float = 0.8, noise: float = 0.15) -> ComparedLabel:
    """An EMT label beside a model that is too soft, errs on each atom, and counts energies from elsewhere."""
    atoms, rng = structure(number), np.random.default_rng(number)
    calculator = EMT()
    calculator.calculate(atoms, ["energy", "forces", "stress"])
    energy, forces, stress = (calculator.results[key] for key in ("energy", "forces", "stress"))
    energy -= 40.0 * len(atoms)

    def judged(values: np.ndarray) -> np.ndarray:
        return softness * values + noise * np.sqrt(np.mean(values**2)) * rng.normal(size=values.shape)

    model_energy = energy + 1000.0 * len(atoms) + 0.02 * len(atoms) * rng.normal()
    return ComparedLabel(atoms, energy, forces, stress, model_energy, judged(forces), judged(stress))


@pytest.fixture(scope="module")
def sound() -> list[ComparedLabel]:
    return [compared(number) for number in range(BEFORE + AFTER)]


def scaled(forces: float = 1.0, energy: float = 1.0, stress: float = 1.0) -> Callable[[ComparedLabel], ComparedLabel]:
    return lambda label: replace(
        label,
        forces_eV_per_A=forces * label.forces_eV_per_A,
        energy_eV=energy * label.energy_eV,
        stress_eV_per_A3=None if label.stress_eV_per_A3 is None else stress * label.stress_eV_per_A3,
    )


def ordered(order: Callable[[np.ndarray], np.ndarray]) -> Callable[[ComparedLabel], ComparedLabel]:
    return lambda label: replace(label, forces_eV_per_A=order(label.forces_eV_per_A))


SLIPS = {
    "Hartree/Å": scaled(forces=1 / units.Hartree, energy=1 / units.Hartree),
    "Hartree/bohr": scaled(forces=units.Bohr / units.Hartree),
    "Ry/Å": scaled(forces=1 / units.Ry, energy=1 / units.Ry),
    "kcal/mol/Å": scaled(forces=units.mol / units.kcal),
    "kJ/mol/Å": scaled(forces=units.mol / units.kJ),
    "the energy is in Hartree": scaled(energy=1 / units.Hartree),
    "the energy is in Ry": scaled(energy=1 / units.Ry),
    "the energy is in kcal/mol": scaled(energy=units.mol / units.kcal),
    "the energy is in kJ/mol": scaled(energy=units.mol / units.kJ),
    "the forces have the wrong sign": scaled(forces=-1),
    "the stress has the wrong sign": scaled(stress=-1),
    "the stress is in GPa": scaled(stress=1 / units.GPa),
    "the stress is in bar": scaled(stress=1e4 / units.GPa),
    "they are in reversed order": ordered(lambda forces: forces[::-1]),
    "the forces belong to other atoms": ordered(lambda forces: np.roll(forces, 1, axis=0)),
}


@pytest.mark.parametrize("name", SLIPS)
def test_labels_after_a_change_are_found_and_named_and_nobody_else(sound: list[ComparedLabel], name: str) -> None:
    found = unit_mismatches([*sound[:BEFORE], *map(SLIPS[name], sound[BEFORE:])])
    assert min(found, default=0) >= BEFORE
    assert len(found) >= AFTER - 1
    assert all(name in words for words in found.values())


@pytest.mark.parametrize("name", SLIPS)
def test_a_single_label_is_found_too(sound: list[ComparedLabel], name: str) -> None:
    found = unit_mismatches([*sound[:BEFORE], SLIPS[name](sound[BEFORE + 1]), *sound[BEFORE + 2 :]])
    assert list(found) == [BEFORE]


def test_a_factor_that_a_model_may_be_off_by_accuses_nobody(sound: list[ComparedLabel]) -> None:
    assert unit_mismatches([*sound[:BEFORE], *map(scaled(forces=units.Bohr), sound[BEFORE:])]) == {}


def contact(label: ComparedLabel, factor: float) -> ComparedLabel:
    """Two atoms meet, and the model misjudges their repulsion by a factor."""
    push = np.zeros_like(label.forces_eV_per_A)
    push[:2] = [[60.0, 0, 0], [-60.0, 0, 0]]
    forces = label.forces_eV_per_A + factor * push
    return replace(label, forces_eV_per_A=forces, model_forces_eV_per_A=label.model_forces_eV_per_A + push)


@pytest.mark.parametrize("factor", [-1.0, 0.04, 23.0, 96.0])
def test_close_contacts_that_the_model_misjudges_accuse_nobody(sound: list[ComparedLabel], factor: float) -> None:
    odd = [contact(label, factor) for label in sound[BEFORE:] if len(label.atoms) > 4]
    assert unit_mismatches([*sound[:BEFORE], *odd]) == {}


def test_sound_labels_under_any_model_are_not_accused(sound: list[ComparedLabel]) -> None:
    assert unit_mismatches(sound) == {}
    for noise in (0.5, 1.0, 3.0):
        worse = [compared(number, softness=0.5, noise=noise) for number in range(BEFORE, BEFORE + AFTER)]
        assert unit_mismatches([*sound[:BEFORE], *worse]) == {}
        assert unit_mismatches([compared(number, noise=noise) for number in range(BEFORE + AFTER)]) == {}


def test_labels_that_all_look_alike_are_for_the_comparison_with_the_foundation(sound: list[ComparedLabel]) -> None:
    assert unit_mismatches([SLIPS["Hartree/bohr"](label) for label in sound]) == {}


def made(workers: str) -> dict[str, LabelOrigin]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return {
        f"frame{n:02d}": LabelOrigin(start + timedelta(minutes=n), f"c/{worker}") for n, worker in enumerate(workers)
    }


@pytest.mark.parametrize(
    ("workers", "slipped", "words"),
    [
        ("a" * 20, range(15, 20), "all 5 labels from label #16 on (of 20, in the order of calculation) look as if"),
        ("a" * 20, [13, 15, 16, 17, 18, 19], "6 of the 7 labels from label #14 on"),
        ("ab" * 10, range(5, 20, 2), "8 labels of b from label #6 on"),
        ("a" * 20, range(0, 20, 3), "7 of the 20 labels from label #1 on"),
        ("a" * 20, [3, 9, 19], ""),
        ("a" * 60, [3, 9, 19, 33], ""),
    ],
)
def test_a_change_is_dated_and_single_accidents_are_none(workers: str, slipped: list[int], words: str) -> None:
    found = describe_change({f"frame{n:02d}": "the forces are in Ry/bohr" for n in slipped}, made(workers))
    assert words in found
    assert bool(found) is bool(words)
    if words:
        assert f"the first of them is frame frame{slipped[0]:02d}, finished 2026-01-01 00:{slipped[0]:02d}" in found


def test_what_to_do_depends_on_whether_the_labels_were_used() -> None:
    assert "align.on_unit_mismatch: leave_out" in remedy(0)
    assert "1 of these labels were used in earlier rounds" in remedy(1)
