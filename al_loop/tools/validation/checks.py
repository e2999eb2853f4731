"""The checks by name, how one is run, and which are affordable with an engine."""

import inspect
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from types import MappingProxyType
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from al_loop.config.keys import nearest
from al_loop.config.validation_settings import ValidationSettings
from al_loop.errors import InputError, NoAnswerError
from al_loop.tools.validation.defects import defects
from al_loop.tools.validation.dimers import dimer_curves
from al_loop.tools.validation.elasticity import elasticity
from al_loop.tools.validation.equation_of_state import equation_of_state
from al_loop.tools.validation.interfaces import interfaces
from al_loop.tools.validation.molecular_dynamics import molecular_dynamics
from al_loop.tools.validation.quantity import Quantity, Values
from al_loop.tools.validation.relax import calculator_errors
from al_loop.tools.validation.relaxation import relaxation
from al_loop.tools.validation.surfaces import surfaces
from al_loop.utils.content_hash import content_id

FORMAT = 2  # raise it when a check's numbers change, so that kept ones are not taken for new ones
FORCE_TOLERANCE = "force_tolerance_eV_per_A"


@dataclass(frozen=True)
class NamedCheck:
    """A check with its settings.

    Attributes:
        name: as given by the user.
        function: takes a structure (not modified), a calculator, and settings by keyword; returns quantities, or
            raises ``NoAnswerError``.
        with_an_engine: run by default if the reference is an engine.
        settings: keyword arguments.
    """

    name: str
    function: Callable[..., list[Quantity]]
    with_an_engine: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def run(self, atoms: Atoms, calculator: Calculator) -> Values:
        """Run the check; failures become results and never end a validation."""
        try:
            # Warnings are those of optimizers and fits on what a poor model makes of them.
            with warnings.catch_warnings(action="ignore"), calculator_errors():
                return Values(tuple(map(_finite, self.function(atoms.copy(), calculator, **self.settings))))
        except NoAnswerError as error:
            return Values(failure=str(error))

    @property
    def defaults(self) -> dict[str, Any]:
        """All settings of the check at their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}

    @property
    def fingerprint(self) -> str:
        """Of the settings, those left at their defaults included: other settings give other numbers."""
        settings = json.dumps({**self.defaults, **self.settings}, sort_keys=True, default=repr)
        return content_id("check", FORMAT, self.name, settings)


def _finite(quantity: Quantity) -> Quantity:
    if quantity.value is None or isfinite(quantity.value):
        return quantity
    return replace(quantity, value=None, note=quantity.note or f"the value is {quantity.value}")


CHECKS: tuple[NamedCheck, ...] = (
    NamedCheck("relaxation", relaxation, with_an_engine=True),
    NamedCheck("equation-of-state", equation_of_state, with_an_engine=True),
    NamedCheck("elasticity", elasticity),
    NamedCheck("defects", defects),
    NamedCheck("surfaces", surfaces),
    NamedCheck("interfaces", interfaces),
    NamedCheck("dimers", dimer_curves),
    NamedCheck("molecular-dynamics", molecular_dynamics),
)


def chosen_checks(
    names: Sequence[str],
    settings: ValidationSettings,
    *,
    with_an_engine: bool,
    given: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> list[NamedCheck]:
    """Return the checks to run, with the settings of the config.

    Args:
        names: requested checks; empty for all that are affordable.
        settings: the config's block.
        with_an_engine: the reference pays for each calculation.
        given: settings by the name of a check, which take precedence over the config's.

    Raises:
        InputError: a setting that a check does not have.
    """
    chosen = [c for c in CHECKS if c.name in names] or [c for c in CHECKS if c.with_an_engine or not with_an_engine]
    return [_configured(check, settings, given.get(check.name, {})) for check in chosen]


def _configured(check: NamedCheck, settings: ValidationSettings, given: Mapping[str, Any]) -> NamedCheck:
    known = list(check.defaults)
    for name in given:
        if name not in known:
            raise InputError(
                f"checks: {check.name} has no setting {name!r}{nearest(name, known)}; valid: {', '.join(known)}"
            )
    own = {FORCE_TOLERANCE: settings.force_tolerance_eV_per_A} if FORCE_TOLERANCE in known else {}
    return replace(check, settings={**own, **given})
