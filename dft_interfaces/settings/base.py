"""What the settings of all engines share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Unknown keys are errors; settings do not change after they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class RetryStrategy(Settings):
    """One step of an engine's ladder: what a retry does differently.

    A strategy changes how the self-consistent solution is reached, never what is solved: the level of theory stays.
    """

    name: str = Field(min_length=1)
    """What the attempt is called in the ledger and the report."""


@dataclass(frozen=True)
class Objection:
    """Why an engine cannot label a structure, known without calculating.

    Attributes:
        about: key of the structure (``file``, ``charge``, ``spin_multiplicity``) or of the engine's settings.
        text: what was received, what was expected and what to do.
    """

    about: str
    text: str


class BaseEngineSettings(Settings, ABC):
    """What every engine's block has."""

    engine: str
    """Which engine."""
    cores: int = Field(1, ge=1, le=100_000)
    """Cores of one calculation. Workers times cores never exceed the machine."""

    @abstractmethod
    def remedy(self) -> str | None:
        """Return None if the engine's library or program is there, else one sentence with the command that mends it.

        Looks only at what is installed and imports nothing, so that it is cheap enough for every config check.
        """

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """Yield what keeps the engine from labelling a structure at these settings; costs nothing.

        Args:
            atoms: the structure, with ``charge`` and ``spin`` in ``atoms.info``.
        """
        if atoms.has("initial_magmoms") and atoms.get_initial_magnetic_moments().ndim > 1:
            yield Objection(
                "initial_magnetic_moments",
                f"received non-collinear moments (three numbers for each atom), which engine {self.engine} does not "
                "calculate: give one number in µB for each atom, or engine ase, a calculator that takes vectors and "
                "noncollinear_moments: true",
            )


def missing(engine: str, library: str, command: str) -> str:
    """Return the sentence about a Python package that is not installed."""
    return f"engine {engine}: the Python package {library} is not installed; install it with: {command}"
