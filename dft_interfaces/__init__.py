"""Labels: DFT engines behind one contract, and the jobs that run them.

An engine is built from its settings and labels one structure at a time (eV, eV/Å, eV/Å³). A calculation that fails is a
label with a status and a message, and no exception:

    >>> from ase.build import bulk
    >>> from dft_interfaces import DFTEngine, Label, build_engine, check_engine
    >>> from dft_interfaces.settings import ASECalculatorSettings
    >>> engine: DFTEngine = build_engine(ASECalculatorSettings(engine="ase", calculator="ase.calculators.emt.EMT"))
    >>> label: Label = engine.label(bulk("Cu"))
    >>> label.status.value, label.forces_eV_per_A.shape, label.stress_eV_per_A3.shape
    ('converged', (1, 3), (6,))

``check_engine`` is the whole test of an adapter to another code, in at most six calculations:

    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.rattle(0.05, seed=0)
    >>> check_engine(engine, atoms).status.value
    'converged'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dft_interfaces.engine import DFTEngine
    from dft_interfaces.engines import build_engine
    from dft_interfaces.label import Label
    from dft_interfaces.testing import check_engine

__all__ = ["DFTEngine", "Label", "build_engine", "check_engine"]

_HOMES = {"DFTEngine": "engine", "Label": "label", "build_engine": "engines", "check_engine": "testing"}


def __getattr__(name: str) -> Any:
    """Import on first use: an engine's checks bring libraries that settings do without."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dft_interfaces' has no attribute {name!r}")
    return getattr(import_module(f"dft_interfaces.{_HOMES[name]}"), name)
