"""Run one check of one structure with one calculator; failures become results and never end the validation."""

import warnings

from ase import Atoms
from ase.calculators.calculator import Calculator

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.cache import Answer
from al_loop.tools.validation.checks import NamedCheck
from al_loop.tools.validation.relax import answers_of_the_calculator


def run_check(check: NamedCheck, structure: str, atoms: Atoms, calculator: Calculator) -> Answer:
    """Run a check.

    Args:
        check: with its settings.
        structure: its name.
        atoms: not modified.
        calculator: of the model or of the reference.
    """
    try:
        # Warnings are those of optimizers and fits on what a poor model makes of them.
        with warnings.catch_warnings(action="ignore"), answers_of_the_calculator():
            return Answer(tuple(check(structure, atoms.copy(), calculator)))
    except NoAnswerError as error:
        return Answer(failure=str(error))
