"""The committee's answer on a frame that is written to a file, under the names that the field uses."""

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from committee import names
from committee.prediction import Prediction


def put_answer(frame: Atoms, answer: Prediction) -> None:
    """Attach energy and forces as results, uncertainties and latent distances as info and arrays."""
    frame.calc = SinglePointCalculator(frame, energy=answer.energy, forces=answer.forces)
    frame.info[names.ENERGY_UNCERTAINTY] = answer.energy_uncertainty
    if answer.forces_uncertainty is not None:
        frame.arrays[names.FORCES_UNCERTAINTY] = answer.forces_uncertainty
    if answer.latent_distance is not None:
        frame.arrays[names.LATENT_DISTANCE] = answer.latent_distance
