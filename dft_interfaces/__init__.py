"""Labels: DFT engines behind one contract, and the jobs that run them."""

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
