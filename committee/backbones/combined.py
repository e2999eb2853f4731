"""Calculators made of others, such as ASE's SumCalculator: what holds for each of their parts."""

from typing import Any


def parts(calculator: Any) -> list[Any]:
    """Return the calculators that a sum is made of, at any depth; the calculator itself if it is no sum."""
    mixer = getattr(calculator, "mixer", None)
    return [calculator] if mixer is None else [part for inner in mixer.calcs for part in parts(inner)]


def forget(calculator: Any) -> None:
    """Make the parts of a sum calculate anew: they do not notice a charge or spin that changed in ``atoms.info``."""
    mixer = getattr(calculator, "mixer", None)
    for part in () if mixer is None else mixer.calcs:
        part.atoms, part.results = None, {}
        forget(part)


def free_energy_eV(calculator: Any) -> float:
    """Return the energy of the last calculation of which forces are the derivative.

    A sum has a free energy only if all of its parts say they have one; here the others count with their energy.

    Raises:
        KeyError: a part has no energy.
    """
    mixer = getattr(calculator, "mixer", None)
    if mixer is not None:
        return float(
            sum(weight * free_energy_eV(part) for weight, part in zip(mixer.weights, mixer.calcs, strict=True))
        )
    results = calculator.results
    return float(results["free_energy"] if "free_energy" in results else results["energy"])
