"""An engine whose accidents stay its own: a crash, a hang or a full memory ends one calculation, not the worker."""

import time
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Any, Self

from ase import Atoms

from dft_interfaces.errors import EngineNotInstalledError
from dft_interfaces.failures import EngineFailureError
from dft_interfaces.files.atoms_json import atoms_as_dict
from dft_interfaces.files.label_json import label_from_dict
from dft_interfaces.foreign import reading
from dft_interfaces.isolation.engine_process import EngineProcess
from dft_interfaces.label import Failure, Label, LabelStatus, LevelOfTheory
from dft_interfaces.settings import EngineSettings, LimitSettings
from dft_interfaces.settings.base import RetryStrategy


class IsolatedEngine:
    """A ``DFTEngine`` that calculates in a process of its own, which is built once and replaced when it dies.

    A calculation that hangs, crashes, is killed or uses too much becomes a failed label with its kind and the last
    lines that were printed; the programs it had started end with it. They end too when this process does, even by
    kill -9.

    Args:
        settings: the engine's block of the config.
        limits: what one calculation may use.

    Raises:
        EngineNotInstalledError: the engine's library is missing.
        EngineSettingsError: settings that the engine cannot carry out.
        EngineFailureError: the process ended before the engine was built.
    """

    def __init__(self, settings: EngineSettings, limits: LimitSettings | None = None) -> None:
        remedy = settings.remedy()
        if remedy is not None:
            raise EngineNotInstalledError(remedy)
        self._settings = settings
        self._limits = limits or LimitSettings()
        self._process = EngineProcess(self._settings, self._limits)
        described = self._process.description
        self.name: str = settings.engine
        self.level_of_theory = LevelOfTheory(**described["level_of_theory"])
        self.properties = frozenset(described["properties"])
        self.cores = settings.cores
        self.ladder: Sequence[Any] = settings.ladder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; a later question starts another one."""
        self._process.close()

    def label(self, atoms: Atoms, strategy: RetryStrategy | None = None) -> Label:
        """Calculate one structure; see ``DFTEngine.label``."""
        start = time.perf_counter()
        number = None if strategy is None else list(self.ladder).index(strategy)
        try:
            answer = self._ask("label", atoms=atoms_as_dict(atoms), strategy=number)
            with reading(lambda why: EngineFailureError(Failure.OUTPUT, f"the calculation's label is none ({why})")):
                return label_from_dict(answer)
        except EngineFailureError as error:
            return Label(
                LabelStatus.FAILED,
                self.level_of_theory.fingerprint,
                cost_s=time.perf_counter() - start,
                message=str(error),
                failure=error.failure,
            )

    def estimate_s(self, atoms: Atoms) -> float:
        """See ``DFTEngine.estimate_s``."""
        return float(self._ask("estimate_s", atoms=atoms_as_dict(atoms)))

    def unknown_elements(self, symbols: Collection[str]) -> list[str]:
        """See ``DFTEngine.unknown_elements``."""
        return list(self._ask("unknown_elements", symbols=list(symbols)))

    def _ask(self, what: str, **details: Any) -> Any:
        if not self._process.alive:
            self._process.close()
            self._process = EngineProcess(self._settings, self._limits)
        return self._process.ask(what, **details)
