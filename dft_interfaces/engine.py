"""The contract of a DFT engine."""

from collections.abc import Collection, Sequence
from typing import Any, Protocol, runtime_checkable

from ase import Atoms

from dft_interfaces.label import Label, LevelOfTheory


@runtime_checkable
class DFTEngine(Protocol):
    """Labels structures.

    Attributes:
        name: the engine's name in the config.
        level_of_theory: the level of theory of its labels.
        properties: subset of ``energy``, ``forces``, ``stress`` that a label holds.
        cores: how many cores one calculation uses.
        ladder: the retry strategies, in order; each is a ``RetryStrategy`` of this engine's settings.
    """

    name: str
    level_of_theory: LevelOfTheory
    properties: frozenset[str]
    cores: int
    ladder: Sequence[Any]

    def label(self, atoms: Atoms, strategy: Any = None) -> Label:
        """Calculate one structure; never modifies it and never raises for a calculation that fails.

        Total charge and spin multiplicity are read from ``atoms.info["charge"]`` (default 0) and
        ``atoms.info["spin"]`` (default: the lowest that the electron count allows).

        Args:
            atoms: the structure.
            strategy: one of ``ladder``; by default the calculation runs as the settings describe it.
        """
        ...

    def estimate_s(self, atoms: Atoms) -> float:
        """Estimate the wall time of a label, s: the right order of magnitude on an ordinary core."""
        ...

    def unknown_elements(self, symbols: Collection[str]) -> list[str]:
        """Return the elements that it cannot calculate, as far as that is known without a calculation."""
        ...
