"""Settings of engine ase."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Literal

from ase import Atoms
from pydantic import Field

from dft_interfaces.settings.base import BaseEngineSettings, Objection, RetryStrategy

NOT_CONVERGED = (
    "SCF run NOT converged",  # CP2K
    "SCF NOT CONVERGED",  # ORCA
    "SCC is NOT converged",  # DFTB+
    "convergence NOT achieved",  # Quantum ESPRESSO
    "Calculation failed to converge",  # NWChem
    "SCF_NOT_CONV",  # SIESTA
)


class ASERetryStrategy(RetryStrategy):
    """How a retry differs."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the calculator in place of those of the first attempt."""


class ASECalculatorSettings(BaseEngineSettings):
    """Any ASE calculator by import path: other codes, or a machine-learned teacher in place of DFT."""

    engine: Literal["ase"]
    calculator: str
    """Import path of the calculator class, for example ``ase.calculators.emt.EMT``. It runs code: name only yours."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the calculator."""
    functional: str = ""
    """What the calculator solves, for example ``PBE``; lets the level of theory be compared with the foundation's."""
    dispersion: str = ""
    """For example ``D3(BJ)``."""
    charge_argument: str = ""
    """Argument that takes the total charge of each frame, for example ``charge`` for CP2K and ORCA. Whatever its name,
    the charge also reaches the calculator as ``atoms.info["charge"]`` and as the sum of the initial charges."""
    multiplicity_argument: str = ""
    """Argument that takes the spin multiplicity of each frame, for example ``mult`` for ORCA."""
    noncollinear_moments: bool = False
    """The calculator takes initial magnetic moments that are vectors (three numbers for each atom), else refused."""
    failure_lines: tuple[str, ...] = NOT_CONVERGED
    """Text that a code prints when it did not converge, which ASE does not always notice. Looked for in the files that
    a calculator has written."""
    ladder: tuple[ASERetryStrategy, ...] = ()
    """What the retries of a calculation that did not converge do differently, in order."""

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """See ``BaseEngineSettings.objections``."""
        if not self.noncollinear_moments:
            yield from super().objections(atoms)

    def remedy(self) -> str | None:
        """See ``BaseEngineSettings.remedy``."""
        library, dot, _ = self.calculator.partition(".")
        if dot and library.isidentifier() and find_spec(library) is None:
            return (
                f"engine ase: Python finds no package {library} for the calculator {self.calculator}: install the "
                "package that brings it, or, if it is a file of your own, put its folder on PYTHONPATH"
            )
        return None
