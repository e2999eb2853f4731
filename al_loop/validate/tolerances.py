"""How far a quantity may be from the reference's, and when two of the reference's values have an order."""

from collections.abc import Callable
from dataclasses import dataclass

from al_loop.config.validation_settings import ToleranceSettings
from al_loop.validate import elasticity, equation_of_state, relaxation
from al_loop.validate.dataset_reference import FRAMES
from al_loop.validate.quantity import Quantity

_FRAME_ERRORS: dict[str, Callable[[ToleranceSettings], float]] = {
    "eV/atom": lambda settings: settings.frame_energy_eV_per_atom,
    "eV/Å": lambda settings: settings.frame_force_eV_per_A,
    "eV/Å³": lambda settings: settings.frame_stress_eV_per_A3,
}
LENGTHS = {"a", "b", "c"}


@dataclass(frozen=True)
class Tolerance:
    """What a deviation is held against.

    Attributes:
        relative: share of the reference's value.
        absolute: in the quantity's unit; the larger of the two counts.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def around(self, reference: float) -> float:
        """Allowed deviation from a value of the reference, in its unit."""
        return max(self.relative * abs(reference), self.absolute)


def tolerance_of(quantity: Quantity, settings: ToleranceSettings) -> Tolerance:
    """Return the tolerance that the settings give a quantity.

    Args:
        quantity: of any check.
        settings: the tolerances.
    """
    special = _of_the_check(quantity, settings)
    if special is not None:
        return special
    if quantity.unit == "°":
        return Tolerance(absolute=settings.cell_angle_deg)
    if quantity.unit in {"Å³/atom", "Å³", "g/cm³"}:
        return Tolerance(settings.volume)
    if quantity.unit == "Å":
        return Tolerance(settings.lattice_constant if quantity.name in LENGTHS else settings.bond_length)
    return Tolerance(settings.other)


def is_relative(quantity: Quantity) -> bool:
    """Whether only differences within the order group mean anything: energies of two codes have no common zero."""
    return quantity.check == relaxation.CHECK and quantity.name == relaxation.ENERGY


def has_a_sign(quantity: Quantity) -> bool:
    """Whether the sign itself means something: that of an elastic constant tells stable from unstable."""
    return quantity.check == elasticity.CHECK


def _of_the_check(quantity: Quantity, settings: ToleranceSettings) -> Tolerance | None:
    if is_relative(quantity):
        return Tolerance(absolute=settings.energy_difference_eV_per_atom)
    if quantity.check == equation_of_state.CHECK and quantity.name == equation_of_state.MODULUS:
        return Tolerance(settings.bulk_modulus)
    if quantity.check == elasticity.CHECK:
        return Tolerance(settings.elastic_constant, settings.elastic_constant_GPa)
    if quantity.check == FRAMES:
        return Tolerance(absolute=_FRAME_ERRORS[quantity.unit](settings))
    return None
