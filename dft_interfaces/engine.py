"""The contract of a DFT engine."""

from typing import Protocol, runtime_checkable

from ase import Atoms

from dft_interfaces.label import Label, LevelOfTheory


@runtime_checkable
class DFTEngine(Protocol):
    """Labels structures.

    Attributes:
        name: the engine's name in the config.
        level_of_theory: what its numbers mean.
        properties: subset of ``energy``, ``forces``, ``stress`` that a label holds.
    """

    name: str
    level_of_theory: LevelOfTheory
    properties: frozenset[str]

    def label(self, atoms: Atoms) -> Label:
        """Calculate one structure; never modifies it and never raises for a calculation that fails.

        Total charge and spin multiplicity are read from ``atoms.info["charge"]`` (default 0) and
        ``atoms.info["spin"]`` (default: the lowest that the electron count allows).
        """
        ...
