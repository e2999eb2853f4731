import numpy as np
import pytest
from ase.build import molecule

from al_loop.records import LabelledFrame, Role
from al_loop.stages.evaluate.errors import evaluate
from committee import CommitteePotential, SevenNetSettings, load_backbone
from committee.model.reference_shifts import ReferenceShifts
from dft_interfaces.label import Label, LabelStatus

PLANTED_EV = {1: -13.0, 6: -1030.0, 8: -2040.0}
FORCE_ERROR = 0.25  # eV/Å on every component
ENERGY_ERRORS = (0.3, -0.1, 0.1)  # eV


@pytest.fixture(scope="module")
def foundation():
    return CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))


@pytest.fixture(scope="module")
def frames(foundation):
    """Labels that differ from the foundation by planted shifts and planted errors."""
    kinds = (("CH3OH", Role.TEST), ("CH3OH", Role.CALIBRATION), ("H2O", Role.NEVER_TRAINED))
    return [frame(foundation, i, name, role, ENERGY_ERRORS[i]) for i, (name, role) in enumerate(kinds)]


def frame(foundation, number, name, role, energy_error):
    atoms = molecule(name)
    atoms.rattle(0.05, seed=number)
    (prediction,) = foundation.predict([atoms])
    label = Label(
        LabelStatus.CONVERGED,
        "level",
        prediction.energy + sum(PLANTED_EV[z] for z in atoms.numbers) + energy_error,
        prediction.forces + FORCE_ERROR,
    )
    return LabelledFrame(f"frame{number}", atoms, role, name, f"{name}/0", label=label)


def with_shifts(foundation):
    return CommitteePotential(
        foundation.backbone,
        foundation.settings,
        foundation.heads,
        None,
        ReferenceShifts(PLANTED_EV),
        foundation.provenance,
    )


def test_force_errors_are_those_planted_and_roles_are_kept_apart(foundation, frames):
    evaluation = evaluate(frames, with_shifts(foundation), frozenset({"CH4O"}))
    test = evaluation.figures(evaluation.has_role(Role.TEST))
    assert test.frames == 1
    assert test.force_mae_foundation == pytest.approx(FORCE_ERROR, abs=1e-5)
    assert test.force_mae_served == pytest.approx(FORCE_ERROR, abs=1e-5)
    np.testing.assert_allclose(evaluation.max_force_error(), FORCE_ERROR * 3**0.5, atol=1e-5)
    assert evaluation.figures(evaluation.is_system("ethanol")) is None


def test_energies_of_known_compositions_are_compared_above_the_shifts(foundation, frames):
    evaluation = evaluate(frames, with_shifts(foundation), frozenset({"CH4O"}))
    test = evaluation.figures(evaluation.has_role(Role.TEST))
    assert test.energy_mae_foundation == pytest.approx(0.3 / 6, abs=1e-5)
    assert test.energy_mae_served == pytest.approx(0.3 / 6, abs=1e-5)


def test_energies_of_an_unknown_composition_are_compared_among_themselves(foundation, frames):
    evaluation = evaluate(frames, foundation, frozenset())
    methanol = evaluation.is_system("CH3OH")
    errors = (evaluation.energy_foundation - evaluation.energy_dft)[methanol]
    np.testing.assert_allclose(errors, [-0.2 / 6, 0.2 / 6], atol=1e-4)
    assert evaluation.figures(methanol).energy_mae_served == pytest.approx(0.2 / 6, abs=1e-4)


def test_an_untrained_committee_is_sure_of_nothing_it_could_say(foundation, frames):
    evaluation = evaluate(frames, foundation, frozenset())
    assert evaluation.forces_served.tolist() == evaluation.forces_foundation.tolist()
    assert not evaluation.forces_uncertainty.any()
    assert np.isnan(evaluation.atom_latent_distance).all()
