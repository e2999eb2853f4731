import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError

from committee import names
from committee.calculator import CommitteeCalculator


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
