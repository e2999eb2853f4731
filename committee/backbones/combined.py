"""Combined calculators such as ASE's SumCalculator: operations on each of their parts."""

from typing import Any


def parts(calculator: Any) -> list[Any]:
    """Return the parts of a sum of calculators, at any depth; the calculator itself if it is no sum."""
    mixer = getattr(calculator, "mixer", None)
    return [calculator] if mixer is None else [part for inner in mixer.calcs for part in parts(inner)]


def forget(calculator: Any) -> None:
    """Clear the results of a sum's parts: they do not detect a changed charge or spin in ``atoms.info``."""
    mixer = getattr(calculator, "mixer", None)
    for part in () if mixer is None else mixer.calcs:
        part.atoms, part.results = None, {}
        forget(part)


def free_energy_eV(calculator: Any) -> float:
    """Return the energy of the last calculation whose derivative the forces are.

    ASE's sum has a free energy only if all parts have one; here the energy replaces it for the other parts.

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
