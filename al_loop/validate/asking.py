"""One check of one structure with one calculator: whatever goes wrong is an answer, never the end of the validation."""

import warnings

from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from al_loop.validate.answer import Answer
from al_loop.validate.checks import NamedCheck
from al_loop.validate.relaxing import NoAnswerError

LONGEST_MESSAGE = 200


def asked(check: NamedCheck, structure: str, atoms: Atoms, calculator: Calculator) -> Answer:
    """Make a check.

    Args:
        check: with its settings.
        structure: its name.
        atoms: not modified.
        calculator: of the model or of the reference.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of optimizers and fits on what a poor model makes of them
            return Answer(tuple(check(structure, atoms.copy(), calculator)))
    except NoAnswerError as error:
        return Answer(failure=str(error))
    except PropertyNotImplementedError:
        return Answer(failure="the calculator does not give what the check needs (stress, most often)")
    except Exception as error:  # noqa: BLE001 - a foreign calculator raises anything, and its other answers still count
        first = (str(error).strip() or "no message").splitlines()[0]
        return Answer(failure=f"{type(error).__name__}: {first[:LONGEST_MESSAGE]}")
