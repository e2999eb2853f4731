"""Tolerances of quantities, and whether their sign or only differences are meaningful."""

from collections.abc import Callable
from dataclasses import dataclass

from al_loop.config.validation_settings import ToleranceSettings
from al_loop.tools.validation import defects, dimers, elasticity, equation_of_state, relaxation, surfaces
from al_loop.tools.validation.dataset_reference import FRAMES
from al_loop.tools.validation.quantity import Quantity

LENGTHS = {"a", "b", "c"}
VOLUMES = {"Å³/atom", "Å³", "g/cm³"}


@dataclass(frozen=True)
class Tolerance:
    """Tolerance of a deviation.

    Attributes:
        relative: fraction of the reference value.
        absolute: in the quantity's unit; the larger of the two applies.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def around(self, reference: float) -> float:
        """Allowed deviation from a value of the reference, in its unit."""
        return max(self.relative * abs(reference), self.absolute)


def is_relative(quantity: Quantity) -> bool:
    """Whether only differences within the order group are meaningful, as for total energies of two codes."""
    return quantity.check == relaxation.CHECK and quantity.name == relaxation.ENERGY


def has_a_sign(quantity: Quantity) -> bool:
    """Whether the sign is meaningful: that of an elastic constant distinguishes stable from unstable."""
    return quantity.check == elasticity.CHECK


def tolerance_of(quantity: Quantity, settings: ToleranceSettings) -> Tolerance:
    """Return the tolerance that the settings give a quantity: of the first kind that it belongs to.

    Args:
        quantity: of any check.
        settings: the tolerances.
    """
    return next((make(settings) for belongs, make in _KINDS if belongs(quantity)), Tolerance(settings.other))


_KINDS: tuple[tuple[Callable[[Quantity], bool], Callable[[ToleranceSettings], Tolerance]], ...] = (
    (is_relative, lambda s: Tolerance(absolute=s.energy_difference_eV_per_atom)),
    (lambda q: q.check == FRAMES and q.unit == "eV/atom", lambda s: Tolerance(absolute=s.frame_energy_eV_per_atom)),
    (lambda q: q.check == FRAMES and q.unit == "eV/Å", lambda s: Tolerance(absolute=s.frame_force_eV_per_A)),
    (lambda q: q.check == FRAMES and q.unit == "eV/Å³", lambda s: Tolerance(absolute=s.frame_stress_eV_per_A3)),
    (lambda q: q.check == elasticity.CHECK, lambda s: Tolerance(s.elastic_constant, s.elastic_constant_GPa)),
    (lambda q: q.name == equation_of_state.MODULUS, lambda s: Tolerance(s.bulk_modulus)),
    (lambda q: q.check == defects.CHECK, lambda s: Tolerance(s.defect_energy, s.defect_energy_eV)),
    (lambda q: q.check == dimers.CHECK and q.unit == "Å", lambda s: Tolerance(s.dimer_distance)),
    (lambda q: q.check == dimers.CHECK and q.unit == "eV", lambda s: Tolerance(s.dimer_depth)),
    (lambda q: q.unit == surfaces.UNIT, lambda s: Tolerance(s.surface_energy)),
    (lambda q: "neighbours" in q.name, lambda s: Tolerance(s.coordination)),
    (lambda q: q.unit == "°", lambda s: Tolerance(absolute=s.cell_angle_deg)),
    (lambda q: q.unit in VOLUMES, lambda s: Tolerance(s.volume)),
    (lambda q: q.name in LENGTHS and q.unit == "Å", lambda s: Tolerance(s.lattice_constant)),
    (lambda q: q.unit == "Å", lambda s: Tolerance(s.bond_length)),
)
