"""Monitor production runs with the campaign's gate; nothing is changed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from al_loop.tools.monitoring.alarms import MonitorStop
    from al_loop.tools.monitoring.monitor import ReliabilityMonitor
    from al_loop.tools.monitoring.trajectory import monitor_trajectory

__all__ = ["MonitorStop", "ReliabilityMonitor", "monitor_trajectory"]

_HOMES = {"MonitorStop": "alarms", "ReliabilityMonitor": "monitor", "monitor_trajectory": "trajectory"}


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and the command line reads only the settings."""
    if name not in _HOMES:
        raise AttributeError(f"module 'al_loop.tools.monitoring' has no attribute {name!r}")
    return getattr(import_module(f"al_loop.tools.monitoring.{_HOMES[name]}"), name)
