"""An engine in a separate process: a crash, a hang or exhausted memory ends one calculation, not the worker."""

import time
from collections.abc import Collection, Sequence
from typing import Any

from ase import Atoms

from dft_interfaces.errors import EngineNotInstalledError
from dft_interfaces.failures import EngineFailureError
from dft_interfaces.files.atoms_json import atoms_as_dict
from dft_interfaces.files.label_json import label_from_dict
from dft_interfaces.foreign import reading
from dft_interfaces.isolation.closing import Closing
from dft_interfaces.isolation.engine_process import EngineProcess
from dft_interfaces.label import Failure, Label, LabelStatus, LevelOfTheory
from dft_interfaces.settings import EngineSettings, LimitSettings
from dft_interfaces.settings.base import RetryStrategy


class IsolatedEngine(Closing):
    """A ``DFTEngine`` that calculates in a separate process, which is started once and replaced when it ends.

    A calculation that hangs, crashes, is killed or exceeds its limits becomes a failed label with the kind of failure
    and the last output lines; the programs that it started are killed. They are also killed when this process ends,
    even by kill -9.

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
        description = self._process.description
        self.name: str = settings.engine
        self.level_of_theory = LevelOfTheory(**description["level_of_theory"])
        self.properties = frozenset(description["properties"])
        self.cores = settings.cores
        self.ladder: Sequence[Any] = settings.ladder

    def close(self) -> None:
        """End the process; a later request starts another one."""
        self._process.close()

    def label(self, atoms: Atoms, strategy: RetryStrategy | None = None) -> Label:
        """Calculate one structure; see ``DFTEngine.label``."""
        start = time.perf_counter()
        number = None if strategy is None else list(self.ladder).index(strategy)
        try:
            result = self._request("label", atoms=atoms_as_dict(atoms), strategy=number)
            with reading(lambda why: EngineFailureError(Failure.OUTPUT, f"the label cannot be read ({why})")):
                return label_from_dict(result)
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
        return float(self._request("estimate_s", atoms=atoms_as_dict(atoms)))

    def unknown_elements(self, symbols: Collection[str]) -> list[str]:
        """See ``DFTEngine.unknown_elements``."""
        return list(self._request("unknown_elements", symbols=list(symbols)))

    def _request(self, method: str, **arguments: Any) -> Any:
        if not self._process.responds:
            self._process.close()
            self._process = EngineProcess(self._settings, self._limits)
        return self._process.request(method, **arguments)
