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
    """How a retry differs from the first attempt."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the calculator that replace those of the first attempt."""


class ASECalculatorSettings(BaseEngineSettings):
    """Any ASE calculator by import path: another code, or a machine-learned teacher in place of DFT."""

    engine: Literal["ase"]
    calculator: str
    """Import path of the calculator class, for example ``ase.calculators.emt.EMT``. Its code is run: name only code
    that you trust."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the calculator."""
    functional: str = ""
    """Functional of the calculator, for example ``PBE``, to compare its level of theory with the foundation's."""
    dispersion: str = ""
    """Dispersion correction of the calculator, for example ``D3(BJ)``."""
    charge_argument: str = ""
    """Argument that takes the total charge of each frame, for example ``charge`` for CP2K and ORCA. The calculator also
    receives the charge as ``atoms.info["charge"]`` and as the sum of the initial charges."""
    multiplicity_argument: str = ""
    """Argument that takes the spin multiplicity of each frame, for example ``mult`` for ORCA."""
    noncollinear_moments: bool = False
    """Whether the calculator takes initial magnetic moments that are vectors (three numbers for each atom). If false,
    such structures are refused."""
    failure_lines: tuple[str, ...] = NOT_CONVERGED
    """Texts that a code prints when it did not converge, which ASE does not always detect. The files that the
    calculator wrote are searched for them."""
    ladder: tuple[ASERetryStrategy, ...] = ()
    """Retry strategies for a calculation that did not converge, in order."""

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
                "package that contains it, or, if it is your own file, add its folder to PYTHONPATH"
            )
        return None
