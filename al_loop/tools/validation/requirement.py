"""Validation as a promotion criterion: the candidate agrees with the reference within the tolerances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ase import Atoms

from al_loop.config import Config
from al_loop.config.validation_settings import ToleranceSettings
from al_loop.stages.promote.criterion import Criterion
from al_loop.tools.validation.cache import Answer
from al_loop.tools.validation.checks import NamedCheck, chosen_checks
from al_loop.tools.validation.comparison import Answers, Comparison, Verdict, compare
from al_loop.tools.validation.inputs import named_structures
from al_loop.tools.validation.reference import StoredReference
from al_loop.tools.validation.run_check import run_check
from committee.calculator import CommitteeCalculator
from committee.potential import CommitteePotential

NAME = "validation"
CANDIDATE = "candidate"
TOLD = 3  # quantities that are named


@dataclass(frozen=True)
class RequiredValidation:
    """The validation that a candidate must pass.

    Attributes:
        structures: by name.
        reference: written by an earlier validation.
        checks: with their settings, each of which must compare something.
        tolerances: of the comparison.
    """

    structures: Mapping[str, Atoms]
    reference: StoredReference
    checks: Sequence[NamedCheck]
    tolerances: ToleranceSettings


def required_validation(config: Config) -> RequiredValidation | None:
    """Return the requirement of ``promote.validation``, None without one.

    Args:
        config: with absolute paths.

    Raises:
        InputError: a file that cannot be used any more.
    """
    gate = config.promote.validation
    if gate is None:
        return None
    checks = chosen_checks(gate.checks, config.validation, with_an_engine=False)
    structures, reference = named_structures(gate.structures), StoredReference(gate.reference)
    return RequiredValidation(structures, reference, checks, config.validation.tolerances)


def unanswered(required: RequiredValidation) -> list[str]:
    """Return the checks without any reference value, which no candidate could pass."""
    missing = []
    for check in required.checks:
        answers = [required.reference.answer(check, name, atoms) for name, atoms in required.structures.items()]
        if not any(quantity.value is not None for answer in answers for quantity in answer.quantities):
            missing.append(f"{check.name} ({answers[0].failure or 'no values'})")
    return missing


def validated(candidate: CommitteePotential, required: RequiredValidation) -> Criterion:
    """Everything that the required checks compare is within its tolerance, and each of them compares something.

    Args:
        candidate: the newly trained committee.
        required: structures, reference and checks.
    """
    calculator = CommitteeCalculator(candidate)
    answers = Answers((CANDIDATE,), of_models={CANDIDATE: {}})
    for check in required.checks:
        for name, atoms in required.structures.items():
            key = check.name, name
            known = required.reference.answer(check, name, atoms).of_structure(name)
            answers.reference[key] = known
            said = run_check(check, name, atoms, calculator) if known.says_something else Answer()
            answers.of_models[CANDIDATE][key] = said
    comparison = compare(answers, required.tolerances)
    silent = [check.name for check in required.checks if not _compares(comparison, check.name)]
    failed = comparison.verdicts(CANDIDATE).count(Verdict.FAIL)
    return Criterion(NAME, not (failed or silent), float(failed), 0.0, _sentence(comparison, silent, required))


def _compares(comparison: Comparison, check: str) -> bool:
    return any(verdict is not Verdict.NOT_COMPARED for verdict in comparison.verdicts(CANDIDATE, check))


def _sentence(comparison: Comparison, silent: Sequence[str], required: RequiredValidation) -> str:
    verdicts = [verdict for verdict in comparison.verdicts(CANDIDATE) if verdict is not Verdict.NOT_COMPARED]
    failed = [(row, judged) for row in comparison.rows if (judged := row.judged[CANDIDATE]).verdict is Verdict.FAIL]
    failed.sort(key=lambda pair: -(pair[1].deviation or 0.0))
    text = (
        f"{verdicts.count(Verdict.FAIL)} of {len(verdicts)} comparisons with {required.reference.level} are out of "
        f"tolerance (none may) in {', '.join(check.name for check in required.checks)} of "
        f"{', '.join(required.structures)}"
    )
    for row, judged in failed[:TOLD]:
        quantity = row.quantity
        value = judged.note if judged.value is None else f"{judged.value:.4g}"
        text += (
            f"; {quantity.name} of {quantity.structure}: {value}, the reference {quantity.value:.4g} ± "
            f"{row.tolerance:.2g} {quantity.unit}".rstrip()
        )
    for order in comparison.orders:
        if order.judged[CANDIDATE].verdict is Verdict.FAIL:
            text += f"; order of {order.group}: {order.judged[CANDIDATE].note}"
    if silent:
        text += f"; nothing could be compared in {', '.join(silent)}"
    return text
