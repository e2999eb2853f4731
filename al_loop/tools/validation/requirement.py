"""Validation as a promotion criterion: the candidate agrees with the reference within the tolerances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ase import Atoms

from al_loop.config import Config
from al_loop.config.validation_settings import ToleranceSettings
from al_loop.stages.promote.criterion import Criterion
from al_loop.tools.validation.checks import NamedCheck, chosen_checks
from al_loop.tools.validation.comparison import Key, compare
from al_loop.tools.validation.inputs import named_structures
from al_loop.tools.validation.quantity import Values
from al_loop.tools.validation.reference import StoredReference
from al_loop.tools.validation.results import Comparison, Outcome
from committee.calculator import CommitteeCalculator
from committee.potential import CommitteePotential

NAME = "validation"
CANDIDATE = "candidate"
NOT_COMPARED = Outcome.NOT_COMPARED
MOST_NAMED = 3  # quantities


@dataclass(frozen=True)
class RequiredValidation:
    """The validation that a candidate must pass: each check must compare something with the stored reference."""

    structures: Mapping[str, Atoms]
    reference: StoredReference
    checks: Sequence[NamedCheck]
    tolerances: ToleranceSettings


def required_validation(config: Config) -> RequiredValidation | None:
    """Return the requirement of ``promote.validation`` of a config with absolute paths, None without one.

    Raises:
        InputError: a file that cannot be used any more.
    """
    gate = config.promote.validation
    if gate is None:
        return None
    checks = chosen_checks(gate.checks, config.validation, with_an_engine=False)
    structures, reference = named_structures(gate.structures), StoredReference(gate.reference)
    return RequiredValidation(structures, reference, checks, config.validation.tolerances)


def without_reference(required: RequiredValidation) -> list[str]:
    """Return the checks without any reference value, which no candidate could pass."""
    missing = []
    for check in required.checks:
        results = [required.reference.values(check, name, atoms) for name, atoms in required.structures.items()]
        if not any(values.any_known for values in results):
            missing.append(f"{check.name} ({results[0].failure or 'no values'})")
    return missing


def validated(candidate: CommitteePotential, required: RequiredValidation) -> Criterion:
    """Everything that the required checks compare is within its tolerance, and each of them compares something."""
    calculator = CommitteeCalculator(candidate)
    reference: dict[Key, Values] = {}
    own: dict[Key, Values] = {}
    for check in required.checks:
        for name, atoms in required.structures.items():
            known = reference[check.name, name] = required.reference.values(check, name, atoms)
            own[check.name, name] = check.run(atoms, calculator) if known.any_known else Values()
    comparison = compare(reference, {CANDIDATE: own}, required.tolerances)
    empty = [check.name for check in required.checks if {*comparison.verdicts(CANDIDATE, check.name)} <= {NOT_COMPARED}]
    failed = comparison.verdicts(CANDIDATE).count(Outcome.FAIL)
    return Criterion(NAME, not (failed or empty), float(failed), 0.0, _sentence(comparison, empty, required))


def _sentence(comparison: Comparison, empty: Sequence[str], required: RequiredValidation) -> str:
    verdicts = [verdict for verdict in comparison.verdicts(CANDIDATE) if verdict is not NOT_COMPARED]
    rows = [(row, row.compared[CANDIDATE]) for row in comparison.rows]
    failed = [(row, compared) for row, compared in rows if compared.verdict is Outcome.FAIL]
    failed.sort(key=lambda pair: -(pair[1].deviation or 0.0))
    text = (
        f"{verdicts.count(Outcome.FAIL)} of {len(verdicts)} comparisons with {required.reference.level} are out of "
        f"tolerance (none may) in {', '.join(check.name for check in required.checks)} of "
        f"{', '.join(required.structures)}"
    )
    for row, compared in failed[:MOST_NAMED]:
        quantity = row.quantity
        value = compared.note if compared.value is None else f"{compared.value:.4g}"
        text += (
            f"; {quantity.name} of {quantity.structure}: {value}, the reference {quantity.value:.4g} ± "
            f"{row.tolerance:.2g} {quantity.unit}".rstrip()
        )
    for order in comparison.orders:
        if order.compared[CANDIDATE].verdict is Outcome.FAIL:
            text += f"; order of {order.group}: {order.compared[CANDIDATE].note}"
    if empty:
        text += f"; nothing could be compared in {', '.join(empty)}"
    return text
