import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet

from committee import names
from committee.calculator import CommitteeCalculator
from committee.uncertainty.score import mean_of_largest
from committee.uncertainty.screen import ForceScreen


def test_results_carry_the_contracts_names_and_shapes(trained, make_crystal):
    atoms = make_crystal(3)
    atoms.calc = CommitteeCalculator(trained, "exact")
    assert atoms.get_potential_energy() == atoms.calc.results[names.FREE_ENERGY]
    n, members = len(atoms), trained.settings.members
    shapes = {
        names.FORCES: (n, 3),
        names.STRESS: (6,),
        names.FORCES_UNCERTAINTY: (n, 3),
        names.STRESS_UNCERTAINTY: (6,),
        names.ENERGY_ENSEMBLE: (members,),
        names.FORCES_ENSEMBLE: (members, n, 3),
        names.STRESS_ENSEMBLE: (members, 6),
        names.LATENT_DISTANCE: (n,),
    }
    for name, shape in shapes.items():
        assert atoms.calc.get_property(name).shape == shape
    np.testing.assert_allclose(
        atoms.calc.results[names.STRESS_UNCERTAINTY], atoms.calc.results[names.STRESS_ENSEMBLE].std(0, ddof=1)
    )


def test_a_molecule_has_no_stress(trained, make_methanol):
    atoms = make_methanol(3)
    atoms.calc = CommitteeCalculator(trained, "exact")
    assert atoms.get_forces().shape == (6, 3)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_energy_mode_leaves_force_uncertainty_out(trained, make_methanol):
    atoms = make_methanol(3)
    atoms.calc = CommitteeCalculator(trained)
    atoms.get_forces()
    assert names.ENERGY_UNCERTAINTY in atoms.calc.results
    assert names.FORCES_UNCERTAINTY not in atoms.calc.results


def test_moved_atoms_are_computed_again(trained, make_methanol):
    atoms = make_methanol(3)
    atoms.calc = CommitteeCalculator(trained)
    before = atoms.get_potential_energy()
    atoms.positions[0] += 0.05
    assert atoms.get_potential_energy() != before


def trajectory(atoms, steps: int) -> list[dict]:
    """Results of each step of a short molecular dynamics run."""
    atoms.set_masses([20.0] * len(atoms))
    atoms.set_velocities(np.random.default_rng(0).normal(size=atoms.positions.shape) * 0.03)
    results: list[dict] = []
    dynamics = VelocityVerlet(atoms, timestep=0.5 * units.fs)
    dynamics.attach(lambda: results.append(dict(atoms.calc.results)))
    dynamics.run(steps)
    return results


@pytest.mark.parametrize("every", [1, 3])
def test_screened_dynamics_computes_force_uncertainties_where_the_screen_asks(trained, make_crystal, every):
    atoms = make_crystal(3)
    sigma = trained.predict([atoms], "exact")[0].atomic_force_uncertainty.max()
    screen = ForceScreen(3 * sigma, window=5, seed=1)
    atoms.calc = CommitteeCalculator(trained, screen=screen, screen_every=every)
    steps = trajectory(atoms, 30)
    exact = [step for step, results in enumerate(steps) if names.FORCES_UNCERTAINTY in results]
    assert exact[0] == 0
    assert screen.checks == 30 // every + 1
    assert screen.confirmations == len(exact) < screen.checks
    assert all(step % every == 0 for step in exact)
    name = names.SCREEN_BOUND
    bounds = [results[name] for results in steps if name in results]
    assert bounds
    assert all(bound.shape == (8,) and mean_of_largest(bound**2) <= 1 for bound in bounds)


def test_screened_dynamics_measures_every_check_above_the_threshold(trained, make_crystal):
    atoms = make_crystal(3)
    sigma = trained.predict([atoms], "exact")[0].atomic_force_uncertainty.max()
    screen = ForceScreen(0.3 * sigma)
    atoms.calc = CommitteeCalculator(trained, screen=screen)
    steps = trajectory(atoms, 5)
    assert all(names.FORCES_UNCERTAINTY in results for results in steps)
    assert screen.confirmations == screen.checks == 6


def test_another_system_or_a_jump_starts_the_screen_anew(trained, make_crystal, make_methanol):
    screen = ForceScreen(100.0)
    calculator = CommitteeCalculator(trained, screen=screen, screen_every=2)
    atoms = make_crystal(3)
    for expected, change in ((1, None), (1, 0.01), (1, 0.02), (2, 1.5), (2, 0.01)):
        atoms.positions[0, 0] += change or 0.0
        calculator.get_property(names.FORCES, atoms)
        assert screen.confirmations == expected
    calculator.get_property(names.FORCES, make_methanol(1))
    assert screen.confirmations == 3


def test_a_force_uncertainty_asked_for_by_name_is_computed(trained, make_crystal):
    screen = ForceScreen(100.0)
    atoms = make_crystal(3)
    atoms.calc = CommitteeCalculator(trained, screen=screen, screen_every=10)
    for step in range(4):
        atoms.positions[0, 0] += 0.01
        atoms.get_forces()
        assert (names.FORCES_UNCERTAINTY in atoms.calc.results) == (step == 0)
    sigma = atoms.calc.get_property(names.FORCES_UNCERTAINTY, atoms)
    np.testing.assert_array_equal(sigma, trained.predict([atoms], "exact")[0].forces_uncertainty)
    assert screen.checks == screen.confirmations == 2


def test_a_screen_goes_with_mode_energy_only(trained):
    with pytest.raises(ValueError, match="a screen needs uncertainty='energy', received 'exact'"):
        CommitteeCalculator(trained, "exact", screen=ForceScreen(1.0))
    with pytest.raises(ValueError, match="at least 1 step, received 0"):
        CommitteeCalculator(trained, screen=ForceScreen(1.0), screen_every=0)


def test_a_held_answer_is_the_plain_one_and_gives_its_spread_later(trained, make_crystal) -> None:
    calculator, plain = CommitteeCalculator(trained), CommitteeCalculator(trained, "exact")
    atoms = make_crystal(40)
    calculator.hold = True
    forces = calculator.get_property("forces", atoms)
    np.testing.assert_array_equal(forces, plain.get_property("forces", atoms))
    held = calculator.held(atoms)
    assert held is not None
    calls = trained.backbone.calls
    np.testing.assert_allclose(held.exact().forces_uncertainty, plain.results["forces_uncertainty"], rtol=1e-12)
    assert trained.backbone.calls == calls
    atoms.positions[0, 0] += 0.01
    assert calculator.held(atoms) is None
