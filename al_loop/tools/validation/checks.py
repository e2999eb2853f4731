"""The checks by name, and which are affordable with an engine."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from types import MappingProxyType
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from al_loop.config.keys import nearest
from al_loop.config.validation_settings import ValidationSettings
from al_loop.errors import InputError
from al_loop.tools.validation import (
    defects,
    dimers,
    elasticity,
    equation_of_state,
    interfaces,
    molecular_dynamics,
    relaxation,
    surfaces,
)
from al_loop.tools.validation.quantity import Quantity
from al_loop.utils.content_hash import content_id

FORMAT = 2  # raise it when a check's numbers change, so that kept ones are not taken for new ones
FORCE_TOLERANCE = "force_tolerance_eV_per_A"


@dataclass(frozen=True)
class NamedCheck:
    """A check with its settings.

    Attributes:
        name: as given by the user.
        function: follows the contract ``Check`` and takes settings by keyword.
        with_an_engine: run by default if the reference is an engine.
        settings: keyword arguments.
    """

    name: str
    function: Callable[..., list[Quantity]]
    with_an_engine: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, structure: str, atoms: Atoms, calculator: Calculator) -> list[Quantity]:
        """Run the check with a calculator; failures are raised."""
        found = self.function(structure, atoms, calculator, **self.settings)
        return [_finite(replace(quantity, check=self.name, structure=structure)) for quantity in found]

    @property
    def fingerprint(self) -> str:
        """Of the settings, those left at their defaults included: other settings give other numbers."""
        parameters = inspect.signature(self.function).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
        told = json.dumps({**defaults, **self.settings}, sort_keys=True, default=repr)
        return content_id("check", FORMAT, self.name, told)


def _finite(quantity: Quantity) -> Quantity:
    if quantity.value is None or isfinite(quantity.value):
        return quantity
    return replace(quantity, value=None, note=quantity.note or f"the value is {quantity.value}")


CHECKS: tuple[NamedCheck, ...] = (
    NamedCheck(relaxation.CHECK, relaxation.relaxation, with_an_engine=True),
    NamedCheck(equation_of_state.CHECK, equation_of_state.equation_of_state, with_an_engine=True),
    NamedCheck(elasticity.CHECK, elasticity.elasticity),
    NamedCheck(defects.CHECK, defects.defects),
    NamedCheck(surfaces.CHECK, surfaces.surfaces),
    NamedCheck(interfaces.CHECK, interfaces.interfaces),
    NamedCheck(dimers.CHECK, dimers.dimer_curves),
    NamedCheck(molecular_dynamics.CHECK, molecular_dynamics.molecular_dynamics),
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
    return [_with_given(_with_settings(check, settings), given.get(check.name, {})) for check in chosen]


def _with_given(check: NamedCheck, given: Mapping[str, Any]) -> NamedCheck:
    parameters = inspect.signature(check.function).parameters.values()
    known = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    for name in given:
        if name not in known:
            raise InputError(
                f"checks: {check.name} has no setting {name!r}{nearest(name, known)}; valid: {', '.join(known)}"
            )
    return replace(check, settings={**check.settings, **given}) if given else check


def _with_settings(check: NamedCheck, settings: ValidationSettings) -> NamedCheck:
    if FORCE_TOLERANCE not in inspect.signature(check.function).parameters:
        return check
    return replace(check, settings={**check.settings, FORCE_TOLERANCE: settings.force_tolerance_eV_per_A})
