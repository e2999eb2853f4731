"""Base classes of all engines' settings."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, and values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class RetryStrategy(Settings):
    """One entry of an engine's ``ladder``: how a retry differs from the first attempt.

    It changes how the self-consistent solution is reached, never the level of theory.
    """

    name: str = Field(min_length=1)
    """Name of the attempt in the ledger and the report."""


@dataclass(frozen=True)
class Objection:
    """Why an engine cannot label a structure, known without calculating.

    Attributes:
        about: key of the structure (``file``, ``charge``, ``spin_multiplicity``) or of the engine's settings.
        text: the value received, the value expected and the next step.
    """

    about: str
    text: str


class BaseEngineSettings(Settings, ABC):
    """Settings of every engine."""

    engine: str
    """Name of the engine."""
    cores: int = Field(1, ge=1, le=100_000)
    """Cores of one calculation. Workers times cores never exceed the machine."""
    ladder: tuple[RetryStrategy, ...] = ()
    """What the retries of a calculation that did not converge do differently, in order."""

    @abstractmethod
    def remedy(self) -> str | None:
        """Return None if the engine's library or program is installed, else a sentence with the command to install it.

        Imports nothing, so that every config check can call it.
        """

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """Yield the reasons why the engine cannot label a structure with these settings, without calculating.

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
    """Return a sentence that names a missing Python package and the command that installs it."""
    return f"engine {engine}: the Python package {library} is not installed; install it with: {command}"
