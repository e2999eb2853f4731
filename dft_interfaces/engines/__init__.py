"""DFT engines: each adapter imports its library only when it is built."""

from importlib import import_module

from dft_interfaces.engine import DFTEngine
from dft_interfaces.errors import EngineNotInstalledError
from dft_interfaces.settings import EngineSettings

_ADAPTERS = {
    "pyscf": "PySCFEngine",
    "tblite": "TBLiteEngine",
    "gpaw": "GPAWEngine",
    "espresso": "EspressoEngine",
    "vasp": "VASPEngine",
    "ase": "ASECalculatorEngine",
}
_MODULES = {"ase": "ase_calculator"}  # modules that cannot have the name of their library


def build_engine(settings: EngineSettings) -> DFTEngine:
    """Build the engine that the settings describe.

    Raises:
        EngineNotInstalledError: its library is missing; the message names the command that installs it.
        EngineSettingsError: settings that the engine cannot carry out.
    """
    remedy = settings.remedy()
    if remedy is not None:
        raise EngineNotInstalledError(remedy)
    name = settings.engine
    module = import_module(f"dft_interfaces.engines.{_MODULES.get(name, name)}")
    engine: DFTEngine = getattr(module, _ADAPTERS[name])(settings)
    return engine
