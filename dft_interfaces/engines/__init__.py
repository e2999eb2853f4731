"""DFT engines: each adapter imports its library only when it is built."""

from collections.abc import Collection
from importlib.util import find_spec

from dft_interfaces.engine import DFTEngine
from dft_interfaces.errors import EngineNotInstalledError
from dft_interfaces.settings import ASECalculatorSettings, GPAWSettings, PySCFSettings

GPAW_INSTALL = "CC=g++ CXX=g++ pip install gpaw gpaw-data"
GPAW_REPAIR = "CC=g++ CXX=g++ pip install --force-reinstall --no-deps --no-cache-dir gpaw"


def build_engine(settings: PySCFSettings | GPAWSettings | ASECalculatorSettings) -> DFTEngine:
    """Build the engine that the settings describe.

    Raises:
        EngineNotInstalledError: its library is missing; the message names the command that installs it.
        EngineSettingsError: settings that the engine cannot carry out.
    """
    remedy = engine_installed(settings)
    if remedy is not None:
        raise EngineNotInstalledError(remedy)
    if isinstance(settings, PySCFSettings):
        from dft_interfaces.engines.pyscf import PySCFEngine

        return PySCFEngine(settings)
    if isinstance(settings, GPAWSettings):
        from dft_interfaces.engines.gpaw import GPAWEngine

        return GPAWEngine(settings)
    from dft_interfaces.engines.ase_calculator import ASECalculatorEngine

    return ASECalculatorEngine(settings)


def unknown_elements(
    settings: PySCFSettings | GPAWSettings | ASECalculatorSettings, symbols: Collection[str]
) -> list[str]:
    """Return those of some elements that an engine cannot calculate, as far as it says so without calculating.

    Args:
        settings: of an engine that can be built.
        symbols: chemical symbols.
    """
    if isinstance(settings, PySCFSettings):
        from dft_interfaces.engines import pyscf

        return pyscf.unknown_elements(settings, symbols)
    if isinstance(settings, GPAWSettings):
        from dft_interfaces.engines import gpaw

        return gpaw.unknown_elements(settings, symbols)
    from dft_interfaces.engines import ase_calculator

    return ase_calculator.unknown_elements(settings, symbols)


def engine_installed(settings: PySCFSettings | GPAWSettings | ASECalculatorSettings) -> str | None:
    """Return None if the engine's library is there, else one sentence with the command that mends it.

    Looks only at what is installed and imports nothing, so that it is cheap enough for every config check.
    """
    if isinstance(settings, PySCFSettings):
        return None if find_spec("pyscf") else _missing("pyscf", "pyscf", "pip install pyscf")
    if isinstance(settings, GPAWSettings):
        return _gpaw_remedy()
    library, dot, _ = settings.calculator.partition(".")
    if dot and library.isidentifier() and find_spec(library) is None:
        return _missing(settings.calculator, library, f"pip install {library}")
    return None


def _gpaw_remedy() -> str | None:
    if find_spec("gpaw") is None:
        return _missing("gpaw", "gpaw", GPAW_INSTALL)
    if find_spec("_gpaw") is None:
        return (
            "engine gpaw: the package is installed without its compiled part (_gpaw); rebuild it with: "
            f"{GPAW_REPAIR} (GPAW_BUILD_JOBS must not be set: wheels built with it come out empty)"
        )
    if find_spec("gpaw_data") is None:
        return _missing("gpaw", "gpaw_data", "pip install gpaw-data")
    return None


def _missing(engine: str, library: str, command: str) -> str:
    return f"engine {engine}: the Python package {library} is not installed; install it with: {command}"
